package vector

import "unsafe"

// dotSketchGeneric is the kernel of DotSketchList: the addresses of count rows.
func dotSketchGeneric(q *int8, width int, rows *unsafe.Pointer, out *int32, count int) {
	query, sums := unsafe.Slice(q, 8*width), unsafe.Slice(out, count)
	for i, row := range unsafe.Slice(rows, count) {
		sums[i] = dotSketch(query, unsafe.Slice((*byte)(row), width))
	}
}

// dotSketch returns the sum of the codes of q at the set bits of a sketch.
func dotSketch(q []int8, sketch []byte) int32 {
	var sum int32
	for ; len(sketch) >= sketchBlock; q, sketch = q[sketchPlaces:], sketch[sketchBlock:] {
		block := (*[sketchPlaces]int8)(q)
		for i, x := range sketch[:sketchBlock] {
			// As many additions of q or of 0, which no processor has to guess.
			s0 := int32(block[i])&-int32(x&1) + int32(block[i+32])&-int32(x>>1&1)
			s1 := int32(block[i+64])&-int32(x>>2&1) + int32(block[i+96])&-int32(x>>3&1)
			s2 := int32(block[i+128])&-int32(x>>4&1) + int32(block[i+160])&-int32(x>>5&1)
			s3 := int32(block[i+192])&-int32(x>>6&1) + int32(block[i+224])&-int32(x>>7)
			sum += s0 + s1 + s2 + s3
		}
	}
	for i, x := range sketch {
		for b := range 4 {
			sum += int32(q[32*b+i])&-int32(x>>b&1) + int32(q[32*b+16+i])&-int32(x>>(4+b)&1)
		}
	}
	return sum
}
