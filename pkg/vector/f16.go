package vector

import "math"

// Layout of the two formats (IEEE 754-2008, 3.6):
//
//	            sign  exponent  fraction  bias
//	binary16      1       5        10       15
//	binary32      1       8        23      127
const (
	f16Sign     = 0x8000
	f16Exp      = 0x7c00
	f16Quiet    = 0x0200
	f32Sign     = 0x80000000
	f32Quiet    = 0x00400000
	f32Inf      = 0x7f800000
	fracShift   = 23 - 10
	expRebias   = 127 - 15
	f16MaxRound = 0x477ff000 // 65520: halfway from the largest half, 65504, to the next step
	f16MinNorm  = 0x38800000 // 2^-14, the smallest normal half
	f16HalfUlp0 = 0x33000000 // 2^-25, half of the smallest subnormal half
)

// F16ToF32 converts an IEEE 754 binary16 to the binary32 of the same value. Every half has one, so nothing is
// rounded. A NaN keeps its sign and payload and becomes quiet, which is what VCVTPH2PS does, so that a SIMD twin can
// agree with this function bit for bit.
func F16ToF32(h uint16) float32 {
	sign := uint32(h&f16Sign) << 16
	exp := uint32(h&f16Exp) >> 10
	frac := uint32(h & 0x03ff)
	switch {
	case exp == 0x1f && frac != 0:
		return math.Float32frombits(sign | f32Inf | f32Quiet | frac<<fracShift)
	case exp == 0x1f:
		return math.Float32frombits(sign | f32Inf)
	case exp != 0:
		return math.Float32frombits(sign | (exp+expRebias)<<23 | frac<<fracShift)
	default:
		// Zero or subnormal: frac × 2^-24, which binary32 represents exactly, as it does the product.
		v := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(v))
	}
}

// F32ToF16 converts a binary32 to the nearest IEEE 754 binary16; a tie goes to the half whose last bit is 0. A
// magnitude of 65520 or more becomes an infinity, one of 2^-25 or less a zero, each with the sign of f. A NaN keeps its
// sign and the top ten bits of its payload and becomes quiet.
func F32ToF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & f16Sign)
	abs := b &^ f32Sign
	switch {
	case abs > f32Inf:
		return sign | f16Exp | f16Quiet | uint16(abs>>fracShift)&0x03ff
	case abs >= f16MaxRound:
		return sign | f16Exp
	case abs >= f16MinNorm:
		// A carry out of the fraction moves into the exponent, which is the right result for it.
		return sign | uint16(roundShift(abs, fracShift)-expRebias<<10)
	case abs <= f16HalfUlp0:
		return sign
	default:
		// Subnormal: count how many times 2^-24 fits, the hidden bit made explicit. The exponent here is between
		// 102 (2^-25) and 112 (just below 2^-14), so the shift is between 14 and 24.
		shift := 126 - abs>>23
		return sign | uint16(roundShift(abs&0x007fffff|0x00800000, shift))
	}
}

// roundShift returns v >> n for n in 1..31, rounded to nearest, ties to even.
func roundShift(v, n uint32) uint32 {
	half := uint32(1) << (n - 1)
	return (v + half - 1 + v>>n&1) >> n
}
