//go:build purego || (!amd64 && !arm64)

package vector

import "unsafe"

func (level) dotPlanes(q *int8, width, planes int, rows *unsafe.Pointer, out *int32, count, _ int) {
	dotPlanesGeneric(q, width, planes, rows, out, count)
}

func (level) planeLevels(levels *byte, v []float32, scale float32, sums *planeSums) {
	planeLevelsGeneric(unsafe.Slice(levels, len(v)), v, scale, sums)
}

func (level) packPlanes(bits *planeBits, levels *planeLevels, r int) {
	packPlanesGeneric(bits, levels, r)
}

func (level) unpackPlanes(dst *[planeComponents]int8, bits *planeBits) {
	unpackPlanesGeneric(dst, bits)
}
