package vecstore

import (
	"iter"

	"github.com/engram-memory/engram/pkg/vecstore/columns"
	"github.com/engram-memory/engram/pkg/vector"
)

// Embeddings of one model point into one direction more than into others: the mean of unit vectors has a length of 0.45 for
// one, of 0.8 for another. What they have in common tells none from another, but costs a code most of its bits. So the codes
// of a graph are of the vectors less their mean, and what they miss shrinks with the length of what is left.
//
// The mean is that of the first rows, so that the graph is the same in every copy of the shard. It stays while the graph does. What
// a code misses is in proportion to the distance of its vector from the centre: when later rows have another mean, and are farther
// from this one than from the origin, their codes miss more than they would without a centre, and their bounds are wider. Answers
// are as good, but more rows are compared by their stored vectors. A compaction takes the mean anew.

// centreSample is of how many rows the mean is taken. From a few hundred on, it hardly changes.
const centreSample = 1024

// centreRows is the number of rows of a generation whose mean the centre of its graph is: as many in every copy of the shard
// that begins the graph by itself.
func (s *Shard) centreRows(g *generation) uint32 {
	return min(g.settled.Load(), max(min(s.opt.GraphRows, centreSample), blockRows))
}

// centre returns the mean of the first rows, which are in the tail, rotated; nil where codes are relative to the origin. They
// are for the inner product, which is not a matter of differences.
func (g *generation) centre(c *codec, rows uint32) []float32 {
	if c.metric == Dot || c.dim > columns.MaxCentre {
		return nil
	}
	sum, n := make([]float64, c.dim), 0
	for v := range g.sample(c, rows) {
		for i, x := range v {
			sum[i] += float64(x)
		}
		n++
	}
	mean := make([]float32, c.dim)
	for i := range mean {
		mean[i] = float32(sum[i] / float64(max(n, 1)))
	}
	if 2*g.nearer(c, rows, mean) <= n {
		return nil // a few long vectors may have a mean that is far from all others
	}
	return mean
}

// nearer counts the rows that are nearer to a point than to the origin. What it counts decides what a graph looks like, so it adds in
// one order, which the kernels of vector.Dot do not.
func (g *generation) nearer(c *codec, rows uint32, point []float32) (n int) {
	square := vector.SumSquares(point)
	for v := range g.sample(c, rows) {
		var dot float64
		for i, x := range v {
			dot += float64(x) * float64(point[i]) // a product that is exact, so that it may be fused
		}
		if 2*dot > square {
			n++
		}
	}
	return n
}

// sample goes through the vectors of the first rows of the tail, each of which is good until the next.
func (g *generation) sample(c *codec, rows uint32) iter.Seq[[]float32] {
	return func(yield func([]float32) bool) {
		v, natural := make([]float32, c.dim), make([]int8, c.dim)
		for row := range rows {
			if g.meta.at(row).born.Load() == void {
				continue
			}
			code, info := g.tail.code(row)
			vector.U4Components(natural, code)
			vector.DequantizeI8(v, natural, info.scale)
			if !yield(v) {
				return
			}
		}
	}
}
