package vecstore_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// large makes a history of one space of so many rows, some of which were replaced.
func large(rows int) *history {
	h := newHistory(41)
	h.define(vecstore.Definition{Name: "large", Dimension: 16, Metric: vecstore.L2})
	for i := range rows {
		id := i
		if i%10 == 9 {
			id = h.rng.IntN(i)
		}
		h.observe("large", fmt.Sprint(id), h.vector(16))
	}
	return h
}

// The process dies at any moment while rows are linked. What it leaves is taken over, whatever was half done is done again,
// and the graph finds what one finds that nothing has happened to.
func TestKilledWhileLinking(t *testing.T) {
	t.Parallel()
	h := large(1200)
	rows := h.as("large", h.last())
	found, wanted, deaths, between := 0, 0, 0, 0
	for between < 3 { // which is a matter of luck
		mem := vfs.NewMem()
		opt := crashOptions(mem)
		opt.GraphRows, opt.TailRows, opt.Graph.EfConstruction = 1<<20, 1<<20, 150 // until it is asked for, and slowly
		s, _ := open(t, "shard", opt)
		feed(t, s, h, h.last())
		var done atomic.Bool
		linked := make(chan error, 1)
		go func() {
			linked <- s.Link(context.Background(), "large")
			done.Store(true)
		}()
		var left []*vfs.Mem
		for !done.Load() && len(left) < 12 {
			left = append(left, mem.Kill())
			runtime.Gosched() // on one core all of them would come before the first row otherwise
		}
		must(t, <-linked)
		must(t, s.Abandon())
		for _, mem := range left {
			if deaths++; deaths > 2000 {
				t.Fatalf("of %d deaths, only %d came between the first and the last block", deaths, between)
			}
			opt.FS = mem
			again, rec := open(t, "shard", opt)
			if len(rec.Damaged) > 0 || rec.Doubt != nil {
				t.Fatalf("%+v", rec)
			}
			if st, _ := again.Stats("large"); st.Graph == 0 || st.Graph == 1200 {
				must(t, again.Abandon())
				continue // before or behind it
			}
			between++
			must(t, rows.compare(again, "large", 0))
			ask := func() {
				t.Helper()
				for i := range 10 {
					v := unpack(h.events[100+i*100].Vector)
					n, err := overlap(again, "large", v, vecstore.Query{K: 10, Ef: 30})
					must(t, err)
					found, wanted = found+n, wanted+10
				}
			}
			ask()
			must(t, again.Link(context.Background(), "large"))
			ask()
			if st, _ := again.Stats("large"); st.Graph != 1200 || st.Tail != 0 {
				t.Fatalf("%+v", st)
			}
			must(t, again.Close())
		}
	}
	recall := float64(found) / float64(wanted)
	if t.Logf("%d deaths, %d of them with a part of the rows linked, recall %.4f", deaths, between, recall); recall < 0.95 {
		t.Error("the recall is too low")
	}
}

// The process dies when a row of a block has become the entry point, and the block does not count yet. The next one chooses
// another.
func TestEntryPointThatDoesNotCount(t *testing.T) {
	mem := vfs.NewMem()
	h := large(800)
	s, _ := open(t, "shard", crashOptions(mem))
	feed(t, s, h, h.last())
	must(t, s.Link(context.Background(), "large"))
	mem = mem.Kill()
	f, err := mem.Open("shard/space-00000001-000001.cols")
	must(t, err)
	const entryAt = 4096 + 40
	_, err = f.WriteAt(binary.LittleEndian.AppendUint64(nil, 805<<8|3), entryAt)
	must(t, errors.Join(err, f.Close()))
	s, _ = open(t, "shard", crashOptions(mem))
	found := 0
	for i := range 20 {
		v := unpack(h.events[100+i*30].Vector)
		res, err := vecstore.SearchGraph(s, "large", vecstore.Query{Vector: v, K: 10, MinScore: anyScore, Now: testNow}, 0)
		if err != nil || res.Exact || len(res.Rows) != 10 {
			t.Fatalf("%d hits, exact %t, %v", len(res.Rows), res.Exact, err)
		}
		n, err := overlap(s, "large", v, vecstore.Query{K: 10})
		must(t, err)
		found += n
	}
	if found < 190 {
		t.Errorf("%d of 200 are found", found)
	}
}

// A full disk hinders linking, and nothing else: rows are taken and found, the shard says what is wrong, and goes on when
// there is room.
func TestFullDiskWhileLinking(t *testing.T) {
	for name, rule := range map[string]vfs.Rule{
		"no file":        {Ops: vfs.OpCreate, Match: "space-*", Onwards: true, Err: syscall.ENOSPC},
		"no room":        {Ops: vfs.OpAllocate, Match: "space-*", Onwards: true, Err: syscall.ENOSPC},
		"half a chunk":   {Ops: vfs.OpAllocate, Match: "space-*", Onwards: true, Short: true, Err: syscall.ENOSPC},
		"no address":     {Ops: vfs.OpMap, Match: "space-*", Onwards: true, Err: syscall.ENOMEM},
		"no header":      {Ops: vfs.OpWrite, Match: "space-*", Onwards: true, Short: true, Err: syscall.ENOSPC},
		"no manifest":    {Ops: vfs.OpWrite, Match: "MANIFEST*", Onwards: true, Err: syscall.ENOSPC},
		"no directory":   {Ops: vfs.OpSyncDir, Onwards: true, Err: syscall.EIO},
		"no new name":    {Ops: vfs.OpRename, Onwards: true, Err: syscall.EIO},
		"no second file": {Ops: vfs.OpRemove | vfs.OpCreate, Match: "space-*", Onwards: true, Err: syscall.EROFS},
	} {
		t.Run(name, func(t *testing.T) {
			fault := vfs.NewFault(vfs.NewMem())
			h := large(700)
			opt := crashOptions(fault)
			opt.SegmentSize = 1 << 20 // so that appending needs no other file
			s, _ := open(t, "shard", opt)
			feed(t, s, h, 200)
			fault.Inject(rule)
			feed(t, s, h, 600)
			for range 3 {
				if err := s.Link(context.Background(), "large"); !errors.Is(err, rule.Err) {
					t.Fatalf("Link: %v", err)
				}
			}
			must(t, s.Checkpoint(testNow))
			rows := h.as("large", 600)
			must(t, rows.compare(s, "large", 0))
			must(t, rows.search(s, "large", h.vector(16), vecstore.Query{K: 20}))
			if st, _ := s.Stats("large"); st.Graph != 0 || s.Usable() != nil {
				t.Errorf("%+v, %v", st, s.Usable())
			}
			fault.Clear()
			feed(t, s, h, h.last())
			must(t, s.Link(context.Background(), "large"))
			if st, _ := s.Stats("large"); st.Tail != 0 {
				t.Errorf("%+v", st)
			}
			must(t, h.as("large", h.last()).compare(s, "large", 0))
			must(t, s.Close())
			s, rec := open(t, "shard", opt)
			if len(rec.Damaged) > 0 || rec.Columns != 1 || s.Linking() != nil {
				t.Errorf("%+v, %v", rec, s.Linking())
			}
			must(t, h.as("large", h.last()).compare(s, "large", 0))
		})
	}
}

// Linking says why rows could not be linked in the background, until they are.
func TestLinkingTellsAndRecovers(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMem())
	h := large(1400)
	s, _ := open(t, "shard", crashOptions(fault))
	failed := make(chan struct{}, 100)
	fault.Inject(vfs.Rule{Ops: vfs.OpAllocate, Match: "space-*", Onwards: true, Err: syscall.ENOSPC, Before: func() {
		select {
		case failed <- struct{}{}:
		default:
		}
	}})
	feed(t, s, h, 700)
	// The second failure comes after the first one was noted.
	<-failed
	feed(t, s, h, 710)
	<-failed
	feed(t, s, h, 720)
	if err := s.Linking(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Linking: %v", err)
	}
	must(t, h.as("large", 720).compare(s, "large", 0))
	fault.Clear()
	for s.Appended() < h.last() {
		feed(t, s, h, min(h.last(), s.Appended()+100))
	}
	must(t, s.Link(context.Background(), "large"))
	must(t, s.Close()) // the linker has ended
	if err := s.Linking(); err != nil {
		t.Errorf("Linking, when the fault is gone: %v", err)
	}
}

// The columns of a space that was dropped, or replaced by a later life of its name, go, and the others stay.
func TestColumnsOfDroppedSpaces(t *testing.T) {
	mem := vfs.NewMem()
	h := newHistory(42)
	names := []string{"stays", "goes", "comes again"}
	fill := func(name string, generation uint32) {
		h.define(vecstore.Definition{Name: name, Dimension: 6, Metric: vecstore.Dot, Generation: generation})
		for i := range 300 {
			h.observe(name, fmt.Sprint(i), h.vector(6))
		}
	}
	s, _ := open(t, "shard", crashOptions(mem))
	count := func() (columns int) {
		t.Helper()
		listed, err := mem.List("shard")
		must(t, err)
		for _, name := range listed {
			if filepath.Ext(name) == ".cols" {
				columns++
			}
		}
		return columns
	}
	check := func(spaces int) {
		t.Helper()
		for _, name := range names {
			if rows := h.as(name, h.last()); rows == nil {
				if _, err := s.Search(name, vecstore.Query{Vector: h.vector(6), K: 1, Now: testNow}); !errors.Is(err, vecstore.ErrUnknownSpace) {
					t.Errorf("a search of %q: %v", name, err)
				}
			} else {
				must(t, rows.compare(s, name, 0))
				must(t, rows.search(s, name, h.vector(6), vecstore.Query{K: 10}))
				must(t, s.Link(context.Background(), name))
			}
		}
		must(t, s.Linking())
		must(t, s.Close())
		s, _ = open(t, "shard", crashOptions(mem))
		if n := count(); n != spaces {
			t.Errorf("%d spaces have graphs, and there are %d files", spaces, n)
		}
	}
	for _, name := range names {
		fill(name, 1)
	}
	feed(t, s, h, h.last())
	check(3)
	h.add(vecstore.Event{Kind: vecstore.KindDrop, Space: "goes", Generation: 1})
	feed(t, s, h, h.last())
	check(2)
	fill("comes again", 2) // without a drop
	feed(t, s, h, h.last())
	check(2)
	fill("goes", 2)
	feed(t, s, h, h.last())
	check(3)
	h.add(vecstore.Event{Kind: vecstore.KindDrop, Space: "goes", Generation: 2})
	h.add(vecstore.Event{Kind: vecstore.KindDrop, Space: "comes again", Generation: 2})
	must(t, write(s, h.take(s.Appended()+1, h.last())))
	before := mem.Kill() // perhaps before anything of them was removed
	for count() > 1 {
		runtime.Gosched() // they go in the background
	}
	for _, left := range []*vfs.Mem{before, mem.Kill()} {
		mem = left
		var rec vecstore.Recovery
		if s, rec = open(t, "shard", crashOptions(mem)); len(rec.Damaged) > 0 || rec.Columns != 1 {
			t.Errorf("%+v", rec)
		}
		check(1)
	}
}
