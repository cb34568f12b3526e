package vector

import (
	"fmt"
	"unsafe"
)

// The int8 kernels take codes of -127..127. A code of -128 makes no kernel read or write out of bounds, but the levels
// may then disagree about the product. Sums are int32 and wrap around, which takes vectors of more than 130,000 elements.

const (
	// gatherBatch is how many rows one call of a kernel takes: few enough that their addresses stand on the stack and
	// that the goroutine can be preempted between two calls.
	gatherBatch = 64

	// gatherAhead is how many addresses of further rows follow those of a batch. A kernel takes four rows at a time and
	// asks for the next four while it computes, without comparisons, even where only two of the first four are left.
	gatherAhead = 6
)

// DotI8 returns the inner product of two vectors of codes of the same length.
func DotI8(a, b []int8) int32 {
	return active.DotI8(a, b)
}

// DotI8Block sets out[i] to the inner product of q and the i-th of len(out) rows. A row is len(q) codes; the first
// stands at the begin of rows, each other stride bytes behind the one before it. It panics where rows has fewer of them.
func DotI8Block(q, rows []int8, stride int, out []int32) {
	active.DotI8Block(q, rows, stride, out)
}

// DotI8List sets out[i] to the inner product of q and row ids[i], for each of ids. Rows stand in chunks of 1<<shift rows
// of stride bytes each: row id begins (id mod 1<<shift)*stride bytes behind chunks[id>>shift] and is len(q) codes long.
// It panics where chunks does not have that chunk, or a nil, or out is shorter than ids. That a chunk has all of its rows
// is the promise of the caller.
func DotI8List(q []int8, chunks []*int8, shift uint, stride int, ids []uint32, out []int32) {
	active.DotI8List(q, chunks, shift, stride, ids, out)
}

// DotI8 is the function of the same name, by the kernels of l.
func (l level) DotI8(a, b []int8) int32 {
	checkLength(len(b), len(a))
	return l.dotI8(unsafe.SliceData(a), unsafe.SliceData(b), len(a))
}

// DotI8Block is the function of the same name, by the kernels of l.
func (l level) DotI8Block(q, rows []int8, stride int, out []int32) {
	if len(out) == 0 {
		return
	}
	checkStride(stride, len(q))
	// By a division, since the product could overflow.
	if last := len(out) - 1; len(rows) < len(q) || last > 0 && stride > (len(rows)-len(q))/last {
		panic(fmt.Sprintf("vector: %d bytes do not hold %d rows of %d at a stride of %d", len(rows), len(out), len(q), stride))
	}
	if len(q) == 0 {
		clear(out) // the address of a last row of nothing would be that of the end of rows, which no pointer may have
		return
	}
	base, at := unsafe.Pointer(unsafe.SliceData(rows)), 0
	var addrs [gatherBatch + gatherAhead]unsafe.Pointer
	for len(out) > 0 {
		count := min(len(out), gatherBatch)
		filled := min(len(out), len(addrs))
		for i := range addrs[:filled] {
			addrs[i] = unsafe.Add(base, at+i*stride)
		}
		l.gatherBatch(q, &addrs, filled, out[:count])
		at, out = at+count*stride, out[count:]
	}
}

// DotI8List is the function of the same name, by the kernels of l.
func (l level) DotI8List(q []int8, chunks []*int8, shift uint, stride int, ids []uint32, out []int32) {
	if len(ids) == 0 {
		return
	}
	checkStride(stride, len(q))
	checkLength(len(out), len(ids))
	if len(q) == 0 {
		clear(out[:len(ids)])
		return
	}
	var addrs [gatherBatch + gatherAhead]unsafe.Pointer
	for len(ids) > 0 {
		count := min(len(ids), gatherBatch)
		filled := min(len(ids), len(addrs))
		for i, id := range ids[:filled] {
			chunk := chunks[id>>shift]
			if chunk == nil {
				panic(fmt.Sprintf("vector: row %d stands in a chunk that is nil", id))
			}
			within := uintptr(id) & (1<<shift - 1)
			addrs[i] = unsafe.Add(unsafe.Pointer(chunk), within*uintptr(stride))
		}
		l.gatherBatch(q, &addrs, filled, out[:count])
		ids, out = ids[count:], out[count:]
	}
}

// gatherBatch computes one batch, len(out) rows, of which at least one is there. Behind the addresses that are filled it
// repeats the last one.
func (l level) gatherBatch(q []int8, addrs *[gatherBatch + gatherAhead]unsafe.Pointer, filled int, out []int32) {
	for i := filled; i < len(out)+gatherAhead; i++ {
		addrs[i] = addrs[filled-1]
	}
	l.dotI8Gather(unsafe.SliceData(q), len(q), &addrs[0], unsafe.SliceData(out), len(out))
}

func checkStride(stride, n int) {
	if stride < n {
		panic(fmt.Sprintf("vector: a stride of %d is less than the %d of a row", stride, n))
	}
}

// checkLength panics where a slice has less than n elements. A slice expression would not: it looks at the capacity.
func checkLength(have, n int) {
	if have < n {
		panic(fmt.Sprintf("vector: a slice of %d where %d are needed", have, n))
	}
}
