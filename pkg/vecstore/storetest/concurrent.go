package storetest

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// testReadersDuringReplacement replaces a few observations over and over, while readers ask for all of them in every
// way there is. Each is there exactly once at any time.
func testReadersDuringReplacement(t *testing.T, f Factory) {
	h := newHarness(t, f)
	ids := []string{"a", "b", "c"}
	h.take(h.define("s", 4, vecstore.L2, 1))
	for _, id := range ids {
		h.take(h.observe("s", id, h.vector(4)))
	}
	least := float32(math.Inf(-1))
	everyID := func(rows []vecstore.Row) error {
		count := map[string]int{}
		for _, row := range rows {
			count[row.ID]++
		}
		for _, id := range ids {
			if count[id] != 1 {
				return fmt.Errorf("%q was there %d times among %d rows", id, count[id], len(rows))
			}
		}
		return nil
	}
	readers := map[string]func() error{
		"Search": func() error {
			res, err := h.shard.Search("s", vecstore.Query{Vector: []float32{1, 2, 3, 4}, K: 10, MinScore: least, Now: h.now})
			if err != nil {
				return err
			}
			return everyID(res.Rows)
		},
		"Search by id": func() error {
			res, err := h.shard.Search("s", vecstore.Query{ID: "a", K: 2, MinScore: least, Now: h.now})
			if err != nil {
				return err
			}
			return everyID(append(res.Rows, vecstore.Row{ID: "a"})) // itself is left out
		},
		"Get": func() error {
			rows, err := h.shard.Get("s", ids, vecstore.At{Now: h.now})
			if err != nil {
				return err
			}
			return everyID(rows)
		},
		"List": func() error {
			rows, _, err := h.shard.List("s", 0, 10, vecstore.At{Now: h.now})
			if err != nil {
				return err
			}
			return everyID(rows)
		},
		"Stats": func() error {
			if st, ok := h.shard.Stats("s"); !ok || st.Observations > uint64(len(ids)) {
				return fmt.Errorf("%d observations, want at most %d", st.Observations, len(ids))
			}
			return nil
		},
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	for name, read := range readers {
		wg.Go(func() {
			for n := 0; !done.Load() || n < 50; n++ {
				if err := read(); err != nil {
					t.Errorf("%s while rows are replaced: %v", name, err)
					done.Store(true)
					return
				}
			}
		})
	}
	for round := 0; round < 12 && !done.Load(); round++ {
		var events []*vecstore.Event
		for i := range 100 {
			events = append(events, h.observe("s", ids[i%len(ids)], h.vector(4)))
		}
		h.take(events...)
		h.checkpoint()
	}
	done.Store(true)
	wg.Wait()
	h.settle()
}

// testSpacesInParallel applies each space in a goroutine of its own while one goroutine appends and another takes
// checkpoints.
func testSpacesInParallel(t *testing.T, f Factory) {
	h := newHarness(t, f)
	h.opt.SegmentSize = 8 << 10
	h.kill()
	const spaces = 6
	var done atomic.Bool
	var wg sync.WaitGroup
	lanes := make([]chan []*vecstore.Event, spaces)
	for s := range lanes {
		h.take(h.define(fmt.Sprint("s", s), 4, vecstore.Dot, 1))
		lanes[s] = make(chan []*vecstore.Event, 100)
		wg.Go(func() {
			for batch := range lanes[s] {
				if _, err := h.shard.Apply(batch, spaces); err != nil {
					t.Errorf("Apply: %v", err)
				}
			}
		})
	}
	var checkpoints sync.WaitGroup
	checkpoints.Go(func() {
		for !done.Load() {
			if err := h.shard.Checkpoint(h.now); err != nil {
				t.Errorf("Checkpoint: %v", err)
				return
			}
		}
	})
	for range 40 {
		var batches [spaces][]*vecstore.Event
		var all []*vecstore.Event
		for i := range 30 {
			s := h.rng.IntN(spaces)
			e := h.observe(fmt.Sprint("s", s), fmt.Sprint(h.rng.IntN(40)), h.vector(4))
			if i%10 == 9 {
				e = h.event(vecstore.Event{Kind: vecstore.KindForget, Space: e.Space, IDs: []string{fmt.Sprint(h.rng.IntN(40))}})
			}
			batches[s] = append(batches[s], e)
			all = append(all, e)
		}
		h.add(all...)
		for s, batch := range batches {
			if len(batch) > 0 {
				lanes[s] <- batch
			}
		}
	}
	for _, lane := range lanes {
		close(lane)
	}
	wg.Wait()
	done.Store(true)
	checkpoints.Wait()
	h.settle()
}
