package vector

import (
	"fmt"
	"unsafe"
)

// Codes of four bits. A component of a vector is a number u of 0..15, which stands for the level 2*u-15, and two of them
// share a byte.
//
// A code of dim components is U4Width(dim) bytes, which are cut into blocks of 64; the last block has what remains, r
// bytes, of 16, 32, 48 or 64. In a block, byte i has the component i in its lower four bits and the component r+i in the
// upper ones. What stands where there is no component is 0.
//
// A query stands in the order in which kernels meet these numbers: for each block the r codes of the lower halves, then
// those of the upper ones, each padded with zeros to 64. For blocks of 64 bytes this is the order of the components.

const (
	u4Block      = 64          // bytes of a block
	u4Components = 2 * u4Block // components of a block, which are as many codes of a query
	u4Align      = 16          // what the bytes of a code are a multiple of

	// listBatch is how many rows one call of a kernel takes, as gatherBatch.
	listBatch = 64

	// A kernel asks for the rows that come next before it needs them: for listAheadBytes of them, which is listAhead rows at
	// most and one at least. More at a time, on the AMD processors of 2021, take longer.
	listAhead      = 12
	listAheadBytes = 2048
)

// U4Width returns the bytes of a code of dim components, a multiple of 16.
func U4Width(dim int) int {
	return (dim + 2*u4Align - 1) / (2 * u4Align) * u4Align
}

// U4QuerySize returns the length of a query of dim components, a multiple of 128.
func U4QuerySize(dim int) int {
	return u4Blocks(U4Width(dim)) * u4Components
}

func u4Blocks(width int) int {
	return (width + u4Block - 1) / u4Block
}

// U4Query writes q, codes of -127..127 in the order of the components, to dst in the order of kernels. It panics where dst
// is not U4QuerySize(len(q)) long.
func U4Query(dst, q []int8) {
	if want := U4QuerySize(len(q)); len(dst) != want {
		panic(fmt.Sprintf("vector: %d codes for a query of %d in the order of kernels", len(dst), want))
	}
	whole := len(q) &^ (u4Components - 1)
	copy(dst, q[:whole])
	if dst, q = dst[whole:], q[whole:]; len(q) == 0 {
		return
	}
	clear(dst)
	lower := min(U4Width(len(q)), len(q))
	copy(dst, q[:lower])
	copy(dst[u4Block:], q[lower:])
}

// U4Components is the inverse of U4Query: it puts a query of len(dst) components back into their order.
func U4Components(dst, q []int8) {
	whole := len(dst) &^ (u4Components - 1)
	copy(dst[:whole], q)
	if dst, q = dst[whole:], q[whole:]; len(dst) == 0 {
		return
	}
	lower := min(U4Width(len(dst)), len(dst))
	copy(dst[:lower], q)
	copy(dst[lower:], q[u4Block:])
}

// DotU4List sets out[i], for each of ids, to the inner product of q, a query in the order of kernels, and the numbers
// 0..15 of row ids[i], whose code is width bytes, as U4Width returns them. Sums are int32 and wrap around, which takes
// vectors of more than a million components.
//
// Rows stand in chunks of 1<<shift rows of stride bytes each: row id begins (id mod 1<<shift)*stride bytes behind
// chunks[id>>shift]. It panics where chunks does not have that chunk, or a nil, or out is shorter than ids. That a chunk
// has all of its rows is the promise of the caller.
func DotU4List(q []int8, width int, chunks []*byte, shift uint, stride int, ids []uint32, out []int32) {
	active.DotU4List(q, width, chunks, shift, stride, ids, out)
}

// DotU4List is the function of the same name, by the kernels of l.
func (l level) DotU4List(q []int8, width int, chunks []*byte, shift uint, stride int, ids []uint32, out []int32) {
	if width <= 0 || width%u4Align != 0 || width > len(q) || u4Blocks(width)*u4Components > len(q) {
		panic(fmt.Sprintf("vector: a query of %d codes for rows of %d bytes", len(q), width))
	}
	l.list(u4Rows, q, width, chunks, shift, stride, ids, out)
}

// listRows is what the rows of a list are.
type listRows bool

const (
	u4Rows     listRows = false
	sketchRows listRows = true
)

// list has the kernels compare q with the rows of a list.
func (l level) list(rows listRows, q []int8, width int, chunks []*byte, shift uint, stride int, ids []uint32, out []int32) {
	if len(ids) == 0 {
		return
	}
	checkStride(stride, width)
	checkLength(len(out), len(ids))
	ahead := max(1, min(listAhead, listAheadBytes/width))
	shift = min(shift, 32) // no id has more bits, and so a shift is one instruction
	mask := uintptr(1)<<shift - 1
	var addrs [listBatch + listAhead]unsafe.Pointer
	for len(ids) > 0 {
		count := min(len(ids), listBatch)
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
		if rows == sketchRows {
			l.dotSketch(unsafe.SliceData(q), width, &addrs[0], unsafe.SliceData(out), count, ahead)
		} else {
			l.dotU4(unsafe.SliceData(q), width, &addrs[0], unsafe.SliceData(out), count, ahead)
		}
		ids, out = ids[count:], out[count:]
	}
}
