package vector

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func BenchmarkDot(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	x, y := floats(rng, benchDim), floats(rng, benchDim)
	for _, c := range []struct {
		name string
		call func(l level)
	}{
		{"Dot", func(l level) { l.Dot(x, y) }},
		{"L2", func(l level) { l.L2(x, y) }},
		{"SumSquares", func(l level) { l.SumSquares(x) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			forLevelsBench(b, func(b *testing.B, l level) {
				b.SetBytes(4 * benchDim)
				for b.Loop() {
					c.call(l)
				}
			})
		})
	}
}

func BenchmarkDotRows(b *testing.B) {
	rng := rand.New(rand.NewPCG(2, 2))
	q := floats(rng, benchDim)
	for _, rows := range []int{4, 100_000} {
		block := make([]float32, rows*benchDim)
		for i := range block {
			block[i] = rng.Float32()
		}
		out := make([]float32, rows)
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			forLevelsBench(b, func(b *testing.B, l level) {
				b.SetBytes(int64(4 * len(block)))
				for b.Loop() {
					l.DotRows(q, block, out)
				}
				perRow(b, rows)
			})
		})
	}
}

func BenchmarkConversions(b *testing.B) {
	rng := rand.New(rand.NewPCG(3, 3))
	v, code, half := floats(rng, benchDim), make([]int8, benchDim), make([]byte, 2*benchDim)
	for _, c := range []struct {
		name string
		call func(l level)
	}{
		{"QuantizeI8", func(l level) { l.QuantizeI8(code, v) }},
		{"DequantizeI8", func(l level) { l.DequantizeI8(v, code, 0.01) }},
		{"EncodeF16", func(l level) { l.EncodeF16(half, v) }},
		{"DecodeF16", func(l level) { l.DecodeF16(v, half) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			forLevelsBench(b, func(b *testing.B, l level) {
				b.SetBytes(4 * benchDim)
				for b.Loop() {
					c.call(l)
				}
			})
		})
	}
}
