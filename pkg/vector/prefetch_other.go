//go:build !amd64 || purego

package vector

import "unsafe"

// Prefetch asks for the 128 bytes at p to be brought to the cache, where the processor can be asked from here.
func Prefetch(unsafe.Pointer) {}

// PrefetchAll asks for the n bytes at p.
func PrefetchAll(unsafe.Pointer, int) {}
