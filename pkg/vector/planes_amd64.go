//go:build !purego

package vector

import "unsafe"

// The kernels of a list read count+ahead addresses, of which they take the last only as hints of what comes next. They
// compute one row at least.

//go:noescape
func dotPlanesAVX2(q *int8, width, planes int, rows *unsafe.Pointer, out *int32, count, ahead int)

//go:noescape
func dotPlanesVNNI(q *int8, width, planes int, rows *unsafe.Pointer, out *int32, count, ahead int)

func (l level) dotPlanes(q *int8, width, planes int, rows *unsafe.Pointer, out *int32, count, ahead int) {
	switch {
	case l >= avx512vnni:
		dotPlanesVNNI(q, width, planes, rows, out, count, ahead)
	case l >= avx2:
		dotPlanesAVX2(q, width, planes, rows, out, count, ahead)
	default:
		dotPlanesGeneric(q, width, planes, rows, out, count)
	}
}

// planeLevelsAVX2 takes an n that is a multiple of quantizeStep.
//
//go:noescape
func planeLevelsAVX2(levels *byte, v *float32, n int, scale float32, sums *planeSums)

func (l level) planeLevels(levels *byte, v []float32, scale float32, sums *planeSums) {
	if l >= avx2 {
		planeLevelsAVX2(levels, unsafe.SliceData(v), len(v), scale, sums)
		return
	}
	planeLevelsGeneric(unsafe.Slice(levels, len(v)), v, scale, sums)
}

//go:noescape
func packPlanesAVX2(bits *planeBits, levels *planeLevels, r int)

func (l level) packPlanes(bits *planeBits, levels *planeLevels, r int) {
	if l >= avx2 {
		packPlanesAVX2(bits, levels, r)
		return
	}
	packPlanesGeneric(bits, levels, r)
}

//go:noescape
func unpackPlanesAVX2(dst *[planeComponents]int8, bits *planeBits)

func (l level) unpackPlanes(dst *[planeComponents]int8, bits *planeBits) {
	if l >= avx2 {
		unpackPlanesAVX2(dst, bits)
		return
	}
	unpackPlanesGeneric(dst, bits)
}
