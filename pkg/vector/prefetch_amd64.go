//go:build !purego

package vector

import "unsafe"

// Prefetch asks for the 128 bytes at p to be brought to the cache, and does not wait for them.
func Prefetch(p unsafe.Pointer) { prefetch(p) }

//go:noescape
func prefetch(p unsafe.Pointer)
