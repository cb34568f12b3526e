package vector

import (
	"encoding/binary"
	"fmt"
)

// Sketches: one bit of each component, which tells whether its level is positive. They are in the order of a query for codes
// of four bits, so that one query is compared with both.
//
// A sketch is cut into blocks of 32 bytes. Bit b of byte i of a block is the place 32*b+i of the 256 of the query that the
// block stands for. Where 128 remain, which have the bits 0..3 of such a block alone, byte i of the last 16 has those of
// byte i in its lower half and those of byte 16+i in the upper one. Places without a component are 0.

const (
	sketchBlock  = 32              // bytes of a block
	sketchPlaces = 8 * sketchBlock // places of a block
)

// SketchWidth returns the bytes of a sketch of dim components, a multiple of 16.
func SketchWidth(dim int) int { return U4QuerySize(dim) / 8 }

// SketchU4 writes the sketch of a code of four bits. It panics where the sketch has not one bit for each place.
func SketchU4(sketch, code []byte) {
	if want := u4Blocks(len(code)) * u4Components / 8; len(sketch) != want {
		panic(fmt.Sprintf("vector: %d bytes for a sketch of %d", len(sketch), want))
	}
	for len(code) > 0 {
		var block [2 * u4Block]byte
		n := copy(block[:], code)
		var bits [sketchBlock]byte
		for i := 0; i < sketchBlock; i += 8 {
			var x uint64
			for half := range 4 {
				// The signs of the lower and the upper numbers of eight bytes.
				u := binary.LittleEndian.Uint64(block[half*sketchBlock+i:])
				low, high := u>>3&0x0101010101010101, u>>7&0x0101010101010101
				at := 4*(half/2) + half%2
				x |= low<<at | high<<(at+2)
			}
			binary.LittleEndian.PutUint64(bits[i:], x)
		}
		if len(sketch) < sketchBlock {
			for i := range sketch {
				sketch[i] = bits[i] | bits[len(sketch)+i]<<4
			}
			return
		}
		copy(sketch, bits[:])
		sketch, code = sketch[sketchBlock:], code[n:]
	}
}

// DotSketchList sets out[i], for each of ids, to the sum of the codes of q, a query in the order of kernels, at the set bits
// of the sketch of row ids[i], which is width bytes. Sums are int32 and wrap around, which takes vectors of more than
// sixteen million components.
//
// Rows are as for DotU4List.
func DotSketchList(q []int8, width int, chunks []*byte, shift uint, stride int, ids []uint32, out []int32) {
	active.DotSketchList(q, width, chunks, shift, stride, ids, out)
}

// DotSketchList is the function of the same name, by the kernels of l.
func (l level) DotSketchList(q []int8, width int, chunks []*byte, shift uint, stride int, ids []uint32, out []int32) {
	if width <= 0 || width%u4Align != 0 || width > len(q)/8 {
		panic(fmt.Sprintf("vector: a query of %d codes for sketches of %d bytes", len(q), width))
	}
	l.list(sketchRows, q, width, chunks, shift, stride, ids, out)
}
