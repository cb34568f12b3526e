package vector

import "math"

// turnGeneric replaces each of low and the one of high by their sum and difference, divided by √2.
func turnGeneric(low, high []float32) {
	high = high[:len(low)]
	for i, a := range low {
		b := high[i]
		low[i], high[i] = (a+b)*(math.Sqrt2/2), (a-b)*(math.Sqrt2/2)
	}
}

// hadamardGeneric multiplies v by factors, each by its own, and replaces it by its Walsh–Hadamard transform, without
// scaling. The length is a power of two. All kernels add in the same order, from neighbours to halves.
func hadamardGeneric(v, factors []float32) {
	factors = factors[:len(v)]
	for i := range v {
		v[i] *= factors[i]
	}
	h := 1
	if len(v) >= 8 {
		for at := 0; at < len(v); at += 8 {
			hadamardEight((*[8]float32)(v[at:]))
		}
		h = 8
	}
	for ; h < len(v); h *= 2 {
		for at := 0; at < len(v); at += 2 * h {
			low, high := v[at:at+h], v[at+h:at+2*h]
			high = high[:len(low)] // as the compiler does not see
			for i, a := range low {
				b := high[i]
				low[i], high[i] = a+b, a-b
			}
		}
	}
}

func hadamardEight(v *[8]float32) {
	a0, a1, a2, a3 := v[0]+v[1], v[0]-v[1], v[2]+v[3], v[2]-v[3]
	a4, a5, a6, a7 := v[4]+v[5], v[4]-v[5], v[6]+v[7], v[6]-v[7]
	b0, b1, b2, b3 := a0+a2, a1+a3, a0-a2, a1-a3
	b4, b5, b6, b7 := a4+a6, a5+a7, a4-a6, a5-a7
	v[0], v[1], v[2], v[3] = b0+b4, b1+b5, b2+b6, b3+b7
	v[4], v[5], v[6], v[7] = b0-b4, b1-b5, b2-b6, b3-b7
}
