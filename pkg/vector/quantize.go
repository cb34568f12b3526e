package vector

import (
	"math"
)

// quantizeStep is the number of elements of which the lengths that the kernels here take are multiples. Go does the rest.
const quantizeStep = 32

// QuantizeI8 writes v as codes of -127..127 to dst, which is as long: v[i] is about dst[i]*scale, where scale is the
// largest magnitude of v divided by 127, and dst[i] is v[i]/scale rounded to the nearest, to the even one of two. Where
// that scale is zero, subnormal or not finite, it returns 0 and the codes are 0; so they are for a NaN, which has no
// part in the scale. The result is the same on every processor.
func QuantizeI8(dst []int8, v []float32) (scale float32) {
	return active.QuantizeI8(dst, v)
}

// DequantizeI8 sets dst[i] to code[i]*scale; the two are of the same length.
func DequantizeI8(dst []float32, code []int8, scale float32) {
	active.DequantizeI8(dst, code, scale)
}

// QuantizeI8 is the function of the same name, by the kernels of l.
func (l level) QuantizeI8(dst []int8, v []float32) (scale float32) {
	checkLength(len(dst), len(v))
	dst = dst[:len(v)]
	whole := len(v) &^ (quantizeStep - 1)
	scale = max(l.maxAbs(v[:whole]), maxAbsGeneric(v[whole:])) / 127
	if !(scale >= minNormal && scale <= math.MaxFloat32) {
		clear(dst)
		return 0
	}
	l.quantize(dst[:whole], v[:whole], scale)
	quantizeGeneric(dst[whole:], v[whole:], scale)
	return scale
}

// DequantizeI8 is the function of the same name, by the kernels of l.
func (l level) DequantizeI8(dst []float32, code []int8, scale float32) {
	checkLength(len(dst), len(code))
	dst = dst[:len(code)]
	whole := len(code) &^ (quantizeStep - 1)
	l.dequantize(dst[:whole], code[:whole], scale)
	dequantizeGeneric(dst[whole:], code[whole:], scale)
}
