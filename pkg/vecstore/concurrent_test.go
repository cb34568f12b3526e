package vecstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// A crowd does everything to a shard at once. The ids of the first pinned observations are replaced over and over and never
// forgotten, so that each of them is in every answer that could have it, once.
type crowd struct {
	t      *testing.T
	s      *vecstore.Shard
	h      *history
	closed atomic.Bool // an error that says so is expected
	done   chan struct{}
	all    sync.WaitGroup
	first  sync.WaitGroup // until everyone has had a turn
}

const pinned = 8

func (c *crowd) vector(rng *rand.Rand) []float32 {
	v := make([]float32, 12)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

// run calls do over and over until the crowd is done or the shard closed.
func (c *crowd) run(n int, do func(rng *rand.Rand) error) {
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	c.first.Add(1)
	turn := sync.OnceFunc(c.first.Done)
	c.all.Go(func() {
		defer turn()
		for {
			err := do(rng)
			if errors.Is(err, vecstore.ErrClosed) && c.closed.Load() {
				return
			}
			if err != nil {
				c.t.Errorf("goroutine %d: %v", n, err)
				return
			}
			turn()
			select {
			case <-c.done:
				return
			default:
			}
		}
	})
}

// each tells whether every pinned observation is there once.
func each(list []vecstore.Row) error {
	seen := map[string]int{}
	for _, row := range list {
		seen[row.ID]++
	}
	for i := range pinned {
		if n := seen[fmt.Sprint(i)]; n != 1 {
			return fmt.Errorf("%d is there %d times in an answer of %d rows", i, n, len(list))
		}
	}
	for id, n := range seen {
		if n != 1 {
			return fmt.Errorf("%s is there %d times", id, n)
		}
	}
	return nil
}

// begin has readers, and those who work behind them, begin.
func (c *crowd) begin() {
	readers := []func(rng *rand.Rand) error{
		func(rng *rand.Rand) error {
			res, err := c.s.Search("s", vecstore.Query{Vector: c.vector(rng), K: everything, MinScore: anyScore, Now: testNow})
			if err != nil {
				return err
			}
			return each(res.Rows)
		},
		func(rng *rand.Rand) error { // through the graph, where there is one
			res, err := c.s.Search("s", vecstore.Query{Vector: c.vector(rng), K: pinned, MinScore: anyScore, Now: testNow})
			if err != nil || len(res.Rows) != pinned {
				return fmt.Errorf("%d hits, %w", len(res.Rows), err)
			}
			seen := map[string]bool{}
			for _, row := range res.Rows {
				if seen[row.ID] {
					return fmt.Errorf("%s is there twice", row.ID)
				}
				seen[row.ID] = true
			}
			return nil
		},
		func(rng *rand.Rand) error {
			odd := &vecstore.Filter{Key: "pinned", Match: func(row *vecstore.Row) (bool, error) {
				i, err := strconv.Atoi(row.ID)
				return err == nil && i < pinned, nil
			}}
			res, err := c.s.Search("s", vecstore.Query{ID: fmt.Sprint(rng.IntN(pinned)), K: 20, MinScore: anyScore, Now: testNow, Filter: odd})
			if err == nil && len(res.Rows) != pinned-1 {
				err = fmt.Errorf("%d hits that match, and %d do", len(res.Rows), pinned-1)
			}
			return err
		},
		func(rng *rand.Rand) error {
			var ids []string
			for i := range pinned {
				ids = append(ids, fmt.Sprint(i))
			}
			rows, err := c.s.Get("s", ids, vecstore.At{Now: testNow})
			if err != nil {
				return err
			}
			return each(rows)
		},
		func(rng *rand.Rand) error {
			rows, _, err := c.s.List("s", 0, everything, vecstore.At{Now: testNow})
			if err != nil {
				return err
			}
			st, ok := c.s.Stats("s")
			if !ok || len(c.s.AllStats()) != 1 || st.Tail+st.Graph < pinned {
				return fmt.Errorf("%+v, %t", st, ok)
			}
			return each(rows)
		},
		func(rng *rand.Rand) error { return c.s.Checkpoint(testNow) },
		func(rng *rand.Rand) error { return c.s.Link(context.Background(), "s") },
		func(rng *rand.Rand) error {
			_, err := c.s.Compact(context.Background(), "s")
			return err
		},
	}
	for n, do := range readers {
		c.run(n, do)
	}
}

// batch makes the next events.
func (c *crowd) batch(n int) {
	for range n {
		switch i := c.h.rng.IntN(10); {
		case i == 0:
			c.h.forget("s", fmt.Sprint(pinned+c.h.rng.IntN(300)))
		case i < 4:
			c.h.observe("s", fmt.Sprint(c.h.rng.IntN(pinned)), c.h.vector(12))
		default:
			c.h.observe("s", fmt.Sprint(pinned+c.h.rng.IntN(300)), c.h.vector(12))
		}
	}
}

// Rows that are linked while a search is under way are in the graph and in the tail: it finds them once.
func TestSearchWhileRowsAreLinked(t *testing.T) {
	s, _ := open(t, "shard", vecstore.Options{FS: vfs.NewMem(), Graph: hnsw.Config{M: 6, EfConstruction: 40}})
	h := newHistory(32)
	h.define(vecstore.Definition{Name: "s", Dimension: 12, Metric: vecstore.L2})
	for i := range 290 {
		h.observe("s", fmt.Sprint(i), h.vector(12))
	}
	feed(t, s, h, h.last())
	must(t, s.Link(context.Background(), "s"))
	for i := range 30 {
		v := unpack(h.events[256+i].Vector)
		res, err := vecstore.SearchGraph(s, "s", vecstore.Query{Vector: v, K: 10, MinScore: anyScore, Now: testNow}, 34)
		if err != nil || len(res.Rows) != 10 {
			t.Fatalf("%d hits, %v", len(res.Rows), err)
		}
		seen := map[string]bool{}
		for _, row := range res.Rows {
			if seen[row.ID] {
				t.Fatalf("%s is there twice", row.ID)
			}
			seen[row.ID] = true
		}
	}
}

// Insertion, searches of all kinds, reads, checkpoints, linking and compaction go on at once, and in the end the shard is
// closed or left in the middle of it. Every answer is right at some moment, and nothing is lost.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	opt := vecstore.Options{
		FS: mem, GraphRows: 256, TailRows: 400, Graph: hnsw.Config{M: 4, EfConstruction: 20}, SegmentSize: 32 << 10,
		KeepVersions: -1, TailBytes: 1000,
	}
	h := newHistory(31)
	h.define(vecstore.Definition{Name: "s", Dimension: 12, Metric: vecstore.L2})
	for i := range pinned {
		h.observe("s", fmt.Sprint(i), h.vector(12))
	}
	for round := range 4 {
		s, _ := open(t, "shard", opt)
		c := &crowd{t: t, s: s, h: h, done: make(chan struct{})}
		feed(t, s, h, h.last())
		c.begin()
		for range 20 {
			c.batch(40)
			feed(t, s, h, h.last())
		}
		c.first.Wait() // without more rows, since linking all there are would not come to an end
		c.closed.Store(true)
		if round%2 == 0 {
			must(t, s.Close())
		} else {
			must(t, s.Abandon())
		}
		close(c.done)
		c.all.Wait()
		if t.Failed() {
			return
		}
	}
	s, _ := open(t, "shard", opt)
	rows := h.as("s", h.last())
	must(t, rows.compare(s, "s", 0))
	must(t, rows.search(s, "s", h.vector(12), vecstore.Query{K: everything, Effort: vecstore.EffortExact}))
}
