package vector

import "unsafe"

// dotPlanesGeneric is the kernel of DotPlanesList: the addresses of count rows.
func dotPlanesGeneric(q *int8, width, planes int, rows *unsafe.Pointer, out *int32, count int) {
	query, sums := unsafe.Slice(q, planeBlocks(width)*planeComponents), unsafe.Slice(out, count)
	for i, row := range unsafe.Slice(rows, count) {
		code := unsafe.Slice((*byte)(row), width*planes)
		var sum int32
		for ; len(code) > 0; code = code[width:] {
			sum = 2*sum + dotPlane(query, code[:width])
		}
		sums[i] = sum
	}
}

// dotPlane returns the sum of the codes of q at the set bits of plane.
func dotPlane(q []int8, plane []byte) int32 {
	var sum int32
	for len(plane) > 0 {
		n := min(len(plane), planeBlock)
		block := (*[planeComponents]int8)(q)
		for i, x := range plane[:n] {
			// As many additions of q or of 0, which no processor has to guess.
			s0 := int32(block[i])&-int32(x&1) + int32(block[i+32])&-int32(x>>1&1)
			s1 := int32(block[i+64])&-int32(x>>2&1) + int32(block[i+96])&-int32(x>>3&1)
			s2 := int32(block[i+128])&-int32(x>>4&1) + int32(block[i+160])&-int32(x>>5&1)
			s3 := int32(block[i+192])&-int32(x>>6&1) + int32(block[i+224])&-int32(x>>7)
			sum += s0 + s1 + s2 + s3
		}
		q, plane = q[planeComponents:], plane[n:]
	}
	return sum
}
