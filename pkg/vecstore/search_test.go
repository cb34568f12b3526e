package vecstore_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// clusters draws vectors around centres, as those of texts lie around topics.
type clusters struct {
	rng     *rand.Rand
	centres [][]float32
}

func newClusters(n, dim int) *clusters {
	c := &clusters{rng: rand.New(rand.NewPCG(11, 3))}
	for range n {
		c.centres = append(c.centres, c.around(make([]float32, dim), 1))
	}
	return c
}

func (c *clusters) around(centre []float32, spread float64) []float32 {
	v := make([]float32, len(centre))
	for i, x := range centre {
		v[i] = x + float32(spread*c.rng.NormFloat64())
	}
	return v
}

func (c *clusters) vector() []float32 { return c.around(c.centres[c.rng.IntN(len(c.centres))], 0.4) }

// cosine computes a score by the book.
func cosine(a, b []float32) float64 {
	var dot, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot, aa, bb = dot+x*y, aa+x*x, bb+y*y
	}
	return dot / math.Sqrt(aa*bb)
}

// nearest returns the score of the kth nearest row of those that match.
func nearest(vectors [][]float32, query []float32, k int, match func(i int) bool) float64 {
	var scores []float64
	for i, v := range vectors {
		if match(i) {
			scores = append(scores, cosine(v, query))
		}
	}
	slices.Sort(scores)
	return scores[max(len(scores)-k, 0)]
}

// field is a space of clustered vectors, one of whose rows were replaced, and what is in it.
type field struct {
	t       *testing.T
	s       *vecstore.Shard
	c       *clusters
	vectors [][]float32 // by id
}

func newField(t *testing.T, rows, dim int) *field {
	f := &field{t: t, c: newClusters(rows/100, dim)}
	f.s, _ = open(t, "shard", vecstore.Options{FS: vfs.NewMem(), GraphRows: 1000, Graph: hnsw.Config{M: 8, EfConstruction: 40}})
	h := newHistory(1)
	h.define(vecstore.Definition{Name: "s", Dimension: uint32(dim), Metric: vecstore.Cosine})
	for i := range rows {
		f.vectors = append(f.vectors, f.c.vector())
		h.observe("s", fmt.Sprint(i), f.vectors[i])
		if i%10 == 9 {
			old := f.c.rng.IntN(i)
			f.vectors[old] = f.c.vector()
			h.observe("s", fmt.Sprint(old), f.vectors[old])
		}
	}
	for f.s.Appended() < h.last() {
		feed(t, f.s, h, min(h.last(), f.s.Appended()+2000))
	}
	must(t, f.s.Link(context.Background(), "s"))
	if st, _ := f.s.Stats("s"); st.Tail != 0 || st.Graph < uint64(rows) {
		t.Fatalf("%+v", st)
	}
	return f
}

// recall asks a number of queries and returns which part of the true nearest rows was found. No hit may be wrong.
func (f *field) recall(queries, k int, match func(i int) bool, ask func(v []float32) (vecstore.Result, error)) float64 {
	f.t.Helper()
	found, wanted := 0, 0
	for range queries {
		v := f.c.vector()
		res, err := ask(v)
		if err != nil {
			f.t.Fatal(err)
		}
		last := nearest(f.vectors, v, k, match)
		seen := map[string]bool{}
		for _, row := range res.Rows {
			i, _ := strconv.Atoi(row.ID)
			if seen[row.ID] || !match(i) || math.Abs(float64(row.Score)-cosine(f.vectors[i], v)) > 1e-5 {
				f.t.Fatalf("%q, with the score %g, is a wrong hit", row.ID, row.Score)
			}
			seen[row.ID] = true
			if float64(row.Score) >= last-1e-6 {
				found++
			}
		}
		wanted += k
	}
	return float64(found) / float64(wanted)
}

func all(int) bool { return true }

func TestRecallOfClusters(t *testing.T) {
	t.Parallel()
	f := newField(t, 20_000, 32)
	query := func(v []float32, k int, effort vecstore.Effort) vecstore.Query {
		return vecstore.Query{Vector: v, K: k, MinScore: anyScore, Effort: effort, Now: testNow}
	}
	for name, tc := range map[string]struct {
		k      int
		effort vecstore.Effort
		least  float64
	}{
		"balanced": {10, vecstore.EffortBalanced, 0.95}, "fast": {10, vecstore.EffortFast, 0.85}, "exact": {10, vecstore.EffortExact, 1},
		"of one": {1, vecstore.EffortBalanced, 0.95}, "of 1000": {1000, vecstore.EffortBalanced, 0.95}, "exact of 1000": {1000, vecstore.EffortExact, 1},
	} {
		searched := 0
		got := f.recall(20+300/tc.k, tc.k, all, func(v []float32) (vecstore.Result, error) {
			res, err := f.s.Search("s", query(v, tc.k, tc.effort))
			searched += res.Searched
			if err == nil && (len(res.Rows) != tc.k || res.Exact != (tc.effort == vecstore.EffortExact)) {
				t.Errorf("%s: %d hits, exact %t", name, len(res.Rows), res.Exact)
			}
			return res, err
		})
		t.Logf("%s: recall %.4f, %d rows compared for each", name, got, searched/(20+300/tc.k))
		if got < tc.least {
			t.Errorf("%s: recall is %.4f", name, got)
		}
	}
	t.Run("Filters", f.filters)
	t.Run("FiltersInTheGraph", f.filtersInTheGraph)
	t.Run("FilterAsksOnce", f.filterAsksOnce)
	t.Run("ManyFilters", f.manyFilters)
}

// one returns a filter that matches about one in n rows, and what it matches.
func one(n int, key string) (*vecstore.Filter, func(i int) bool) {
	match := func(i int) bool { return uint32(i)*2654435761>>8%uint32(n) == 0 }
	return &vecstore.Filter{Key: key, Match: func(row *vecstore.Row) (bool, error) {
		i, err := strconv.Atoi(row.ID)
		return err == nil && match(i), nil
	}}, match
}

func (f *field) filters(t *testing.T) {
	for _, n := range []int{2, 100, 1000} {
		filter, match := one(n, fmt.Sprint("one of ", n))
		for _, effort := range []vecstore.Effort{vecstore.EffortBalanced, vecstore.EffortFast, vecstore.EffortExact} {
			got := f.recall(30, 10, match, func(v []float32) (vecstore.Result, error) {
				return f.s.Search("s", vecstore.Query{Vector: v, K: 10, MinScore: anyScore, Effort: effort, Now: testNow, Filter: filter})
			})
			if got < 0.95 {
				t.Errorf("one of %d rows matches: recall is %.4f with effort %d", n, got, effort)
			}
		}
	}
	// One that matches fewer than are wanted, and one that matches nothing.
	few, match := one(4000, "few")
	none := &vecstore.Filter{Key: "none", Match: func(*vecstore.Row) (bool, error) { return false, nil }}
	q := vecstore.Query{Vector: f.c.vector(), K: 100, MinScore: anyScore, Now: testNow, Filter: few}
	want := 0
	for i := range f.vectors {
		if match(i) {
			want++
		}
	}
	if res, err := f.s.Search("s", q); err != nil || len(res.Rows) != want || want == 0 {
		t.Errorf("%d of %d hits, %v", len(res.Rows), want, err)
	}
	q.Filter = none
	if res, err := f.s.Search("s", q); err != nil || len(res.Rows) != 0 {
		t.Errorf("%d hits that nothing matches, %v", len(res.Rows), err)
	}
}

// filtersInTheGraph searches the graph even where a scan of what matches would be chosen.
func (f *field) filtersInTheGraph(t *testing.T) {
	for _, n := range []int{2, 10, 100, 1000} {
		filter, match := one(n, fmt.Sprint("one of ", n))
		compared := 0
		got := f.recall(30, 10, match, func(v []float32) (vecstore.Result, error) {
			res, err := vecstore.SearchGraph(f.s, "s", vecstore.Query{Vector: v, K: 10, MinScore: anyScore, Now: testNow, Filter: filter}, 0)
			compared += res.Searched
			return res, err
		})
		t.Logf("one of %d rows matches: recall %.4f, %d rows compared for each", n, got, compared/30)
		if got < 0.95 {
			t.Errorf("one of %d rows matches: recall is %.4f", n, got)
		}
	}
}

// filterAsksOnce counts how often a filter is asked about each version of a row, by several searches at once, and when more
// rows come.
func (f *field) filterAsksOnce(t *testing.T) {
	var mu sync.Mutex
	asked := map[uint64]int{}
	filter, match := one(7, "one of seven")
	counting := &vecstore.Filter{Key: "counting", Match: func(row *vecstore.Row) (bool, error) {
		mu.Lock()
		asked[row.Sequence]++
		mu.Unlock()
		return filter.Match(row)
	}}
	search := func() {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				res, err := f.s.Search("s", vecstore.Query{Vector: f.vectors[5], K: 20, MinScore: anyScore, Now: testNow, Filter: counting})
				if err != nil || len(res.Rows) != 20 {
					t.Errorf("%d hits, %v", len(res.Rows), err)
				}
				for _, row := range res.Rows {
					if i, _ := strconv.Atoi(row.ID); !match(i) {
						t.Errorf("%q does not match", row.ID)
					}
				}
			})
		}
		all.Wait()
	}
	search()
	search()
	st, _ := f.s.Stats("s")
	if rows := st.Observations + st.Dead; uint64(len(asked)) != rows {
		t.Errorf("the filter was asked about %d of %d rows", len(asked), rows)
	}
	before := len(asked)
	for i := range 5 {
		e := vecstore.Event{
			Kind: vecstore.KindObserve, Sequence: f.s.Appended() + 1, Space: "s", ID: fmt.Sprint("late ", i), Vector: pack(f.vectors[5]),
		}
		applied := f.s.Appended()
		must(t, write(f.s, []*vecstore.Event{&e}))
		must(t, apply(f.s, applied, []*vecstore.Event{&e}))
	}
	search()
	if len(asked) != before+5 {
		t.Errorf("the filter was asked about %d new rows", len(asked)-before)
	}
	for sequence, n := range asked {
		if n != 1 {
			t.Fatalf("the filter was asked %d times about the row of %d", n, sequence)
		}
	}
}

// manyFilters uses more filters than are remembered, at once.
func (f *field) manyFilters(t *testing.T) {
	var asked atomic.Int64
	var all sync.WaitGroup
	for g := range 3 {
		all.Go(func() {
			for n := range 12 {
				key := n + 2
				inner, match := one(key, "")
				filter := &vecstore.Filter{Key: fmt.Sprint("many ", key), Match: func(row *vecstore.Row) (bool, error) {
					asked.Add(1)
					return inner.Match(row)
				}}
				res, err := f.s.Search("s", vecstore.Query{Vector: f.vectors[g*100+n], K: 10, MinScore: anyScore, Now: testNow, Filter: filter})
				if err != nil || len(res.Rows) != 10 {
					t.Errorf("%d hits, %v", len(res.Rows), err)
				}
				for _, row := range res.Rows {
					if i, _ := strconv.Atoi(row.ID); !match(i) {
						t.Errorf("%q does not match filter %d", row.ID, key)
					}
				}
			}
		})
	}
	all.Wait()
	if asked.Load() == 0 {
		t.Error("nothing was asked")
	}
}
