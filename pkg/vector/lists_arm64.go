//go:build !purego

package vector

import "unsafe"

// The kernels of a list read count+ahead addresses, of which they take the last only as hints of what comes next. They
// compute one row at least.

//go:noescape
func dotU4NEON(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)

//go:noescape
func dotU4SDOT(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)

//go:noescape
func dotSketchNEON(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)

//go:noescape
func dotSketchSDOT(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)

func (l level) dotSketch(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int) {
	switch {
	case l >= neonSDOT:
		dotSketchSDOT(q, width, rows, out, count, ahead)
	case l >= neon:
		dotSketchNEON(q, width, rows, out, count, ahead)
	default:
		dotSketchGeneric(q, width, rows, out, count)
	}
}

func (l level) dotU4(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int) {
	switch {
	case l >= neonSDOT:
		dotU4SDOT(q, width, rows, out, count, ahead)
	case l >= neon:
		dotU4NEON(q, width, rows, out, count, ahead)
	default:
		dotU4Generic(q, width, rows, out, count)
	}
}

// The rest is as the compiler makes it.

func (level) u4Levels(levels *byte, v []float32, scale float32, sums *u4Sums) {
	u4LevelsGeneric(unsafe.Slice(levels, len(v)), v, scale, sums)
}
