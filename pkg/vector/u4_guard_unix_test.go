//go:build unix

package vector

import (
	"testing"
	"unsafe"
)

func TestU4StayWithinTheirMemory(t *testing.T) {
	a, b := guarded(t), guarded(t)
	forLevels(t, func(t *testing.T, l level) {
		for dim := 1; dim < 900; dim++ {
			width, query := U4Width(dim), make([]int8, U4QuerySize(dim))
			atEnds(t, width, a, b, func(code, row []byte) {
				var out [5]int32
				l.DotU4List(query, width, []*byte{&code[0], &row[0]}, 0, width, []uint32{0, 1, 1, 0, 0}, out[:])
				UnpackU4(query, code, dim)
				UnpackU4(query, row, dim)
			})
			atEnds(t, SketchWidth(dim), a, b, func(sketch, row []byte) {
				var out [5]int32
				l.DotSketchList(query, len(row), []*byte{&sketch[0], &row[0]}, 0, len(row), []uint32{0, 1, 1, 0, 0}, out[:])
				SketchU4(sketch, a[:width])
				SketchU4(row, a[len(a)-width:])
			})
			atEnds(t, len(query), a, b, func(query []int8, row []byte) {
				var out [1]int32
				l.DotU4List(query, width, []*byte{&row[0]}, 0, width, []uint32{0}, out[:])
				UnpackU4(query, row[:width], dim)
				l.DotSketchList(query, len(query)/8, []*byte{&row[0]}, 0, len(query)/8, []uint32{0}, out[:])
			})
			atEnds(t, dim, a, b, func(v []float32, row []byte) {
				l.QuantizeU4(unsafe.Slice(unsafe.SliceData(b), width), v)
				l.QuantizeU4(b[len(b)-width:], v)
				l.rotate(NewRotation(dim, 1), v)
			})
		}
	})
}
