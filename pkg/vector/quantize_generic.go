package vector

import "math"

// minNormal is the smallest positive float32 that has all bits of its precision.
const minNormal = 0x1p-126

// maxAbsGeneric returns the largest magnitude of v, of which it passes over NaNs.
func maxAbsGeneric(v []float32) float32 {
	var largest float32
	for _, x := range v {
		if x = float32(math.Abs(float64(x))); x > largest {
			largest = x
		}
	}
	return largest
}

func quantizeGeneric(dst []int8, v []float32, scale float32) {
	dst = dst[:len(v)]
	for i, x := range v {
		dst[i] = 0
		if x == x {
			dst[i] = int8(math.RoundToEven(float64(x / scale)))
		}
	}
}

func dequantizeGeneric(dst []float32, code []int8, scale float32) {
	dst = dst[:len(code)]
	for i, c := range code {
		dst[i] = float32(c) * scale
	}
}
