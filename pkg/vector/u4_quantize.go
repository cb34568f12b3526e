package vector

import (
	"fmt"
	"math"
)

// The quantiser has 16 levels at equal distances, as J. Max ("Quantizing for minimum distortion", IRE Transactions on
// Information Theory, 1960) derives them for a Gaussian: 0.335 standard deviations apart. The components of a vector that
// a Rotation has spread are near enough to one, whatever they were before. That a code of few bits keeps inner products
// without bias, where it is scaled by the inner product of the vector and its own code, is from J. Gao and C. Long,
// "RaBitQ: quantizing high-dimensional vectors with a theoretical error bound", SIGMOD 2024.

// u4Step is the distance of two levels, in standard deviations.
const u4Step = 0.335

// u4Lanes is how many sums a kernel keeps, each of every eighth component, so that all kernels add in one order.
const u4Lanes = 8

// u4Sums are sums over components w, in units of the step, and the level l of each.
type u4Sums struct {
	abs   [u4Lanes]float32 // of |w|
	level [u4Lanes]float32 // of w*l
}

// u4Numbers are the components of a block as numbers of 0..15.
type u4Numbers [u4Components]byte

// QuantizeU4 writes v, which a Rotation was applied to, as a code of four bits for each component, U4Width(len(v)) bytes.
//
// For a query q, the inner product of q and v is about byLevel*Σ q[i]*l[i], where l[i] is the level, and with more error
// bySign*Σ q[i]*s[i], where s[i] is 1 where the level is positive and -1 elsewhere. Both are exact for q = v. Where the norm
// of v is zero, not finite or too small for its components to be told apart, code and factors are 0.
//
// The result is the same on every processor.
func QuantizeU4(code []byte, v []float32) (bySign, byLevel float32) {
	return active.QuantizeU4(code, v)
}

// QuantizeU4 is the function of the same name, by the kernels of l.
func (l level) QuantizeU4(code []byte, v []float32) (bySign, byLevel float32) {
	checkU4Length(code, len(v))
	square := l.SumSquares(v)
	step := u4Step * math.Sqrt(square/float64(len(v)))
	scale := float32(1 / step)
	if !(square > 0 && scale <= math.MaxFloat32 && square <= math.MaxFloat64) {
		clear(code)
		return 0, 0
	}
	var sums u4Sums
	var levels u4Numbers
	for len(code) > 0 {
		r := min(u4Block, len(code))
		block := v[:min(len(v), 2*r)]
		whole := len(block) &^ (quantizeStep - 1)
		l.u4Levels(&levels[0], block[:whole], scale, &sums)
		u4LevelsGeneric(levels[whole:], block[whole:], scale, &sums)
		clear(levels[len(block):])
		packU4(code[:r], &levels)
		code, v = code[r:], v[len(block):]
	}
	return float32(square / (step * sumOf(&sums.abs))), float32(square / (step * sumOf(&sums.level)))
}

func sumOf(lanes *[u4Lanes]float32) (sum float64) {
	for _, x := range lanes {
		sum += float64(x)
	}
	return sum
}

// UnpackU4 writes the levels of a code of dim components, as QuantizeU4 made it, to dst in the order of a query. They are
// odd, of -15..15, and 0 where there is no component. It panics where dst is not U4QuerySize(dim) long.
func UnpackU4(dst []int8, code []byte, dim int) {
	checkU4Length(code, dim)
	if want := U4QuerySize(dim); len(dst) != want {
		panic(fmt.Sprintf("vector: %d levels for a code of %d in the order of a query", len(dst), want))
	}
	for len(code) > 0 {
		r, here := min(u4Block, len(code)), min(u4Components, dim)
		unpackU4((*[u4Components]int8)(dst), code[:r])
		clear(dst[min(r, here):u4Block])
		clear(dst[u4Block+max(0, here-r) : u4Components])
		dst, code, dim = dst[u4Components:], code[r:], dim-here
	}
}

func checkU4Length(code []byte, dim int) {
	if want := U4Width(dim); len(code) != want {
		panic(fmt.Sprintf("vector: %d bytes for a code of %d", len(code), want))
	}
}
