package vector

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// u4LevelsGeneric sets levels[i] to the number of v[i]*scale, and adds to the sums.
func u4LevelsGeneric(levels []byte, v []float32, scale float32, sums *u4Sums) {
	levels = levels[:len(v)]
	for i, x := range v {
		// The conversions keep a compiler from fusing a product and a sum, which rounds differently.
		w := float32(x * scale)
		f := float32(math.Floor(float64(w)))
		f = min(max(f, -8), 7)
		levels[i] = byte(f + 8)
		sums.abs[i%u4Lanes] += float32(math.Abs(float64(w)))
		sums.level[i%u4Lanes] += float32(w * (f + f + 1))
	}
}

// The numbers of a block are packed, and unpacked, eight bytes of one word at a time.

// packU4 writes the numbers of a block to its code.
func packU4(code []byte, levels *u4Numbers) {
	upper := levels[len(code):]
	for i := 0; i < len(code); i += 8 {
		low, high := binary.LittleEndian.Uint64(levels[i:]), binary.LittleEndian.Uint64(upper[i:])
		binary.LittleEndian.PutUint64(code[i:], low|high<<4)
	}
}

// unpackU4 writes the levels of a block in the order of a query, as if all of its numbers stood for a component.
func unpackU4(dst *[u4Components]int8, code []byte) {
	const fifteen, top = 0x0f0f0f0f0f0f0f0f, 0x8080808080808080
	for i := 0; i < len(code); i += 8 {
		x := binary.LittleEndian.Uint64(code[i:])
		// With the top bit, no byte is less than what is taken from it; without it, it has the sign.
		putLevels(dst[i:], ((x&fifteen)<<1|top)-fifteen^top)
		putLevels(dst[u4Block+i:], ((x>>4&fifteen)<<1|top)-fifteen^top)
	}
}

func putLevels(dst []int8, levels uint64) {
	binary.LittleEndian.PutUint64((*[8]byte)(unsafe.Pointer((*[8]int8)(dst)))[:], levels)
}
