package vector

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkDotPlanesList takes lists of 32 rows: the same few (hot), or rows anywhere in a column that no cache holds.
func BenchmarkDotPlanesList(b *testing.B) {
	const shift, count = 10, 32
	rng := rand.New(rand.NewPCG(1, 1))
	out := make([]int32, count)
	for _, dim := range []int{384, 768} {
		q := make([]int8, PlaneQuerySize(dim)) // aligned, as those of callers are
		copy(q, codes(rng, len(q)))
		for _, planes := range []int{1, 3} {
			stride := PlaneWidth(dim) * planes
			for _, rows := range []int{16, 100_000, 1_000_000} {
				var chunks []*byte
				lists := make([]uint32, 1<<20)
				for i := range lists {
					lists[i] = uint32(rng.IntN(rows))
				}
				b.Run(fmt.Sprintf("dim=%d/planes=%d/rows=%d", dim, planes, rows), func(b *testing.B) {
					if chunks == nil {
						chunks = benchPlanes(rng, rows, shift, stride)
					}
					forLevelsBench(b, func(b *testing.B, l level) {
						at := 0
						for b.Loop() {
							l.DotPlanesList(q, PlaneWidth(dim), planes, chunks, shift, stride, lists[at:at+count], out)
							at = (at + count) % len(lists)
						}
						perRow(b, count)
					})
				})
			}
		}
	}
}

func benchPlanes(rng *rand.Rand, rows int, shift uint, stride int) []*byte {
	all := make([]byte, (rows+1<<shift)*stride)
	for i := range all {
		all[i] = byte(rng.Uint32())
	}
	var chunks []*byte
	for at := 0; at < rows; at += 1 << shift {
		chunks = append(chunks, &all[at*stride])
	}
	return chunks
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
