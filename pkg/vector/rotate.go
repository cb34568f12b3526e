package vector

import (
	"fmt"
	"math"
	"math/bits"
)

// Rotation is a random rotation of vectors, the same for the same dimension and seed. It spreads whatever stands in few
// components evenly over all of them, so that the components of any vector become like those of a Gaussian. One can be
// used by any number of goroutines.
//
// A random orthogonal matrix takes dim² multiplications. This takes about 4*dim*log2(dim) additions. It follows the fast
// Johnson–Lindenstrauss transform of N. Ailon and B. Chazelle ("Approximate nearest neighbors and the fast
// Johnson–Lindenstrauss transform", STOC 2006): signs at random, then a Walsh–Hadamard transform, which makes many
// components of any one. Such a transform is of a power of two, and it is repeated, with new signs each time:
//
//   - Where the dimension is a power of two, three times.
//   - Otherwise the first components are transformed, as many as the largest power of two, then the last ones, then each
//     component of the first half and one of the second are turned by 45°, and the two transforms come again. The first
//     two leave no component large, the turn balances the halves, the last two even out what remains.
type Rotation struct {
	dim   int
	steps []rotationStep
}

// rotationStep transforms the components from at on, as many as there are factors.
type rotationStep struct {
	turn    bool // turn the halves before that
	at      int
	factors []float32 // the signs, times what makes up for the growth by the transform
}

// NewRotation returns the rotation of vectors of dim components, of at least one, that seed names.
func NewRotation(dim int, seed uint64) *Rotation {
	if dim < 1 {
		panic(fmt.Sprintf("vector: there is no rotation in %d dimensions", dim))
	}
	length := 1 << (bits.Len(uint(dim)) - 1)
	end := dim - length
	steps := []rotationStep{{at: 0}, {at: end}, {at: 0, turn: true}, {at: end}}
	if end == 0 {
		steps = make([]rotationStep, 3)
	}
	for i := range steps {
		steps[i].factors = randomSigns(length, &seed)
	}
	return &Rotation{dim: dim, steps: steps}
}

// randomSigns returns n numbers that are 1/√n or -1/√n.
func randomSigns(n int, state *uint64) []float32 {
	factors := make([]float32, n)
	var random uint64
	for i := range factors {
		if i%64 == 0 {
			random = splitMix(state)
		}
		factors[i] = float32(1 / math.Sqrt(float64(n)))
		if random>>(i%64)&1 == 1 {
			factors[i] = -factors[i]
		}
	}
	return factors
}

// splitMix is the generator SplitMix64 (G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom number generators",
// OOPSLA 2014). The numbers of a seed must never change, because there are codes of rotated vectors on disk.
func splitMix(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	z := *state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Dim returns the dimension of the vectors that r rotates.
func (r *Rotation) Dim() int {
	return r.dim
}

// Apply rotates v in place. Norms and inner products stay as they are but for rounding. The result is the same on every
// processor. It panics where v does not have Dim components.
func (r *Rotation) Apply(v []float32) {
	active.rotate(r, v)
}

// rotate is Apply, by the kernels of l.
func (l level) rotate(r *Rotation, v []float32) {
	if len(v) != r.dim {
		panic(fmt.Sprintf("vector: a vector of %d where a rotation has %d", len(v), r.dim))
	}
	for i := range r.steps {
		step := &r.steps[i]
		if step.turn {
			half := len(v) / 2
			l.turn(v[:half], v[len(v)-half:])
		}
		l.hadamard(v[step.at:][:len(step.factors)], step.factors)
	}
}
