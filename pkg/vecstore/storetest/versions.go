package storetest

import (
	"fmt"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// testUpsertInAnyOrder applies the versions of one id, and forgets between them, in every order.
func testUpsertInAnyOrder(t *testing.T, f Factory) {
	for name, kinds := range map[string][]vecstore.Kind{
		"observe only":  {vecstore.KindObserve, vecstore.KindObserve, vecstore.KindObserve, vecstore.KindObserve},
		"forget last":   {vecstore.KindObserve, vecstore.KindObserve, vecstore.KindObserve, vecstore.KindForget},
		"forget within": {vecstore.KindObserve, vecstore.KindForget, vecstore.KindObserve, vecstore.KindForget, vecstore.KindObserve},
		"forget first":  {vecstore.KindForget, vecstore.KindObserve, vecstore.KindForget},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, f)
			for n, order := range permutations(len(kinds)) {
				space := fmt.Sprint("s", n)
				h.take(h.define(space, 4, vecstore.L2, 1), h.observe(space, "other", h.vector(4)))
				first := h.seq + 1
				var events []*vecstore.Event
				for _, kind := range kinds {
					if kind == vecstore.KindObserve {
						events = append(events, h.observe(space, "id", h.vector(4)))
					} else {
						events = append(events, h.forget(space, "id"))
					}
				}
				h.add(events...)
				done := map[uint64]bool{}
				applied := first - 1
				newest := uint64(0)
				for _, i := range order {
					h.apply(applied, events[i])
					done[events[i].Sequence] = true
					for done[applied+1] {
						applied++
					}
					newest = max(newest, events[i].Sequence)
					h.checkVersion(space, events, newest)
				}
			}
			h.settle()
		})
	}
}

// checkVersion checks that "id" is there once or not at all, as its newest event says that was applied.
func (h *harness) checkVersion(space string, events []*vecstore.Event, newest uint64) {
	h.t.Helper()
	want := 0
	for _, e := range events {
		if e.Sequence == newest && e.Kind == vecstore.KindObserve {
			want = 1
		}
	}
	res, err := h.shard.Search(space, vecstore.Query{Vector: make([]float32, 4), K: 10, MinScore: -1e9, Now: h.now})
	if err != nil {
		h.t.Fatal(err)
	}
	count := 0
	for _, row := range res.Rows {
		if row.ID == "id" {
			count++
			if row.Sequence != newest {
				h.t.Fatalf("space %q has the version of %d, want %d", space, row.Sequence, newest)
			}
		}
	}
	if count != want || len(res.Rows) != want+1 {
		h.t.Fatalf("space %q has \"id\" %d times among %d rows after %d, want %d times", space, count, len(res.Rows), newest, want)
	}
}

// permutations returns every order of 0..n-1.
func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, p := range permutations(n - 1) {
		for i := range n {
			q := append([]int(nil), p[:i]...)
			all = append(all, append(append(q, n-1), p[i:]...))
		}
	}
	return all
}

// testRedelivery gives the shard events again that it has, with another content, so that taking one shows.
func testRedelivery(t *testing.T, f Factory) {
	h := newHarness(t, f)
	h.fill("s", 4, 10, vecstore.Cosine)
	h.take(h.forget("s", "4"))
	for _, restart := range []func() vecstore.Recovery{nil, h.reopen, h.kill} {
		if restart != nil {
			restart()
		}
		size, position := h.shard.LogBytes(), h.shard.Appended()
		for seq := uint64(1); seq <= position; seq++ {
			for _, e := range []*vecstore.Event{
				{Kind: vecstore.KindObserve, Space: "s", ID: "4", Vector: pack(h.vector(4)), Body: []byte("wrong")},
				{Kind: vecstore.KindForget, Space: "s", IDs: []string{"0"}},
				{Kind: vecstore.KindDrop, Space: "s", Generation: 1},
				{Kind: vecstore.KindDefine, Space: "z", Definition: &vecstore.Definition{Name: "z", Dimension: 1, Metric: vecstore.Dot, Generation: 1, Engine: f.Engine}},
			} {
				e.Sequence = seq
				if err := h.shard.Appender().Add(e); err != nil || e.SpaceKey() != nil {
					t.Fatalf("Add of event %d again = %v, with key %v; want it ignored", seq, err, e.SpaceKey())
				}
			}
		}
		h.flush()
		if h.shard.LogBytes() != size || h.shard.Appended() != position {
			t.Fatalf("redelivery moved the row log from %d bytes at %d to %d at %d", size, position, h.shard.LogBytes(), h.shard.Appended())
		}
		h.check()
	}
}

// testForgetMany forgets many ids at once, known and unknown ones, and observes some again.
func testForgetMany(t *testing.T, f Factory) {
	h := newHarness(t, f)
	h.fill("s", 4, 200, vecstore.Dot)
	var ids []string
	for i := range 250 {
		if i%3 != 0 {
			ids = append(ids, fmt.Sprint(i))
		}
	}
	h.take(h.forget("s", append(ids, ids...)...))
	h.check()
	h.take(h.forget("s", ids...), h.forget("s"))
	for i := range 60 {
		h.take(h.observe("s", fmt.Sprint(i), h.vector(4)))
	}
	h.settle()
	if st, _ := h.shard.Stats("s"); st.Dead == 0 {
		t.Fatal("no row is dead after all this")
	}
}
