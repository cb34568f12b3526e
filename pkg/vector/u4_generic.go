package vector

import "unsafe"

// dotU4Generic is the kernel of DotU4List: the addresses of count rows.
func dotU4Generic(q *int8, width int, rows *unsafe.Pointer, out *int32, count int) {
	query, sums := unsafe.Slice(q, u4Blocks(width)*u4Components), unsafe.Slice(out, count)
	for i, row := range unsafe.Slice(rows, count) {
		sums[i] = dotU4(query, unsafe.Slice((*byte)(row), width))
	}
}

// dotU4 returns the inner product of q and the numbers of a code.
func dotU4(q []int8, code []byte) int32 {
	var low, high int32
	for len(code) > 0 {
		n := min(len(code), u4Block)
		block := (*[u4Components]int8)(q)
		for i, x := range code[:n] {
			low += int32(block[i]) * int32(x&15)
			high += int32(block[u4Block+i]) * int32(x>>4)
		}
		q, code = q[u4Components:], code[n:]
	}
	return low + high
}
