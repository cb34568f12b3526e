//go:build purego || (!amd64 && !arm64)

package vector

import "unsafe"

func (level) dotU4(q *int8, width int, rows *unsafe.Pointer, out *int32, count, _ int) {
	dotU4Generic(q, width, rows, out, count)
}

func (level) dotSketch(q *int8, width int, rows *unsafe.Pointer, out *int32, count, _ int) {
	dotSketchGeneric(q, width, rows, out, count)
}

func (level) u4Levels(levels *byte, v []float32, scale float32, sums *u4Sums) {
	u4LevelsGeneric(unsafe.Slice(levels, len(v)), v, scale, sums)
}
