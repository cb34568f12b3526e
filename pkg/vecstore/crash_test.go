package vecstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// crashOptions make little do much: small graphs, of few rows, and small segments.
func crashOptions(fsys vfs.FS) vecstore.Options {
	return vecstore.Options{
		FS: fsys, GraphRows: 256, TailRows: 512, Graph: hnsw.Config{M: 6, EfConstruction: 40}, SegmentSize: 24 << 10,
		KeepVersions: -1, LinkThreads: 2,
	}
}

// eventful is a history of three spaces, one of which is large enough for a graph and one of which is dropped, and comes again.
func eventful(rows int) *history {
	h := newHistory(3)
	h.define(vecstore.Definition{Name: "large", Dimension: 16, Metric: vecstore.L2})
	h.define(vecstore.Definition{Name: "small", Dimension: 5, Metric: vecstore.Cosine, Embedder: "words"})
	h.define(vecstore.Definition{Name: "brief", Dimension: 3, Metric: vecstore.Dot})
	for i := range rows {
		switch {
		case i == rows/2:
			h.add(vecstore.Event{Kind: vecstore.KindDrop, Space: "brief", Generation: 1})
		case i == rows*2/3:
			h.define(vecstore.Definition{Name: "brief", Dimension: 3, Metric: vecstore.L2, Generation: 2})
		case i%40 == 39 && (i < rows/2 || i > rows*2/3):
			h.observe("brief", fmt.Sprint(i%3), h.vector(3))
		case i%17 == 16:
			h.observe("small", fmt.Sprint(i%5), h.vector(5))
		case i%23 == 22:
			h.forget("large", fmt.Sprint(h.rng.IntN(i)), fmt.Sprint(h.rng.IntN(i)))
		case i%9 == 8:
			h.observe("large", fmt.Sprint(h.rng.IntN(i)), h.vector(16))
		default:
			h.observe("large", fmt.Sprint(i), h.vector(16))
		}
	}
	return h
}

// doomed is a machine on which a shard lives a life, and of whose disk a copy is made whenever the shard turns to it: as the
// death of the process leaves it there, and a loss of power.
type doomed struct {
	t     *testing.T
	h     *history
	mem   *vfs.Mem
	shard atomic.Pointer[vecstore.Shard]
	// added is the last event that the shard may have, flushed the last one that outlives the process, and durable the last
	// one that outlives the machine, beside what the shard says.
	added, flushed, durable atomic.Uint64
	calls                   atomic.Int64
	every                   int64 // of the copies one in so many lives on to the end of the history

	mu              sync.Mutex
	found, wanted   int
	trusted, graphs int
}

func (d *doomed) open() {
	d.t.Helper()
	mem, fault := d.mem, vfs.NewFault(d.mem)
	fault.Inject(vfs.Rule{Ops: vfs.OpChanges, Onwards: true, Before: func() { d.die(mem) }})
	// What only reads leaves the disk as it is, but there are links on their way there at the same time.
	var reads atomic.Int64
	fault.Inject(vfs.Rule{Ops: vfs.OpAll &^ vfs.OpChanges, Onwards: true, Before: func() {
		if reads.Add(1)%64 == 0 {
			d.die(mem)
		}
	}})
	s, _ := open(d.t, "shard", crashOptions(fault))
	d.shard.Store(s)
}

// feed delivers the events up to a sequence in batches, as a worker does.
func (d *doomed) feed(to uint64) {
	d.t.Helper()
	s := d.shard.Load()
	for s.Appended() < to {
		applied := s.Appended()
		n := min(to, applied+70)
		events := d.h.take(applied+1, n)
		d.added.Store(n)
		must(d.t, write(s, events))
		d.flushed.Store(n)
		must(d.t, apply(s, applied, events))
	}
}

func (d *doomed) checkpoint() {
	d.t.Helper()
	must(d.t, d.shard.Load().Checkpoint(testNow))
}

func (d *doomed) link() {
	d.t.Helper()
	must(d.t, d.shard.Load().Link(context.Background(), "large"))
}

// kill goes on with what the death of the process leaves.
func (d *doomed) kill() {
	d.t.Helper()
	d.durable.Store(d.shard.Load().Durable())
	d.end(d.mem.Kill())
}

// losePower goes on with what a loss of power leaves.
func (d *doomed) losePower(rng *rand.Rand) {
	d.t.Helper()
	d.durable.Store(d.shard.Load().Durable())
	d.flushed.Store(d.durable.Load())
	d.end(d.mem.LosePower(rng))
}

func (d *doomed) end(left *vfs.Mem) {
	d.t.Helper()
	must(d.t, d.shard.Swap(nil).Abandon())
	d.mem = left
	d.open()
}

// close ends the shard in the orderly way and opens it again.
func (d *doomed) close() {
	d.t.Helper()
	must(d.t, d.shard.Load().Close())
	d.durable.Store(d.shard.Swap(nil).Durable())
}

// die is called before each call of the file system.
func (d *doomed) die(mem *vfs.Mem) {
	n := d.calls.Add(1)
	flushed, durable := d.flushed.Load(), d.durable.Load()
	if s := d.shard.Load(); s != nil {
		durable = max(durable, s.Durable())
	}
	killed := mem.Kill()
	rng := rand.New(rand.NewPCG(uint64(n), 5))
	if n%2 == 0 {
		rng = nil
	}
	dark := mem.LosePower(rng)
	added := d.added.Load()
	var both sync.WaitGroup
	try := func(what string, mem *vfs.Mem, n int64, low uint64) {
		both.Go(func() {
			if err := d.survives(mem, n, low, added); err != nil {
				d.t.Errorf("%s before call %d, when events up to %d were flushed and %d durable: %v", what, n, flushed, durable, err)
			}
		})
	}
	try("the process died", killed, n, flushed)
	try("power was lost", dark, n+d.every/2, durable)
	both.Wait()
}

// survives opens what a crash has left, and tells what is wrong with it.
func (d *doomed) survives(mem *vfs.Mem, n int64, low, high uint64) (err error) {
	s, rec, err := vecstore.Open("shard", testSource, crashOptions(mem))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Abandon()) }()
	through := s.Appended()
	if through < low || through > high {
		return fmt.Errorf("it has the events up to %d, and should have %d to %d", through, low, high)
	}
	if len(rec.Damaged) > 0 {
		return fmt.Errorf("a graph is damaged: %w", rec.Damaged[0])
	}
	if err := d.answers(s, through); err != nil {
		return fmt.Errorf("with the events up to %d: %w", through, err)
	}
	d.mu.Lock()
	d.graphs += rec.Columns
	d.trusted += 1 - int(min(rec.Mode, 1))
	d.mu.Unlock()
	if n%d.every != 0 {
		return nil
	}
	// The log delivers what is missing, and nothing tells this copy from one that never crashed.
	events := d.h.take(through+1, d.h.last())
	if err := errors.Join(write(s, events), apply(s, through, events), s.Link(context.Background(), "large")); err != nil {
		return err
	}
	if err := d.answers(s, d.h.last()); err != nil {
		return fmt.Errorf("at the end of its life: %w", err)
	}
	if err := errors.Join(s.Linking(), s.Close()); err != nil {
		return err
	}
	again, rec, err := vecstore.Open("shard", testSource, crashOptions(mem))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, again.Abandon()) }()
	if len(rec.Damaged) > 0 || rec.Columns != 1 || rec.Torn != 0 || rec.IndexRepaired != 0 {
		return fmt.Errorf("after a clean close: %+v", rec)
	}
	if err := d.answers(again, d.h.last()); err != nil {
		return fmt.Errorf("opened again: %w", err)
	}
	return litter(mem)
}

// litter tells of files that should have been removed.
func litter(mem *vfs.Mem) error {
	names, err := mem.List("shard")
	if err != nil {
		return err
	}
	kinds := map[string]int{}
	for _, name := range names {
		kinds[filepath.Ext(name)]++
	}
	if kinds[""] != 1 || kinds[".cols"] != 1 || kinds[".sums"] > 1 || kinds[".seg"] != kinds[".idx"] || len(kinds) > 5 {
		return fmt.Errorf("what is left is %v", names)
	}
	return nil
}

// answers compares all spaces of a shard with the history.
func (d *doomed) answers(s *vecstore.Shard, through uint64) error {
	rng := rand.New(rand.NewPCG(through, 9))
	for name, dim := range map[string]int{"large": 16, "small": 5, "brief": 3} {
		rows := d.h.as(name, through)
		if rows == nil {
			if _, ok := s.Definition(name); ok {
				return fmt.Errorf("there is a space %q", name)
			}
			continue
		}
		if err := rows.compare(s, name, 0); err != nil {
			return err
		}
		observed := uint64(0)
		for _, e := range d.h.events[:through] {
			if e.Kind == vecstore.KindObserve && e.Space == name {
				observed++
			}
		}
		if st, _ := s.Stats(name); st.Observations != uint64(len(rows)) || st.Observations+st.Dead != st.Tail+st.Graph || st.Tail+st.Graph > observed {
			return fmt.Errorf("%d rows were observed, of which %d hold: %+v", observed, len(rows), st)
		}
		v := make([]float32, dim)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		if err := rows.search(s, name, v, vecstore.Query{K: 10, Effort: vecstore.EffortExact}); err != nil {
			return err
		}
		if name == "large" && len(rows) >= 10 {
			found, err := overlap(s, name, v, vecstore.Query{K: 10})
			if err != nil {
				return err
			}
			d.mu.Lock()
			d.found, d.wanted = d.found+found, d.wanted+10
			d.mu.Unlock()
		}
	}
	return nil
}

// overlap returns how many of the hits of a query an exact search has too.
func overlap(s *vecstore.Shard, space string, v []float32, q vecstore.Query) (n int, err error) {
	q.Vector, q.Now, q.MinScore = v, testNow, anyScore
	quick, err := s.Search(space, q)
	if err != nil {
		return 0, err
	}
	q.Effort = vecstore.EffortExact
	exact, err := s.Search(space, q)
	if err != nil {
		return 0, err
	}
	true10 := map[uint64]bool{}
	for _, row := range exact.Rows {
		true10[row.Sequence] = true
	}
	for _, row := range quick.Rows {
		if true10[row.Sequence] {
			n++
		}
	}
	return n, nil
}

// A shard is crashed before every call that it makes to the file system in a life with everything in it: what was durable
// is there, what was not is there whole or not at all, and all of it is answered as by a shard that nothing has happened to.
func TestCrashAtEveryCall(t *testing.T) {
	d := &doomed{t: t, h: eventful(800), mem: vfs.NewMem(), every: 20}
	d.open()
	d.feed(150)
	d.checkpoint()
	d.feed(320)
	d.link() // the first block, and some
	d.checkpoint()
	d.feed(400)
	d.close()
	d.open()
	d.feed(520)
	d.link()
	d.kill()
	d.feed(640)
	d.checkpoint()
	d.link()
	if _, err := d.shard.Load().Compact(context.Background(), "large"); err != nil {
		t.Fatal(err)
	}
	d.feed(700)
	d.losePower(rand.New(rand.NewPCG(1, 1)))
	d.feed(750)
	d.link()
	d.checkpoint()
	d.close()
	d.mem = d.mem.LosePower(nil) // which takes nothing from a shard that was closed
	d.open()
	d.feed(d.h.last())
	if _, err := d.shard.Load().Compact(context.Background(), "large"); err != nil {
		t.Fatal(err)
	}
	d.close()
	recall := float64(d.found) / float64(d.wanted)
	t.Logf("%d calls, %d opens that trusted what they found, %d graphs taken over, recall %.4f", d.calls.Load(), d.trusted, d.graphs, recall)
	if recall < 0.95 || d.calls.Load() < 150 || d.trusted < 100 || d.graphs < 100 {
		t.Error("the recall is too low, or this has tested too little")
	}
}
