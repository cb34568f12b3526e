package vecstore_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// past is a history of a few ids that are replaced and forgotten over and over.
func past(seed uint64, events, ids int) *history {
	h := newHistory(seed)
	h.define(vecstore.Definition{Name: "s", Dimension: 4, Metric: vecstore.L2})
	id := func() string { return fmt.Sprint(h.rng.IntN(ids)) }
	for range events {
		if h.rng.IntN(4) == 0 {
			h.forget("s", id(), id())
		} else {
			h.observe("s", id(), h.vector(4))
		}
	}
	return h
}

// wander applies all events that a shard does not have, each up to window places before or behind its turn.
func wander(t *testing.T, s *vecstore.Shard, h *history, window int, visit func(applied uint64)) {
	t.Helper()
	waiting := h.take(s.Appended()+1, h.last())
	applied := s.Appended()
	must(t, write(s, waiting))
	done := map[uint64]bool{}
	for len(waiting) > 0 {
		i := h.rng.IntN(min(window, len(waiting)))
		e := waiting[i]
		if e.SpaceKey() != nil {
			must(t, apply(s, applied, []*vecstore.Event{e}))
		}
		waiting = append(waiting[:i:i], waiting[i+1:]...)
		for done[e.Sequence] = true; done[applied+1]; {
			applied++
		}
		visit(applied)
	}
}

// checkPast compares every read as of each of the sequences with the history.
func checkPast(t *testing.T, s *vecstore.Shard, h *history, from, to uint64) {
	t.Helper()
	var rows held
	bad := 0
	for sequence := uint64(1); sequence <= to && bad < 5; sequence++ {
		rows = rows.take(&h.events[sequence-1])
		if sequence < from {
			continue
		}
		err := rows.compare(s, "s", sequence)
		if err == nil {
			err = rows.search(s, "s", h.vector(4), vecstore.Query{K: everything, Effort: vecstore.EffortExact, AsOf: sequence})
		}
		if err != nil {
			t.Errorf("as of %d: %v", sequence, err)
			bad++
		}
	}
	if bad > 0 {
		t.FailNow()
	}
}

// search tells what is wrong with an exact answer, in this case for all rows.
func (rows held) search(s *vecstore.Shard, space string, v []float32, q vecstore.Query) error {
	q.Vector, q.Now, q.MinScore = v, testNow, anyScore
	res, err := s.Search(space, q)
	if err != nil {
		return fmt.Errorf("Search of %q: %w", space, err)
	}
	if len(res.Rows) != min(len(rows), q.K) {
		return fmt.Errorf("Search of %q has %d rows; want %d", space, len(res.Rows), len(rows))
	}
	seen := map[string]bool{}
	for i, row := range res.Rows {
		want, ok := rows[row.ID]
		if !ok || seen[row.ID] {
			return fmt.Errorf("Search of %q has %q of %d, which is not there, or there twice", space, row.ID, row.Sequence)
		}
		if err := same(row, want); err != nil {
			return fmt.Errorf("Search of %q: %w", space, err)
		}
		if i > 0 && row.Score > res.Rows[i-1].Score {
			return fmt.Errorf("Search of %q has a score of %g behind %g", space, row.Score, res.Rows[i-1].Score)
		}
		seen[row.ID] = true
	}
	return nil
}

// Events are applied in any order, within a window, and what held at each sequence is answered as if they had come in
// theirs: while they are applied, and after each kind of open.
func TestAsOfAnySequence(t *testing.T) {
	for _, window := range []int{1, 2, 16} {
		t.Run(fmt.Sprint("window ", window), func(t *testing.T) {
			mem := vfs.NewMem()
			opt := vecstore.Options{FS: mem}
			h := past(uint64(window), 300, 10)
			s, _ := open(t, "shard", opt)
			n := 0
			wander(t, s, h, window, func(applied uint64) {
				if n++; n%40 == 0 {
					checkPast(t, s, h, max(applied, 20)-19, applied)
				}
			})
			checkPast(t, s, h, 1, h.last())
			must(t, s.Close())
			s, _ = open(t, "shard", opt)
			checkPast(t, s, h, 1, h.last())
			opt.FS = mem.Kill()
			s, _ = open(t, "shard", opt)
			checkPast(t, s, h, 1, h.last())
		})
	}
}

// The same with compactions in between, while events are on their way: what can still be read is right.
func TestAsOfAcrossCompactions(t *testing.T) {
	for seed := range uint64(4) {
		mem := vfs.NewMem()
		opt := vecstore.Options{FS: mem, KeepVersions: -1, GraphRows: 256, SegmentSize: 4 << 10}
		h := past(50+seed, 500, 8)
		s, _ := open(t, "shard", opt)
		n := 0
		wander(t, s, h, 24, func(applied uint64) {
			if n++; n%25 == 0 {
				compact(t, s, "s")
				checkHorizon(t, s, h, applied)
			}
		})
		checkHorizon(t, s, h, h.last())
		opt.FS = mem.Kill()
		s, _ = open(t, "shard", opt)
		checkHorizon(t, s, h, h.last())
	}
}

// The same where the older rows are in a graph, and some of them have been let go from memory.
func TestAsOfThroughAGraph(t *testing.T) {
	mem := vfs.NewMem()
	opt := vecstore.Options{FS: mem, GraphRows: 256}
	h := past(7, 700, 60)
	s, _ := open(t, "shard", opt)
	wander(t, s, h, 8, func(uint64) {})
	must(t, s.Link(context.Background(), "s"))
	if st, _ := s.Stats("s"); st.Graph < 256 {
		t.Fatalf("%d rows are in the graph", st.Graph)
	}
	checkPast(t, s, h, h.last()-200, h.last())
	var rows held
	for sequence := uint64(1); sequence <= h.last(); sequence++ {
		rows = rows.take(&h.events[sequence-1])
		if sequence%50 != 0 {
			continue
		}
		// The graph finds nothing that did not hold then.
		if err := rows.search(s, "s", h.vector(4), vecstore.Query{K: everything, AsOf: sequence}); err != nil {
			t.Errorf("as of %d: %v", sequence, err)
		}
	}
	must(t, s.Close())
	s, _ = open(t, "shard", opt)
	checkPast(t, s, h, 1, h.last())
}
