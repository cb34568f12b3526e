package vector

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestPlanesQuantizeKernels(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(1, 1))
		for _, dim := range planeDims() {
			v := gaussian(rng, dim)
			w := PlaneWidth(dim)
			sketch, rest := make([]byte, w), make([]byte, 3*w)
			sketch2, rest2 := make([]byte, w), make([]byte, 3*w)
			a1, a4 := generic.QuantizePlanes(sketch, rest, v)
			b1, b4 := l.QuantizePlanes(sketch2, rest2, v)
			if a1 != b1 || a4 != b4 || !bytes.Equal(sketch, sketch2) || !bytes.Equal(rest, rest2) {
				t.Fatal(dim, a1, b1, a4, b4)
			}
			u, u2 := make([]int8, PlaneQuerySize(dim)), make([]int8, PlaneQuerySize(dim))
			generic.UnpackPlanes(u, sketch, rest, dim)
			l.UnpackPlanes(u2, sketch, rest, dim)
			if !slices.Equal(u, u2) {
				t.Fatal(dim, u, u2)
			}
		}
	})
}

func BenchmarkPlanesQuantize(b *testing.B) {
	for _, dim := range []int{384, 768} {
		v := gaussian(rand.New(rand.NewPCG(1, 1)), dim)
		w := PlaneWidth(dim)
		sketch, rest := make([]byte, w), make([]byte, 3*w)
		levels := make([]int8, PlaneQuerySize(dim))
		b.Run(fmt.Sprintf("quantize/dim=%d", dim), func(b *testing.B) {
			forLevelsBench(b, func(b *testing.B, l level) {
				for b.Loop() {
					l.QuantizePlanes(sketch, rest, v)
				}
			})
		})
		b.Run(fmt.Sprintf("unpack/dim=%d", dim), func(b *testing.B) {
			forLevelsBench(b, func(b *testing.B, l level) {
				for b.Loop() {
					l.UnpackPlanes(levels, sketch, rest, dim)
				}
			})
		})
	}
}
