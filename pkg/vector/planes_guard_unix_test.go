//go:build unix

package vector

import (
	"testing"
	"unsafe"
)

func TestPlanesStayWithinTheirMemory(t *testing.T) {
	a, b := guarded(t), guarded(t)
	forLevels(t, func(t *testing.T, l level) {
		for dim := 1; dim < 900; dim++ {
			width, query := PlaneWidth(dim), make([]int8, PlaneQuerySize(dim))
			atEnds(t, width, a, b, func(sketch, row []byte) {
				var out [5]int32
				l.DotPlanesList(query, width, 1, []*byte{&sketch[0], &row[0]}, 0, width, []uint32{0, 1, 1, 0, 0}, out[:])
			})
			atEnds(t, 3*width, a, b, func(rest, row []byte) {
				var out [3]int32
				l.DotPlanesList(query, width, 3, []*byte{&rest[0], &row[0]}, 0, 3*width, []uint32{0, 1, 0}, out[:])
				l.UnpackPlanes(query, rest[:width], row, dim)
				l.UnpackPlanes(query, row[2*width:], rest, dim)
			})
			atEnds(t, len(query), a, b, func(query []int8, row []byte) {
				var out [1]int32
				l.DotPlanesList(query, width, 1, []*byte{&row[0]}, 0, width, []uint32{0}, out[:])
				l.UnpackPlanes(query, row[:width], row[:3*width], dim)
			})
			atEnds(t, dim, a, b, func(v []float32, row []byte) {
				bits := unsafe.Slice(unsafe.SliceData(b), 4*width)
				l.QuantizePlanes(bits[:width], bits[width:], v)
				bits = b[len(b)-4*width:]
				l.QuantizePlanes(bits[3*width:], bits[:3*width], v)
				l.rotate(NewRotation(dim, 1), v)
			})
		}
	})
}
