package vector

import "math"

// planeLevelsGeneric sets levels[i] to the number of v[i]*scale, and adds to the sums.
func planeLevelsGeneric(levels []byte, v []float32, scale float32, sums *planeSums) {
	levels = levels[:len(v)]
	for i, x := range v {
		// The conversions keep a compiler from fusing a product and a sum, which rounds differently.
		w := float32(x * scale)
		f := float32(math.Floor(float64(w)))
		f = min(max(f, -8), 7)
		levels[i] = byte(f + 8)
		sums.abs[i%planesLanes] += float32(math.Abs(float64(w)))
		sums.level[i%planesLanes] += float32(w * (f + f + 1))
	}
}

// packPlanesGeneric sets r bytes of each plane to the bits of the levels, from the highest ones to the lowest.
func packPlanesGeneric(bits *planeBits, levels *planeLevels, r int) {
	for i := range r {
		var x uint32
		for b := range 8 {
			// The four bits of u go to bit b of four bytes, of which the first is the lowest of x.
			u := uint32(levels[b*r+i])
			x |= (u>>3&1 | u<<6&0x100 | u<<15&0x10000 | u<<24&0x1000000) << b
		}
		bits[0][i], bits[1][i], bits[2][i], bits[3][i] = byte(x), byte(x>>8), byte(x>>16), byte(x>>24)
	}
}

// unpackPlanesGeneric writes the levels of a block in plane order, as if all of its bits stood for a component.
func unpackPlanesGeneric(dst *[planeComponents]int8, bits *planeBits) {
	for i := range planeBlock {
		x0, x1, x2, x3 := bits[0][i], bits[1][i], bits[2][i], bits[3][i]
		for b := range 8 {
			u := x0>>b&1<<3 | x1>>b&1<<2 | x2>>b&1<<1 | x3>>b&1
			dst[b*planeBlock+i] = int8(2*u) - 15
		}
	}
}
