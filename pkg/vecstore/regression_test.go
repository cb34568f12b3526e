package vecstore_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// Each of these was wrong once.

func within(t *testing.T, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { f(); close(done) }()
	select {
	case <-done:
	case <-time.After(d):
		t.Errorf("%s: did not return within %v", what, d)
	}
}

// high priority overtakes more than a chunk
func TestSearchBesideOvertakingRows(t *testing.T) {
	h := newHistory(1)
	h.define(vecstore.Definition{Name: "s", Dimension: 4, Metric: vecstore.L2})
	for i := range 1000 {
		h.observe("s", fmt.Sprint(i), h.vector(4))
	}
	s, _ := open(t, "shard", vecstore.Options{FS: vfs.NewMem()})
	ev := h.take(1, h.last())
	must(t, write(s, ev))
	must(t, apply(s, 1, ev[len(ev)-1:]))
	within(t, 3*time.Second, "search", func() {
		_, err := s.Search("s", vecstore.Query{Vector: h.vector(4), K: 1, Now: testNow, MinScore: anyScore})
		_ = err
	})
}

// forget the newest / everything, compact, power loss or kill
func TestForgottenStaysForgottenAfterCompaction(t *testing.T) {
	for _, all := range []bool{false, true} {
		for _, kill := range []bool{true, false} {
			t.Run(fmt.Sprintf("all=%v kill=%v", all, kill), func(t *testing.T) {
				h := newHistory(1)
				h.define(vecstore.Definition{Name: "s", Dimension: 16, Metric: vecstore.L2})
				h.define(vecstore.Definition{Name: "pad", Dimension: 16, Metric: vecstore.L2})
				for i := range 200 {
					h.observe("s", fmt.Sprint(i), h.vector(16))
				}
				from := 100
				if all {
					from = 0
				}
				for i := from; i < 200; i++ {
					h.forget("s", fmt.Sprint(i))
				}
				for i := range 400 {
					h.observe("pad", fmt.Sprint(i), h.vector(16))
				}
				mem := vfs.NewMem()
				opt := vecstore.Options{FS: mem, SegmentSize: 4 << 10, KeepVersions: -1}
				s, _ := open(t, "shard", opt)
				ev := h.take(1, h.last())
				must(t, write(s, ev))
				must(t, apply(s, 0, ev))
				s.Applied(h.last())
				must(t, s.Checkpoint(testNow))
				st0, _ := s.Stats("s")
				c, err := s.Compact(context.Background(), "s")
				must(t, err)
				t.Logf("%+v", c)
				st, _ := s.Stats("s")
				must(t, s.Checkpoint(testNow))
				left := mem.Kill()
				if !kill {
					left = mem.LosePower(nil)
				}
				must(t, s.Abandon())
				opt.FS = left
				s2, _ := open(t, "shard", opt)
				st2, _ := s2.Stats("s")
				if st2.Observations != st.Observations {
					t.Errorf("observations before compact %d, after %d, after reopen %d", st0.Observations, st.Observations, st2.Observations)
				}
			})
		}
	}
}

// expired newest version reclaimed after restart, the older one comes back.
func TestReplacedStaysReplacedAfterExpiry(t *testing.T) {
	for _, graph := range []bool{false, true} {
		t.Run(fmt.Sprint("graph=", graph), func(t *testing.T) {
			h := newHistory(1)
			h.define(vecstore.Definition{Name: "s", Dimension: 16, Metric: vecstore.L2})
			h.observe("s", "secret", h.vector(16))
			h.observe("s", "secret", h.vector(16))
			h.events[h.last()-1].ExpiresAt = time.Now().Add(-time.Hour).UnixNano()
			for i := range 600 {
				h.observe("s", fmt.Sprint(i), h.vector(16))
			}
			mem := vfs.NewMem()
			opt := vecstore.Options{FS: mem, SegmentSize: 4 << 10, GraphRows: 256}
			if !graph {
				opt.GraphRows = 0
			}
			s, _ := open(t, "shard", opt)
			ev := h.take(1, h.last())
			must(t, write(s, ev))
			must(t, apply(s, 0, ev))
			s.Applied(h.last())
			must(t, s.Link(context.Background(), "s"))
			must(t, s.Checkpoint(testNow))
			get := func(s *vecstore.Shard) int {
				r, err := s.Get("s", []string{"secret"}, vecstore.At{Now: time.Now()})
				must(t, err)
				return len(r)
			}
			t.Log("before", get(s))
			c, err := s.Compact(context.Background(), "s")
			must(t, err)
			t.Logf("%+v", c)
			t.Log("after compact", get(s))
			left := mem.Kill()
			must(t, s.Abandon())
			opt.FS = left
			s2, _ := open(t, "shard", opt)
			if get(s2) != 0 {
				t.Error("the replaced version is served again")
			}
		})
	}
}

// partial Flush, compaction, Flush again -> refs into a retired segment; search spins.
func TestFlushAgainBesideCompaction(t *testing.T) {
	h := newHistory(1)
	const dim = 16384
	h.define(vecstore.Definition{Name: "s", Dimension: dim, Metric: vecstore.L2})
	v := h.vector(dim)
	h.observe("s", "0", v)
	h.observe("s", "0", v) // garbage in the first segment
	n1 := h.last()
	for i := range 300 {
		h.observe("s", fmt.Sprint(i+1), v)
	}
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	opt := vecstore.Options{FS: fault, SegmentSize: 9 << 20, KeepVersions: -1}
	s, _ := open(t, "shard", opt)
	ev := h.take(1, n1)
	must(t, write(s, ev))
	must(t, apply(s, 0, ev))
	s.Applied(n1)
	fault.Inject(vfs.Rule{Ops: vfs.OpWrite, Match: "*00002*", N: 3, Onwards: true, Err: syscall.ENOSPC})
	ev2 := h.take(n1+1, h.last())
	err := write(s, ev2)
	t.Log("flush:", err)
	fault.Clear()
	c, err := s.Compact(context.Background(), "s")
	t.Logf("%+v %v", c, err)
	_, err = func() (int, error) { return 0, s.Appender().Flush() }()
	must(t, err)
	must(t, apply(s, n1, ev2))
	within(t, 3*time.Second, "search", func() {
		res, err := s.Search("s", vecstore.Query{Vector: v, K: 5, Now: testNow, MinScore: anyScore})
		t.Log(len(res.Rows), err)
	})
}

func graphShard(t *testing.T, opt vecstore.Options, n int) (*vecstore.Shard, *history) {
	h := newHistory(1)
	h.define(vecstore.Definition{Name: "s", Dimension: 16, Metric: vecstore.L2})
	for i := range n {
		h.observe("s", fmt.Sprint(i), h.vector(16))
	}
	opt.GraphRows, opt.Graph = 256, hnsw.Config{M: 6, EfConstruction: 16}
	s, _ := open(t, "shard", opt)
	ev := h.take(1, h.last())
	must(t, write(s, ev))
	must(t, apply(s, 0, ev))
	must(t, s.Link(context.Background(), "s"))
	s.Applied(h.last())
	return s, h
}

// msync fails at close; the next open of the same boot uses the columns.
func TestColumnsOfAFailedMsyncAreNotUsed(t *testing.T) {
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	s, _ := graphShard(t, vecstore.Options{FS: fault}, 600)
	fault.Inject(vfs.Rule{Ops: vfs.OpMsync, Err: syscall.EIO})
	t.Log("close:", s.Close())
	fault.Clear()
	_, rec := open(t, "shard", vecstore.Options{FS: mem, GraphRows: 256, Graph: hnsw.Config{M: 6, EfConstruction: 16}})
	t.Logf("%+v", rec)
	if rec.Columns != 0 {
		t.Error("columns whose msync failed are used as they are")
	}
}

func TestSearchOfAMostlyForgottenSpaceWhileItIsWritten(t *testing.T) {
	missed, asked := 0, 0
	for round := range 20 {
		h := newHistory(uint64(round))
		h.define(vecstore.Definition{Name: "s", Dimension: 16, Metric: vecstore.L2})
		for i := range 1024 {
			h.observe("s", fmt.Sprint(i), h.vector(16))
		}
		for i := 200; i < 1024; i++ {
			h.forget("s", fmt.Sprint(i))
		}
		s, _ := open(t, "shard", vecstore.Options{FS: vfs.NewMem(), GraphRows: 256, Graph: hnsw.Config{M: 6, EfConstruction: 16}})
		ev := h.take(1, h.last())
		must(t, write(s, ev))
		must(t, apply(s, 0, ev))
		must(t, s.Link(context.Background(), "s"))
		q := h.vector(16)
		at := h.last()
		for i := range 200 {
			h.observe("s", fmt.Sprint(i), h.vector(16))
		}
		done := make(chan bool)
		go func() {
			defer close(done)
			for n := at + 1; n <= h.last(); n++ {
				ev := h.take(n, n)
				if write(s, ev) != nil || apply(s, n-1, ev) != nil {
					t.Error("write")
				}
			}
		}()
		for run := true; run; {
			select {
			case <-done:
				run = false
			default:
			}
			res, err := s.Search("s", vecstore.Query{Vector: q, K: 1000, Now: testNow, MinScore: anyScore})
			must(t, err)
			asked++
			if len(res.Rows) != 200 {
				missed++
				if missed < 4 {
					t.Logf("%d of 200 observations, exact=%v", len(res.Rows), res.Exact)
				}
			}
		}
		s.Abandon()
	}
	if missed > 0 {
		t.Errorf("%d of %d answers lack an observation that was there all the time", missed, asked)
	}
}
