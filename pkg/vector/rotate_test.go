package vector

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func gaussian(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

func TestRotateKernels(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(1, 1))
		for _, dim := range planeDims() {
			r := NewRotation(dim, uint64(dim))
			want := gaussian(rng, dim)
			got := slices.Clone(want)
			generic.rotate(r, want)
			l.rotate(r, got)
			for i := range want {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
					t.Fatalf("dimension %d: component %d is %v, want %v", dim, i, got[i], want[i])
				}
			}
		}
	})
}

func BenchmarkRotate(b *testing.B) {
	for _, dim := range []int{384, 768, 1024, 1536} {
		r := NewRotation(dim, 1)
		v := gaussian(rand.New(rand.NewPCG(1, 1)), dim)
		b.Run(fmt.Sprintf("dim=%d", dim), func(b *testing.B) {
			forLevelsBench(b, func(b *testing.B, l level) {
				for b.Loop() {
					l.rotate(r, v)
				}
			})
		})
	}
}
