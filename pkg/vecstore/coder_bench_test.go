package vecstore

import (
	"fmt"
	"math/rand"
	"testing"

	"github.com/coder/hnsw"

	"github.com/engram-memory/engram/pkg/vector"
)

// BenchmarkCoder measures github.com/coder/hnsw, the baseline that an engine of this project has to beat, on the rows that
// the exact engine is measured on: 10,000 random unit vectors of 64 components. recall@10 follows how many results it is
// asked for, and that is why the graph is asked for more than ten.
func BenchmarkCoder(b *testing.B) {
	const rows, dim = 10_000, 64
	rnd := rand.New(rand.NewSource(1))
	random := func() []float32 {
		v := make([]float32, dim)
		for i := range v {
			v[i] = float32(rnd.NormFloat64())
		}
		normalise(v)
		return v
	}
	graph := hnsw.NewGraph[uint32]()
	graph.Distance, graph.Rng = vector.L2, rand.New(rand.NewSource(1))
	exact := newExact(dim, Cosine)
	for row := range uint32(rows) {
		v := random()
		graph.Add(hnsw.MakeNode(row, v))
		exact.vectors.grow(row)
		copy(exact.vectors.row(row), v)
	}
	sp := &space{meta: column[rowMeta]{width: 1}}
	for row := range uint32(rows) {
		sp.meta.grow(row)
	}
	view := View{space: sp, rows: rows}
	for _, ask := range []int{10, 50, 200, 800} {
		b.Run(fmt.Sprintf("ask=%d", ask), func(b *testing.B) {
			found, wanted := 0, 0
			for b.Loop() {
				q := random()
				near := map[uint32]bool{}
				for _, n := range graph.Search(q, ask) {
					near[n.Key] = true
				}
				b.StopTimer()
				best := NewTopK(10, -2)
				exact.Search(q, view, best)
				for _, s := range best.sorted() {
					wanted++
					if near[s.row] {
						found++
					}
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(found)/float64(wanted), "recall@10")
		})
	}
}
