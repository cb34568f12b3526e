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
	for h := 1; h < len(v); h *= 2 {
		for at := 0; at < len(v); at += 2 * h {
			low, high := v[at:at+h], v[at+h:at+2*h]
			for i, a := range low {
				b := high[i]
				low[i], high[i] = a+b, a-b
			}
		}
	}
}
