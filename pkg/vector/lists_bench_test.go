package vector

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkDotU4List takes lists of 32 rows: the same few (hot), or rows anywhere in a column that no cache holds.
func BenchmarkDotU4List(b *testing.B) {
	benchLists(b, U4Width, level.DotU4List)
}

// BenchmarkDotSketchList takes the same lists.
func BenchmarkDotSketchList(b *testing.B) {
	benchLists(b, SketchWidth, level.DotSketchList)
}

func benchLists(b *testing.B, width func(dim int) int, dot func(l level, q []int8, width int, chunks []*byte, shift uint, stride int, ids []uint32, out []int32)) {
	const shift, count = 10, 32
	rng := rand.New(rand.NewPCG(1, 1))
	out := make([]int32, count)
	for _, dim := range []int{384, 768, 784} {
		q := make([]int8, U4QuerySize(dim)) // aligned, as those of callers are
		copy(q, codes(rng, len(q)))
		stride := width(dim) + u4Align
		for _, rows := range []int{16, 100_000, 1_000_000} {
			var chunks []*byte
			lists := make([]uint32, 1<<20)
			for i := range lists {
				lists[i] = uint32(rng.IntN(rows))
			}
			b.Run(fmt.Sprintf("dim=%d/rows=%d", dim, rows), func(b *testing.B) {
				if chunks == nil {
					chunks = benchRows(rng, rows, shift, stride)
				}
				forLevelsBench(b, func(b *testing.B, l level) {
					b.SetBytes(int64(count * width(dim)))
					at := 0
					for b.Loop() {
						dot(l, q, width(dim), chunks, shift, stride, lists[at:at+count], out)
						at = (at + count) % len(lists)
					}
					perRow(b, count)
				})
			})
		}
	}
}

func benchRows(rng *rand.Rand, rows int, shift uint, stride int) []*byte {
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

func BenchmarkU4Quantize(b *testing.B) {
	for _, dim := range []int{384, 768} {
		v := gaussian(rand.New(rand.NewPCG(1, 1)), dim)
		code, levels := make([]byte, U4Width(dim)), make([]int8, U4QuerySize(dim))
		b.Run(fmt.Sprintf("quantize/dim=%d", dim), func(b *testing.B) {
			forLevelsBench(b, func(b *testing.B, l level) {
				b.SetBytes(int64(4 * dim))
				for b.Loop() {
					l.QuantizeU4(code, v)
				}
			})
		})
		b.Run(fmt.Sprintf("unpack/dim=%d", dim), func(b *testing.B) {
			b.SetBytes(int64(len(code)))
			for b.Loop() {
				UnpackU4(levels, code, dim)
			}
		})
	}
}
