package vector

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

const benchDim = 768

func forLevelsBench(b *testing.B, bench func(b *testing.B, l level)) {
	for _, l := range levels() {
		b.Run(l.String(), func(b *testing.B) { bench(b, l) })
	}
}

// perRow reports the time of one of rows that each operation took.
func perRow(b *testing.B, rows int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
}

func BenchmarkDotI8(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	x, y := codes(rng, benchDim), codes(rng, benchDim)
	forLevelsBench(b, func(b *testing.B, l level) {
		b.SetBytes(benchDim)
		for b.Loop() {
			l.DotI8(x, y)
		}
	})
}

func BenchmarkDotI8Block(b *testing.B) {
	rng := rand.New(rand.NewPCG(2, 2))
	q := codes(rng, benchDim)
	for _, rows := range []int{16, 256, 100_000} {
		block := codes(rng, rows*benchDim)
		out := make([]int32, rows)
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			forLevelsBench(b, func(b *testing.B, l level) {
				b.SetBytes(int64(len(block)))
				for b.Loop() {
					l.DotI8Block(q, block, benchDim, out)
				}
				perRow(b, rows)
			})
		})
	}
}

// BenchmarkDotI8List takes 32 rows each time, as many as a node of a graph has neighbours. They are the same few rows
// (hot), or rows anywhere in a column that no cache holds (random).
func BenchmarkDotI8List(b *testing.B) {
	const shift, count = 10, 32
	rng := rand.New(rand.NewPCG(3, 3))
	q := codes(rng, benchDim)
	out := make([]int32, count)
	for _, c := range []struct {
		name string
		rows int
	}{{"hot", 16}, {"random-77MB", 100_000}, {"random-768MB", 1_000_000}} {
		var col column
		lists := make([]uint32, 1<<20)
		for i := range lists {
			lists[i] = uint32(rng.IntN(c.rows))
		}
		b.Run(c.name, func(b *testing.B) {
			if col.chunks == nil {
				col = benchColumn(rng, c.rows, shift)
			}
			forLevelsBench(b, func(b *testing.B, l level) {
				b.SetBytes(count * benchDim)
				at := 0
				for b.Loop() {
					l.DotI8List(q, col.chunks, shift, benchDim, lists[at:at+count], out)
					at = (at + count) % len(lists)
				}
				perRow(b, count)
			})
		})
	}
}

func benchColumn(rng *rand.Rand, rows int, shift uint) column {
	c := column{shift: shift, stride: benchDim}
	all := make([]int8, rows*benchDim+benchDim<<shift)
	for i := range all {
		all[i] = int8(rng.Uint32()%255) - 127
	}
	for at := 0; at < rows; at += 1 << shift {
		c.chunks = append(c.chunks, &all[at*benchDim])
	}
	return c
}
