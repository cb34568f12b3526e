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

// planeStep is the distance of two levels, in standard deviations.
const planeStep = 0.335

// planesLanes is how many sums a kernel keeps, each of every eighth component, so that all kernels add in one order.
const planesLanes = 8

// planeSums are sums over components w, in units of the step, and the level l of each.
type planeSums struct {
	abs   [planesLanes]float32 // of |w|
	level [planesLanes]float32 // of w*l
}

// planeLevels are the components of a block as numbers u of 0..15. Kernels read beyond the last one, but make no use of
// what stands there.
type planeLevels [planeComponents + planeBlock]byte

// planeBits are a block of each of the four planes of a code.
type planeBits [4][planeBlock]byte

// QuantizePlanes writes v, which a Rotation was applied to, as a code of four bits for each component: for v[i] the number
// u of 0..15, which stands for the level 2*u-15. The highest bits of u, which are 1 where v[i] >= 0, go to sketch,
// PlaneWidth(len(v)) bytes, and the three planes of the other bits to rest, three times as many bytes.
//
// For a query q, the inner product of q and v is about f1*Σ q[i]*s[i], where s[i] is 1 where the bit in sketch is set and
// -1 elsewhere, and with less error f4*Σ q[i]*l[i], where l[i] is the level. Both are exact for q = v. Where the norm of v
// is zero, not finite or too small for its components to be told apart, code and factors are 0.
//
// The result is the same on every processor.
func QuantizePlanes(sketch, rest []byte, v []float32) (f1, f4 float32) {
	return active.QuantizePlanes(sketch, rest, v)
}

// UnpackPlanes writes the levels of a code of dim components, as QuantizePlanes made it, to dst in plane order. They are
// odd, of -15..15, and 0 where there is no component. It panics where dst is not PlaneQuerySize(dim) long.
func UnpackPlanes(dst []int8, sketch, rest []byte, dim int) {
	active.UnpackPlanes(dst, sketch, rest, dim)
}

// QuantizePlanes is the function of the same name, by the kernels of l.
func (l level) QuantizePlanes(sketch, rest []byte, v []float32) (f1, f4 float32) {
	width := PlaneWidth(len(v))
	checkPlanesLength(sketch, rest, width)
	square := l.SumSquares(v)
	step := planeStep * math.Sqrt(square/float64(len(v)))
	scale := float32(1 / step)
	if !(square > 0 && scale <= math.MaxFloat32 && square <= math.MaxFloat64) {
		clear(sketch)
		clear(rest)
		return 0, 0
	}
	var sums planeSums
	var levels planeLevels
	var bits planeBits
	for at := 0; at < width; at += planeBlock {
		r := min(planeBlock, width-at)
		block := v[:min(len(v), 8*r)]
		whole := len(block) &^ (quantizeStep - 1)
		l.planeLevels(&levels[0], block[:whole], scale, &sums)
		planeLevelsGeneric(levels[whole:], block[whole:], scale, &sums)
		clear(levels[len(block):])
		l.packPlanes(&bits, &levels, r)
		copy(sketch[at:], bits[0][:r])
		copy(rest[at:], bits[1][:r])
		copy(rest[width+at:], bits[2][:r])
		copy(rest[2*width+at:], bits[3][:r])
		v = v[len(block):]
	}
	return float32(square / (step * sumOf(&sums.abs))), float32(square / (step * sumOf(&sums.level)))
}

func sumOf(lanes *[planesLanes]float32) (sum float64) {
	for _, x := range lanes {
		sum += float64(x)
	}
	return sum
}

// UnpackPlanes is the function of the same name, by the kernels of l.
func (l level) UnpackPlanes(dst []int8, sketch, rest []byte, dim int) {
	width := PlaneWidth(dim)
	checkPlanesLength(sketch, rest, width)
	if want := PlaneQuerySize(dim); len(dst) != want {
		panic(fmt.Sprintf("vector: %d levels for a code of %d in plane order", len(dst), want))
	}
	var bits planeBits
	for at := 0; at < width; at += planeBlock {
		r := min(planeBlock, width-at)
		copy(bits[0][:r], sketch[at:])
		copy(bits[1][:r], rest[at:])
		copy(bits[2][:r], rest[width+at:])
		copy(bits[3][:r], rest[2*width+at:])
		l.unpackPlanes((*[planeComponents]int8)(dst), &bits)
		if here := min(dim, planeComponents); here < planeComponents {
			clearBeyond(dst, r, here)
		}
		dst, dim = dst[planeComponents:], dim-planeComponents
	}
}

// clearBeyond clears what of a block in plane order, of rows of r, is not one of the dim components.
func clearBeyond(block []int8, r, dim int) {
	for row := 0; row < 8; row++ {
		clear(block[row*planeBlock+max(0, min(r, dim-row*r)) : (row+1)*planeBlock])
	}
}

func checkPlanesLength(sketch, rest []byte, width int) {
	if len(sketch) != width || len(rest) != 3*width {
		panic(fmt.Sprintf("vector: %d and %d bytes for planes of %d", len(sketch), len(rest), width))
	}
}
