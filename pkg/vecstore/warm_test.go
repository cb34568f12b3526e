package vecstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// Spaces that are not searched give their codes up, again and again, while rows of theirs are on their way, and answer as if
// they had them.
func TestColdSpacesAnswer(t *testing.T) {
	const spaces = 6
	mem := vfs.NewMem()
	opt := vecstore.Options{FS: mem, TailBytes: 4000, GraphRows: 300}
	h := newHistory(5)
	name := func(i int) string { return fmt.Sprint("s", i) }
	for i := range spaces {
		h.define(vecstore.Definition{Name: name(i), Dimension: uint32(3 + 5*i), Metric: vecstore.L2})
	}
	for range 2400 {
		i := h.rng.IntN(spaces)
		if i == 0 || h.rng.IntN(8) == 0 {
			i = h.rng.IntN(2) // one that outgrows the others, and gets a graph
		}
		if id := fmt.Sprint(h.rng.IntN(400)); h.rng.IntN(10) == 0 {
			h.forget(name(i), id)
		} else {
			h.observe(name(i), id, h.vector(3+5*i))
		}
	}
	s, _ := open(t, "shard", opt)
	var waiting []*vecstore.Event
	cold := 0
	for s.Appended() < h.last() {
		applied := s.Appended() - uint64(len(waiting))
		next := h.take(s.Appended()+1, min(h.last(), s.Appended()+40))
		must(t, write(s, next))
		waiting = append(waiting, next...)
		// The last ones stay on their way.
		n := max(0, len(waiting)-h.rng.IntN(10))
		must(t, apply(s, applied, waiting[:n]))
		waiting = waiting[n:]
		must(t, s.Checkpoint(testNow))
		if bytes := vecstore.TailBytes(s); bytes < 3000 {
			cold++
		}
		done := s.Appended() - uint64(len(waiting))
		i := h.rng.IntN(spaces)
		if err := h.as(name(i), done).search(s, name(i), h.vector(3+5*i), vecstore.Query{K: everything}); err != nil {
			t.Fatalf("at %d: %v", done, err)
		}
	}
	if cold < 10 {
		t.Errorf("codes were given up only %d times", cold)
	}
	must(t, apply(s, s.Appended()-uint64(len(waiting)), waiting))
	check := func() {
		t.Helper()
		for i := range spaces {
			rows := h.as(name(i), h.last())
			if err := rows.compare(s, name(i), 0); err != nil {
				t.Error(err)
			}
			if err := rows.search(s, name(i), h.vector(3+5*i), vecstore.Query{K: everything}); err != nil {
				t.Error(err)
			}
		}
	}
	check()
	for i := range spaces {
		must(t, s.Link(context.Background(), name(i))) // what waits to be linked is asked for by the linker
	}
	must(t, s.Checkpoint(testNow))
	must(t, s.Close())
	s, _ = open(t, "shard", opt)
	if vecstore.TailBytes(s) != 0 {
		t.Error("codes are in memory that nobody has asked for")
	}
	check()
	opt.FS = mem.Kill()
	s, _ = open(t, "shard", opt)
	check()
}

// After a loss of power the rows of a large space are linked from the row log: no more of their codes are in memory than wait
// for the graph as a rule, every search is right meanwhile, and rows that come are taken without waiting for the others.
func TestRebuildingTakesLittleMemory(t *testing.T) {
	const tailRows = 512
	for _, engine := range []string{vecstore.EngineHNSW, vecstore.EngineCoder} {
		t.Run(engine, func(t *testing.T) {
			mem := vfs.NewMem()
			opt := vecstore.Options{FS: mem, GraphRows: 1000, TailRows: tailRows, LinkThreads: 1}
			h := newHistory(71)
			h.define(vecstore.Definition{Name: "large", Dimension: 16, Metric: vecstore.L2, Engine: engine})
			for i := range 5000 {
				h.observe("large", fmt.Sprint(i%4500), h.vector(16))
			}
			s, _ := open(t, "shard", opt)
			feed(t, s, h, h.last())
			must(t, s.Checkpoint(testNow))

			opt.FS = mem.LosePower(rand.New(rand.NewPCG(1, 2)))
			linked, hold := make(chan struct{}, 1), make(chan struct{})
			var rebuilt atomic.Pointer[vecstore.Shard]
			var most atomic.Int64
			opt.OnLink = func(int, time.Duration) {
				if s := rebuilt.Load(); s != nil {
					most.Store(max(most.Load(), vecstore.TailBytes(s)))
				}
				select {
				case linked <- struct{}{}:
				default:
				}
				<-hold
			}
			release := sync.OnceFunc(func() { close(hold) })
			defer release()
			s, rec := open(t, "shard", opt)
			rebuilt.Store(s)
			if engine == vecstore.EngineHNSW && rec.Rebuilt != 1 {
				t.Fatalf("%+v", rec)
			}
			allowed := (tailRows + 2*256) * vecstore.TailRowBytes(s, "large")
			check := func(when string) {
				t.Helper()
				rows := h.as("large", h.last())
				must(t, rows.compare(s, "large", 0))
				v := h.vector(16)
				must(t, rows.search(s, "large", v, vecstore.Query{K: everything}))
				every, err := s.Search("large", vecstore.Query{Vector: v, K: everything, MinScore: anyScore, Now: testNow})
				must(t, err)
				ten, err := s.Search("large", vecstore.Query{Vector: v, K: 10, MinScore: anyScore, Now: testNow, Effort: vecstore.EffortExact})
				must(t, err)
				for i, row := range ten.Rows {
					if row.Score != every.Rows[i].Score {
						t.Errorf("%s, hit %d has a score of %g, and %g is there", when, i, row.Score, every.Rows[i].Score)
					}
				}
				if n := vecstore.TailBytes(s); n > allowed {
					t.Errorf("%s, %d bytes of codes are in memory, more than %d", when, n, allowed)
				}
			}
			<-linked
			within(t, time.Minute, "reading and writing while a block is being linked", func() {
				check("while the first block is linked")
				for i := range 100 {
					h.observe("large", fmt.Sprint("new ", i), h.vector(16))
				}
				feed(t, s, h, h.last())
				check("with new rows")
			})
			release()
			must(t, s.Link(context.Background(), "large"))
			check("in the end")
			if n := most.Load(); n > allowed {
				t.Errorf("%d bytes of codes were in memory, more than %d", n, allowed)
			}
		})
	}
}

// Who applies while a backlog is linked links no more than comes in.
func TestApplyLeavesTheBacklogToTheLinker(t *testing.T) {
	mem := vfs.NewMem()
	opt := vecstore.Options{FS: mem, GraphRows: 1000, TailRows: 512, LinkThreads: 1}
	h := large(6000)
	s, _ := open(t, "shard", opt)
	feed(t, s, h, h.last()-1000)
	must(t, s.Checkpoint(testNow))
	opt.FS = mem.LosePower(rand.New(rand.NewPCG(1, 2)))
	s, _ = open(t, "shard", opt)
	vecstore.StopLinker(s)
	must(t, vecstore.LinkBlock(s, "large"))
	graph := func() uint64 {
		st, _ := s.Stats("large")
		return st.Graph
	}
	before := graph()
	for s.Appended() < h.last() {
		feed(t, s, h, s.Appended()+100)
	}
	if n := graph() - before; n > 1000+512 || n < 1000-512 {
		t.Errorf("%d rows were linked while 1000 were applied", n)
	}
}
