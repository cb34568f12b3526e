//go:build !purego

package vector

import "unsafe"

// The kernels take an n of at least 16. Those of a list read count+gatherAhead addresses, of which they take the last
// only as hints of what comes next.

//go:noescape
func dotI8NEON(a, b *int8, n int) int32

//go:noescape
func dotI8GatherNEON(q *int8, n int, rows *unsafe.Pointer, out *int32, count int)

//go:noescape
func dotI8SDOT(a, b *int8, n int) int32

//go:noescape
func dotI8GatherSDOT(q *int8, n int, rows *unsafe.Pointer, out *int32, count int)
