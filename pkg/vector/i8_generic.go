package vector

import "unsafe"

func dotI8Generic(a, b []int8) int32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 int32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += int32(a[i]) * int32(b[i])
		s1 += int32(a[i+1]) * int32(b[i+1])
		s2 += int32(a[i+2]) * int32(b[i+2])
		s3 += int32(a[i+3]) * int32(b[i+3])
	}
	for ; i < len(a); i++ {
		s0 += int32(a[i]) * int32(b[i])
	}
	return s0 + s1 + s2 + s3
}

// dotI8GatherGeneric is the kernel of DotI8List: the addresses of count rows of n codes.
func dotI8GatherGeneric(q *int8, n int, rows *unsafe.Pointer, out *int32, count int) {
	query, sums := unsafe.Slice(q, n), unsafe.Slice(out, count)
	for i, row := range unsafe.Slice(rows, count) {
		sums[i] = dotI8Generic(query, unsafe.Slice((*int8)(row), n))
	}
}
