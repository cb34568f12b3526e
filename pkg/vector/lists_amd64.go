//go:build !purego

package vector

import "unsafe"

// The kernels of a list read count+ahead addresses, of which they take the last only as hints of what comes next. They
// compute one row at least.

//go:noescape
func dotU4AVX2(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)

//go:noescape
func dotU4VNNI(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)

//go:noescape
func dotSketchAVX2(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)

//go:noescape
func dotSketchVNNI(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int)

func (l level) dotSketch(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int) {
	switch {
	case l >= avx512vnni:
		dotSketchVNNI(q, width, rows, out, count, ahead)
	case l >= avx2:
		dotSketchAVX2(q, width, rows, out, count, ahead)
	default:
		dotSketchGeneric(q, width, rows, out, count)
	}
}

func (l level) dotU4(q *int8, width int, rows *unsafe.Pointer, out *int32, count, ahead int) {
	switch {
	case l >= avx512vnni:
		dotU4VNNI(q, width, rows, out, count, ahead)
	case l >= avx2:
		dotU4AVX2(q, width, rows, out, count, ahead)
	default:
		dotU4Generic(q, width, rows, out, count)
	}
}

// u4LevelsAVX2 takes an n that is a multiple of quantizeStep.
//
//go:noescape
func u4LevelsAVX2(levels *byte, v *float32, n int, scale float32, sums *u4Sums)

func (l level) u4Levels(levels *byte, v []float32, scale float32, sums *u4Sums) {
	if l >= avx2 {
		u4LevelsAVX2(levels, unsafe.SliceData(v), len(v), scale, sums)
		return
	}
	u4LevelsGeneric(unsafe.Slice(levels, len(v)), v, scale, sums)
}
