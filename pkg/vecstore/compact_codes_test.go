package vecstore

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vfs"
)

// A tail that was filled after an open has nothing of the rows of its first chunk that were linked before. A compaction does not
// take that for their codes.
func TestCompactionTakesCodesThatAreThere(t *testing.T) {
	const dim, linked, more = 16, 300, 50
	opt := Options{FS: vfs.NewMem(), KeepVersions: -1}
	reopen := func() *Shard {
		s, _, err := Open("shard", Source{Epoch: "codes"}, opt)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	rng := rand.New(rand.NewPCG(9, 9))
	vectors := rowVectors(linked+more, dim, func(v []float32, _ int) {
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
	})
	s := reopen()
	give(t, s, &Event{Kind: KindDefine, Definition: &Definition{Name: "s", Dimension: dim, Metric: Cosine, Generation: 1}})
	for i, v := range vectors {
		if i == linked {
			if err := s.Link(context.Background(), "s"); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = reopen()
		}
		give(t, s, &Event{Kind: KindObserve, ID: fmt.Sprint(i), Vector: event.AppendF32(nil, v)})
	}
	defer func() {
		if err := s.Abandon(); err != nil {
			t.Error(err)
		}
	}()
	check := func(when string) {
		t.Helper()
		for i := 1; i < len(vectors); i++ {
			q := Query{Vector: vectors[i], K: 1, MinScore: float32(math.Inf(-1)), Now: time.Now(), Effort: EffortExact}
			res, err := s.Search("s", q)
			if err != nil || len(res.Rows) != 1 || res.Rows[0].ID != fmt.Sprint(i) {
				t.Fatalf("%s: the nearest row of row %d is %v, %v", when, i, res.Rows, err)
			}
		}
	}
	check("before")
	give(t, s, &Event{Kind: KindForget, IDs: []string{"0"}})
	if c, err := s.Compact(context.Background(), "s"); err != nil || c.Reclaimed == 0 {
		t.Fatalf("Compact = %+v, %v", c, err)
	}
	check("after")
}

// A search that began before a compaction and filters after it keeps nothing of the old generation.
func TestFiltersKeepNoOldGeneration(t *testing.T) {
	s := rowsOf(t, Definition{Dimension: 2, Metric: L2}, rowVectors(50, 2, func(v []float32, i int) { v[0] = float32(i) }), 0)
	give(t, s, &Event{Kind: KindForget, IDs: []string{"3"}})
	sp, _ := s.space("s")
	old := sp.gen.Load()
	if err := s.rebuild(context.Background(), sp, time.Now()); err != nil || sp.gen.Load() == old {
		t.Fatalf("there is no new generation: %v", err)
	}
	every := &Filter{Key: "every", Match: func(*Row) (bool, error) { return true, nil }}
	if _, n, err := s.matches(context.Background(), sp, old, every, old.high.Load()); err != nil || n == 0 {
		t.Fatalf("matches = %d, %v", n, err)
	}
	for _, m := range sp.filters.last {
		if m.gen == old {
			t.Error("the old generation is kept")
		}
	}
}
