//go:build !purego

package vector

import "unsafe"

// Prefetch asks for the 128 bytes at p to be brought to the cache, and does not wait for them.
func Prefetch(p unsafe.Pointer) { prefetch(p) }

//go:noescape
func prefetch(p unsafe.Pointer)

// PrefetchAll asks for the n bytes at p to be brought to the cache of the second level, which takes more requests at once than
// the first. Nothing needs to be there: what cannot be read is not.
func PrefetchAll(p unsafe.Pointer, n int) { prefetchAll(p, uintptr(n)) }

//go:noescape
func prefetchAll(p unsafe.Pointer, n uintptr)
