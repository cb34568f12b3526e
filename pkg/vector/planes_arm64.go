//go:build !purego

package vector

import "unsafe"

// The kernels of a list read count+ahead addresses, of which they take the last only as hints of what comes next. They
// compute one row at least.

//go:noescape
func dotPlanesNEON(q *int8, width, planes int, rows *unsafe.Pointer, out *int32, count, ahead int)

//go:noescape
func dotPlanesSDOT(q *int8, width, planes int, rows *unsafe.Pointer, out *int32, count, ahead int)

func (l level) dotPlanes(q *int8, width, planes int, rows *unsafe.Pointer, out *int32, count, ahead int) {
	switch {
	case l >= neonSDOT:
		dotPlanesSDOT(q, width, planes, rows, out, count, ahead)
	case l >= neon:
		dotPlanesNEON(q, width, planes, rows, out, count, ahead)
	default:
		dotPlanesGeneric(q, width, planes, rows, out, count)
	}
}

// The rest is as the compiler makes it.

func (level) planeLevels(levels *byte, v []float32, scale float32, sums *planeSums) {
	planeLevelsGeneric(unsafe.Slice(levels, len(v)), v, scale, sums)
}

func (level) packPlanes(bits *planeBits, levels *planeLevels, r int) {
	packPlanesGeneric(bits, levels, r)
}

func (level) unpackPlanes(dst *[planeComponents]int8, bits *planeBits) {
	unpackPlanesGeneric(dst, bits)
}
