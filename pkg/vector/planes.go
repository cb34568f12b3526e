package vector

import (
	"fmt"
	"unsafe"
)

// Codes in bit planes. A plane has one bit of each component of a vector, so that the first plane of a code alone is an
// estimate of the vector, and the planes that follow make it better. A search reads the first plane of many rows and
// the others of few.
//
// A plane of a vector of dim components is PlaneWidth(dim) bytes, which are cut into blocks of 32; the last block has
// what remains, r bytes, of 8, 16 or 24. In a block of 32 bytes, which stands for 256 components, bit b of byte i is
// the component 32*b+i of the block:
//
//	byte    0    1    2        31
//	bit 0   0    1    2   ...  31
//	bit 1   32   33   34  ...  63
//	...
//	bit 7   224  225  226 ...  255
//
// In the last block, bit b of byte i is the component r*b+i. The bits of components beyond dim are 0.
//
// A query stands in the order in which kernels meet these bits, plane order: for each block the rows of that table, each
// padded with zeros to 32 codes. For blocks of 32 bytes this is the order of the components.

const (
	planeBlock      = 32             // bytes of a plane in a block
	planeComponents = planeBlock * 8 // components of a block
	maxPlanes       = 8

	// planesBatch is how many rows one call of a kernel takes, as gatherBatch.
	planesBatch = 64

	// A kernel asks for the rows that come next before it needs them: for planesAheadBytes of them, which is
	// planesAhead rows at most and one at least. More at a time, on the AMD processors of 2021, take longer.
	planesAhead      = 12
	planesAheadBytes = 2048
)

// PlaneWidth returns the bytes of a plane of dim components, a multiple of 8.
func PlaneWidth(dim int) int {
	return (dim + 63) / 64 * 8
}

// PlaneQuerySize returns the length of a query of dim components in plane order, a multiple of 256.
func PlaneQuerySize(dim int) int {
	return planeBlocks(PlaneWidth(dim)) * planeComponents
}

func planeBlocks(width int) int {
	return (width + planeBlock - 1) / planeBlock
}

// PlaneQuery writes q, codes of -127..127, to dst in plane order. It panics where dst is not PlaneQuerySize(len(q)) long.
func PlaneQuery(dst, q []int8) {
	if want := PlaneQuerySize(len(q)); len(dst) != want {
		panic(fmt.Sprintf("vector: %d codes for a query of %d in plane order", len(dst), want))
	}
	whole := len(q) &^ (planeComponents - 1)
	copy(dst, q[:whole])
	dst, q = dst[whole:], q[whole:]
	clear(dst)
	r := PlaneWidth(len(q))
	for len(q) > 0 {
		n := copy(dst[:r], q)
		q = q[n:]
		if len(q) > 0 {
			dst = dst[planeBlock:]
		}
	}
}

// SumI8 returns the sum of q.
func SumI8(q []int8) int32 {
	var s0, s1, s2, s3 int32
	i := 0
	for ; i+4 <= len(q); i += 4 {
		s0 += int32(q[i])
		s1 += int32(q[i+1])
		s2 += int32(q[i+2])
		s3 += int32(q[i+3])
	}
	for ; i < len(q); i++ {
		s0 += int32(q[i])
	}
	return s0 + s1 + s2 + s3
}

// DotPlanesList sets out[i], for each of ids, to the inner product of q, a query in plane order, and the numbers whose
// bits row ids[i] has: of planes planes of width bytes, back to back, the first is the highest bit of each number and the
// last is the lowest. There are eight planes at most. Sums are int32 and wrap around, which takes more than 65,000
// components of eight bits.
//
// Rows stand in chunks of 1<<shift rows of stride bytes each: row id begins (id mod 1<<shift)*stride bytes behind
// chunks[id>>shift]. It panics where chunks does not have that chunk, or a nil, or out is shorter than ids. That a chunk
// has all of its rows is the promise of the caller.
func DotPlanesList(q []int8, width, planes int, chunks []*byte, shift uint, stride int, ids []uint32, out []int32) {
	active.DotPlanesList(q, width, planes, chunks, shift, stride, ids, out)
}

// DotPlanesList is the function of the same name, by the kernels of l.
func (l level) DotPlanesList(q []int8, width, planes int, chunks []*byte, shift uint, stride int, ids []uint32, out []int32) {
	if len(ids) == 0 {
		return
	}
	if width <= 0 || width%8 != 0 || planes <= 0 || planes > maxPlanes {
		panic(fmt.Sprintf("vector: there are no rows of %d planes of %d bytes", planes, width))
	}
	if width > len(q) || planeBlocks(width)*planeComponents > len(q) {
		panic(fmt.Sprintf("vector: a query of %d codes for planes of %d bytes", len(q), width))
	}
	row := width * planes
	checkStride(stride, row)
	checkLength(len(out), len(ids))
	ahead := max(1, min(planesAhead, planesAheadBytes/row))
	shift = min(shift, 32) // no id has more bits, and so a shift is one instruction
	mask := uintptr(1)<<shift - 1
	var addrs [planesBatch + planesAhead]unsafe.Pointer
	for len(ids) > 0 {
		count := min(len(ids), planesBatch)
		filled := min(len(ids), count+ahead)
		for i, id := range ids[:filled] {
			chunk := chunks[uint64(id)>>(shift&63)]
			if chunk == nil {
				panic(fmt.Sprintf("vector: row %d stands in a chunk that is nil", id))
			}
			addrs[i] = unsafe.Add(unsafe.Pointer(chunk), (uintptr(id)&mask)*uintptr(stride))
		}
		for i := filled; i < count+ahead; i++ {
			addrs[i] = addrs[filled-1]
		}
		l.dotPlanes(unsafe.SliceData(q), width, planes, &addrs[0], unsafe.SliceData(out), count, ahead)
		ids, out = ids[count:], out[count:]
	}
}
