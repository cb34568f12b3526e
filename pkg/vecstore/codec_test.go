package vecstore

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/vector"
	"github.com/engram-memory/engram/pkg/vfs"
)

var codecNow = time.Unix(1_800_000_000, 0)

// shapes of vectors, from those that are easy to encode to those that nobody should send.
var shapes = map[string]func(rng *rand.Rand, v []float32){
	"gaussian": func(rng *rand.Rand, v []float32) {
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
	},
	"one-hot": func(rng *rand.Rand, v []float32) { v[rng.IntN(len(v))] = 1 - 2*float32(rng.IntN(2)) },
	"two-hot": func(rng *rand.Rand, v []float32) { v[rng.IntN(len(v))], v[rng.IntN(len(v))] = 1, -1e-3 },
	"zero":    func(*rand.Rand, []float32) {},
	"equal": func(rng *rand.Rand, v []float32) {
		x := float32(rng.NormFloat64())
		for i := range v {
			v[i] = x
		}
	},
	"alternating": func(rng *rand.Rand, v []float32) {
		for i := range v {
			v[i] = float32(1 - 2*(i%2))
		}
	},
	"outlier": func(rng *rand.Rand, v []float32) {
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		v[rng.IntN(len(v))] *= 1000
	},
	"tiny": func(rng *rand.Rand, v []float32) {
		for i := range v {
			v[i] = float32(rng.NormFloat64() * 1e-18)
		}
	},
	"huge": func(rng *rand.Rand, v []float32) {
		for i := range v {
			v[i] = float32(rng.NormFloat64() * 1e15)
		}
	},
	"positive": func(rng *rand.Rand, v []float32) {
		for i := range v {
			v[i] = float32(rng.ExpFloat64())
		}
	},
}

// shaped makes n vectors, of all shapes in turn.
func shaped(rng *rand.Rand, dim, n int) (names []string, vectors [][]float32) {
	var all []string
	for name := range shapes {
		all = append(all, name)
	}
	slices.Sort(all)
	for i := range n {
		name, v := all[i%len(all)], make([]float32, dim)
		shapes[name](rng, v)
		names, vectors = append(names, name), append(vectors, v)
	}
	return names, vectors
}

// rowsOf opens a shard with a space of these vectors, the first of which are in a graph.
func rowsOf(t *testing.T, d Definition, vectors [][]float32, graph int) *Shard {
	t.Helper()
	s, _, err := Open("shard", Source{Epoch: "codec"}, Options{FS: vfs.NewMem(), Graph: hnsw.Config{M: 4, EfConstruction: 20}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abandon() })
	d.Name, d.Generation = "s", 1
	give(t, s, &Event{Kind: KindDefine, Definition: &d})
	for i, v := range vectors {
		give(t, s, &Event{Kind: KindObserve, ID: fmt.Sprint(i), Vector: event.AppendF32(nil, v)})
		if i+1 == graph {
			if err := s.Link(context.Background(), "s"); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

// give applies one event to the space "s".
func give(t *testing.T, s *Shard, e *Event) {
	t.Helper()
	e.Space, e.Sequence = "s", s.Appended()+1
	if err := s.Appender().Add(e); err != nil {
		t.Fatal(err)
	}
	if err := s.Appender().Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply([]*Event{e}, e.Sequence-1); err != nil && e.Kind != KindDefine {
		t.Fatal(err)
	}
	s.Applied(e.Sequence)
}

// bookScore is a score in float64.
func bookScore(m Metric, a, b []float32) float64 {
	var dot, aa, bb, l2 float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot, aa, bb, l2 = dot+x*y, aa+x*x, bb+y*y, l2+(x-y)*(x-y)
	}
	switch {
	case m == Dot:
		return dot
	case m == L2:
		return -l2
	case aa*bb == 0:
		return 0
	}
	return dot / math.Sqrt(aa) / math.Sqrt(bb)
}

// Whatever the vectors, no score is better than the bound that a scan of all rows goes by, through the codes of the tail and
// those of a graph.
func TestNoScoreIsBetterThanItsBound(t *testing.T) {
	const n, graph = 150, 110
	for _, dim := range []int{1, 2, 3, 24, 100, 384, 768} {
		rng := rand.New(rand.NewPCG(uint64(dim), 2))
		names, vectors := shaped(rng, dim, n)
		queryNames, queries := shaped(rng, dim, 20)
		for i := range 40 { // enough to have a centre
			names[i] = "positive"
			clear(vectors[i])
			shapes["positive"](rng, vectors[i])
		}
		for _, metric := range []Metric{Cosine, Dot, L2} {
			s := rowsOf(t, Definition{Dimension: uint32(dim), Metric: metric}, vectors, graph)
			sp, _ := s.space("s")
			g, c, w := sp.gen.Load(), sp.codec, newSearcher()
			if g.linked() != graph {
				t.Fatalf("%d rows are linked", g.linked())
			}
			x, _ := sp.graph()
			var used, most float64
			for qi, raw := range queries {
				q := c.query(w, raw)
				w.room(n)
				ids := make([]uint32, graph)
				for i := range ids {
					ids[i] = uint32(i)
				}
				x.prepare(w, q)
				x.bounds(w, q, ids, w.dist)
				estimates := make([]float32, graph)
				x.Distances(&q.near.Query, ids, estimates, w.scratch)
				for i, v := range vectors {
					best, estimate := w.dist[i], float32(0)
					if i >= graph {
						code, info := g.tail.code(uint32(i))
						d := c.distance(float32(vector.DotI8(q.Code, code))*info.scale*q.Scale, info.norm)
						best, estimate = c.best(q, d, info), c.asScore(q, d)
					} else {
						estimate = c.asScore(q, x.distance(q, estimates[i]))
					}
					// The rotation makes all vectors as easy to encode as random ones.
					if i < graph && dim >= 100 {
						info := x.file.Chunks().Info(uint32(i))
						if length := math.Sqrt(float64(info.Norm)); float64(info.Missed.Float32()) > 0.2*length {
							t.Errorf("dim %d: the code of a %s row of length %g misses %g", dim, names[i], length, info.Missed.Float32())
						}
					}
					score := bookScore(metric, raw, v)
					// Scores that differ by the rounding of a float32 are no different ones.
					if rounding := 1e-6 * math.Abs(score); !(score <= float64(best)+rounding) {
						t.Errorf("dim %d, metric %d, a %s row (%d) and a %s query: the score is %g, the estimate %g, and the bound %g",
							dim, metric, names[i], i, queryNames[qi], score, estimate, best)
					}
					if slack := float64(best - estimate); names[i] == "gaussian" && queryNames[qi] == "gaussian" && slack > 0 {
						used, most = used+1, max(most, (score-float64(estimate))/slack)
					}
				}
			}
			if dim > 3 && (used == 0 || most < 0.01) {
				t.Errorf("dim %d, metric %d: a slack of which %g is used tells nothing", dim, metric, most)
			}
		}
	}
}

// Vectors that have much in common are known by what they have not, so that their codes miss less; a few long ones move
// nothing.
func TestCodesAreRelativeToTheMean(t *testing.T) {
	const n, dim = 300, 256
	rng := rand.New(rand.NewPCG(7, 7))
	missed := func(metric Metric, make func(v []float32, i int)) (mean float64, centred bool) {
		vectors := rowVectors(n, dim, make)
		s := rowsOf(t, Definition{Dimension: dim, Metric: metric}, vectors, n)
		sp, _ := s.space("s")
		x, _ := sp.graph()
		b := x.file.Chunks()
		for i := range uint32(n) {
			mean += float64(b.Info(i).Missed.Float32()) / n
		}
		return mean, x.centre != nil
	}
	around := func(middle float64) func([]float32, int) {
		return func(v []float32, _ int) {
			for i := range v {
				v[i] = float32(middle + rng.NormFloat64())
			}
		}
	}
	for _, metric := range []Metric{Cosine, L2} {
		apart, _ := missed(metric, around(0))
		together, centred := missed(metric, around(1))
		// Of unit vectors half of which, by their squares, is the same, a code misses as much less.
		want := apart
		if metric == Cosine {
			want = apart * math.Sqrt(0.5)
		}
		if !centred || math.Abs(together/want-1) > 0.1 {
			t.Errorf("metric %d: codes miss %.4f of vectors with nothing in common and %.4f of others, which have a centre: %t", metric, apart, together, centred)
		}
	}
	if _, centred := missed(Dot, around(1)); centred {
		t.Error("the inner product has a centre")
	}
	long := func(v []float32, i int) {
		around(0)(v, i)
		if i%100 == 0 {
			v[0] = 1e6
		}
	}
	if _, centred := missed(L2, long); centred {
		t.Error("a few long vectors are the centre of all")
	}
}

func rowVectors(n, dim int, fill func(v []float32, i int)) [][]float32 {
	vectors := make([][]float32, n)
	for i := range vectors {
		vectors[i] = make([]float32, dim)
		fill(vectors[i], i)
	}
	return vectors
}

// There are slots for fewer upper lists than rows could draw: those that find none are in the base layer alone.
func TestManyUpperRows(t *testing.T) {
	cfg := hnsw.Config{M: 128, EfConstruction: 128}
	s, _, err := Open("shard", Source{Epoch: "codec"}, Options{FS: vfs.NewMem(), Graph: cfg})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abandon()
	rng := rand.New(rand.NewPCG(5, 5))
	d := Definition{Name: "s", Generation: 1, Dimension: 8, Metric: L2}
	events := []*Event{{Kind: KindDefine, Space: "s", Definition: &d, Sequence: 1}}
	for sequence := uint64(2); len(events) < 400; sequence++ {
		if cfg.LevelOf(mix(sequence)) == 0 {
			continue
		}
		v := make([]float32, 8)
		shapes["gaussian"](rng, v)
		events = append(events, &Event{Kind: KindObserve, Space: "s", ID: fmt.Sprint(sequence), Vector: event.AppendF32(nil, v), Sequence: sequence})
	}
	for _, e := range events {
		if err := s.Appender().Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Appender().Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(events[1:], 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Link(context.Background(), "s"); err != nil {
		t.Fatal(err)
	}
	sp, _ := s.space("s")
	x, _ := sp.graph()
	upper := 0
	for row := range x.linked() {
		upper += min(x.Level(row), 1)
	}
	if b := x.file.Chunks(); upper == 399 || uint32(upper) > b.Slots() || upper < int(b.Slots())/2 {
		t.Errorf("%d rows are in upper layers, which have %d slots", upper, b.Slots())
	}
	for _, e := range events[1:] {
		v := event.DecodeF32(nil, e.Vector)
		res, err := s.Search("s", Query{Vector: v, K: 1, MinScore: float32(math.Inf(-1)), Now: codecNow})
		if err != nil || len(res.Rows) != 1 || res.Rows[0].ID != e.ID {
			t.Fatalf("%s is not found: %v", e.ID, err)
		}
	}
}

// An exact search finds the true nearest among rows of every shape, and among rows that hardly differ: the scores are
// those that a loop over all rows finds, each to the last bit.
func TestExactMissesNothing(t *testing.T) {
	for _, dim := range []int{1, 3, 24, 100, 384} {
		rng := rand.New(rand.NewPCG(uint64(dim), 3))
		_, vectors := shaped(rng, dim, 300)
		centre := make([]float32, dim)
		shapes["gaussian"](rng, centre)
		for range 300 {
			v := slices.Clone(centre)
			for i := range v {
				v[i] += float32(rng.NormFloat64() * 1e-5)
			}
			vectors = append(vectors, v)
		}
		for range 20 {
			vectors = append(vectors, vectors[len(vectors)-1]) // the very same
		}
		_, queries := shaped(rng, dim, 10)
		queries = append(queries, centre, vectors[310], vectors[len(vectors)-1])
		for _, metric := range []Metric{Cosine, Dot, L2} {
			for _, form := range []Vectors{VectorsF32, VectorsF16, VectorsNone} {
				vectors := vectors
				if form == VectorsF16 { // which has no room for the huge ones
					vectors = slices.DeleteFunc(slices.Clone(vectors), func(v []float32) bool { return vector.SumSquares(v) > 1e8 })
				}
				s := rowsOf(t, Definition{Dimension: uint32(dim), Metric: metric, Vectors: form}, vectors, len(vectors)-100)
				sp, _ := s.space("s")
				kept := storedRows(t, s, len(vectors))
				for qi, raw := range queries {
					q := sp.codec.query(newSearcher(), raw)
					var want []float32
					for _, x := range kept {
						if score := sp.codec.score(q, x); !math.IsNaN(float64(score)) {
							want = append(want, score)
						}
					}
					slices.Sort(want)
					slices.Reverse(want)
					for _, k := range []int{1, 10, 200, len(vectors)} {
						res, err := s.Search("s", Query{Vector: raw, K: k, MinScore: float32(math.Inf(-1)), Effort: EffortExact, Now: codecNow})
						if err != nil {
							t.Fatal(err)
						}
						var got []float32
						for _, row := range res.Rows {
							got = append(got, row.Score)
						}
						if !slices.Equal(got, want[:min(k, len(want))]) {
							t.Fatalf("dim %d, metric %d, form %d, query %d: the best %d are %v, want %v",
								dim, metric, form, qi, k, ends(got), ends(want[:min(k, len(want))]))
						}
					}
				}
				if err := s.Abandon(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// Rows whose lengths overflow are hits like others, unless their scores do, too, and are NaN or the least there is.
func TestExactWithoutMeasure(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	_, vectors := shaped(rng, 24, 100)
	for i := range 20 {
		v := vectors[5*i]
		for j := range v {
			v[j] = float32(rng.NormFloat64() * 1e25)
		}
	}
	for _, metric := range []Metric{Cosine, Dot, L2} {
		s := rowsOf(t, Definition{Dimension: 24, Metric: metric}, vectors, 60)
		for qi, raw := range vectors {
			res, err := s.Search("s", Query{Vector: raw, K: len(vectors), MinScore: float32(math.Inf(-1)), Effort: EffortExact, Now: codecNow})
			if err != nil {
				t.Fatal(err)
			}
			sp, _ := s.space("s")
			q, want := sp.codec.query(newSearcher(), raw), 0
			for _, x := range vectors {
				if sp.codec.score(q, x) >= -math.MaxFloat32 {
					want++
				}
			}
			got := slices.IndexFunc(res.Rows, func(row Row) bool { return row.Score < -math.MaxFloat32 })
			if got < 0 {
				got = len(res.Rows)
			}
			if got != want {
				t.Fatalf("metric %d, query %d: %d hits of %d rows that have a score", metric, qi, got, want)
			}
		}
	}
}

// ends abbreviates scores.
func ends(s []float32) string {
	if len(s) < 8 {
		return fmt.Sprint(s)
	}
	return fmt.Sprintf("%d: %v … %v", len(s), s[:4], s[len(s)-4:])
}

// storedRows are the vectors of a space as it keeps them.
func storedRows(t *testing.T, s *Shard, n int) [][]float32 {
	t.Helper()
	list, _, err := s.List("s", 0, n, At{Now: codecNow})
	if err != nil || len(list) != n {
		t.Fatalf("%d rows, %v", len(list), err)
	}
	var kept [][]float32
	for _, row := range list {
		kept = append(kept, event.DecodeF32(nil, row.Vector))
	}
	return kept
}
