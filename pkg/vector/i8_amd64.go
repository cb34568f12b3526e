//go:build !purego

package vector

import "unsafe"

// The kernels of AVX2 take an n of at least 32. Those of a list read count+gatherAhead addresses, of which they take the
// last only as hints of what comes next.

//go:noescape
func dotI8AVX2(a, b *int8, n int) int32

//go:noescape
func dotI8GatherAVX2(q *int8, n int, rows *unsafe.Pointer, out *int32, count int)

//go:noescape
func dotI8VNNI(a, b *int8, n int) int32

//go:noescape
func dotI8GatherVNNI(q *int8, n int, rows *unsafe.Pointer, out *int32, count int)
