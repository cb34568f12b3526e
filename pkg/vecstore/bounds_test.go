package vecstore

import (
	"math/rand/v2"
	"testing"

	"github.com/engram-memory/engram/pkg/vector"
)

// The bound of a row that has next to no length leaves room for the rounding of the query's own: nothing else of it would.
func TestBoundsOfRowsWithoutLength(t *testing.T) {
	for _, dim := range []int{1, 3, 24, 100, 384, 768, 2000} {
		rng := rand.New(rand.NewPCG(uint64(dim), 8))
		_, queries := shaped(rng, dim, 200)
		for name, row := range map[string]func([]float32, int){
			"zero": func([]float32, int) {},
			"tiny": func(v []float32, i int) { v[i%dim] = 1e-12 },
			// The centre of a graph, and what int8 codes make of it: no margin is said to cover that.
			"same": func(v []float32, i int) { v[0] = 1000 + float32(i%2)*1e-3 },
		} {
			const n = 20
			vectors := rowVectors(n, dim, row)
			tail := rowsOf(t, Definition{Dimension: uint32(dim), Metric: L2}, vectors, 0)
			linked := rowsOf(t, Definition{Dimension: uint32(dim), Metric: L2}, vectors, n)
			sp, _ := linked.space("s")
			x, _ := sp.graph()
			w, ids := newSearcher(), make([]uint32, n)
			w.room(n)
			for i := range ids {
				ids[i] = uint32(i)
			}
			for _, raw := range queries {
				q := sp.codec.query(w, raw)
				x.prepare(w, q)
				x.bounds(w, q, ids, w.dist)
				estimates := make([]float32, n)
				x.Distances(&q.near.Query, ids, estimates, w.scratch)
				in, _ := tail.space("s")
				for i, v := range vectors {
					code, info := in.gen.Load().tail.code(uint32(i))
					d := sp.codec.distance(float32(vector.DotI8(q.Code, code))*info.scale*q.Scale, info.norm)
					score := sp.codec.score(q, v)
					if best := sp.codec.best(q, d, info); best < score {
						t.Fatalf("dim %d: a %s row of the tail has the score %g and the bound %g", dim, name, score, best)
					}
					// A margin is for most rows, twice that for all of these.
					if best := sp.codec.asScore(q, x.distance(q, estimates[i])) + 2*x.margin(q, uint32(i)); best < score && name != "same" {
						t.Fatalf("dim %d: a %s row that a search found has the score %g, and %g at best", dim, name, score, best)
					}
					if best := w.dist[i]; best < score {
						t.Fatalf("dim %d: a %s row of a graph has the score %g and the bound %g", dim, name, score, best)
					}
				}
			}
		}
	}
}
