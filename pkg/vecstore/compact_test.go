package vecstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vecstore/manifest"
	"github.com/engram-memory/engram/pkg/vfs"
)

// checkHorizon compares every read as of each sequence, up to one, with the history: down to a horizon all is as it was, and below it
// nothing is answered. It returns the lowest sequence that was.
func checkHorizon(t *testing.T, s *vecstore.Shard, h *history, to uint64) (lowest uint64) {
	t.Helper()
	var rows held
	for sequence := uint64(1); sequence <= to; sequence++ {
		rows = rows.take(&h.events[sequence-1])
		at := vecstore.At{Now: testNow, AsOf: sequence}
		_, _, lerr := s.List("s", 0, 1, at)
		_, gerr := s.Get("s", []string{"1"}, at)
		_, serr := s.Search("s", vecstore.Query{Vector: h.vector(4), K: 1, Now: testNow, AsOf: sequence})
		gone := 0
		for call, err := range map[string]error{"List": lerr, "Get": gerr, "Search": serr} {
			if errors.Is(err, vecstore.ErrGone) {
				gone++
			} else if err != nil {
				t.Fatalf("%s as of %d: %v", call, sequence, err)
			}
		}
		switch {
		case gone == 3 && lowest == 0:
			continue
		case gone > 0:
			t.Fatalf("as of %d, %d of three calls say that it is gone, and as of %d it was not", sequence, gone, lowest)
		case lowest == 0:
			lowest = sequence
		}
		if err := rows.compare(s, "s", sequence); err != nil {
			t.Fatalf("as of %d: %v", sequence, err)
		}
		if err := rows.search(s, "s", h.vector(4), vecstore.Query{K: everything, Effort: vecstore.EffortExact, AsOf: sequence}); err != nil {
			t.Fatalf("as of %d: %v", sequence, err)
		}
	}
	return lowest
}

func compact(t *testing.T, s *vecstore.Shard, name string) vecstore.Compaction {
	t.Helper()
	out, err := s.Compact(context.Background(), name)
	must(t, err)
	if out.Before-out.After != out.Reclaimed {
		t.Fatalf("%+v", out)
	}
	return out
}

// A compaction that keeps no versions leaves what holds, and the past is gone, in memory and on the disk, for good.
func TestCompact(t *testing.T) {
	for _, graph := range []uint32{1 << 20, 256} {
		t.Run(fmt.Sprint("graphs from ", graph), func(t *testing.T) {
			mem := vfs.NewMem()
			opt := vecstore.Options{
				FS: mem, GraphRows: graph, Graph: hnsw.Config{M: 4, EfConstruction: 20}, SegmentSize: 8 << 10, KeepVersions: -1,
			}
			h := past(21, 900, 60)
			s, _ := open(t, "shard", opt)
			wander(t, s, h, 8, func(uint64) {})
			if lowest := checkHorizon(t, s, h, h.last()); lowest != 1 {
				t.Fatalf("before any compaction, what is below %d is gone", lowest)
			}
			// That all of it was applied is known to who applies the next event.
			h.observe("s", "last", h.vector(4))
			feed(t, s, h, h.last())
			before := s.LogBytes()
			out := compact(t, s, "s")
			rows := h.as("s", h.last())
			if out.After != uint64(len(rows)) || out.Reclaimed < 300 || out.BytesBefore != before || out.BytesAfter != s.LogBytes() || out.BytesAfter > before/2 {
				t.Errorf("%d rows hold, and the log had %d bytes: %+v", len(rows), before, out)
			}
			if st, _ := s.Stats("s"); st.Dead != 0 || st.Observations != uint64(len(rows)) || st.Tail+st.Graph != st.Observations {
				t.Errorf("%+v", st)
			}
			lowest := checkHorizon(t, s, h, h.last())
			if lowest < h.last()-20 {
				t.Errorf("the past is still there from %d on", lowest)
			}
			if again := compact(t, s, "s"); again.Reclaimed != 0 {
				t.Errorf("a second compaction: %+v", again)
			}
			must(t, s.Close())
			s, rec := open(t, "shard", opt)
			if again := checkHorizon(t, s, h, h.last()); again != lowest || len(rec.Damaged) > 0 {
				t.Errorf("the horizon went from %d to %d: %+v", lowest, again, rec)
			}
			// Life goes on, through another round, and the death of the process.
			for range 300 {
				h.observe("s", fmt.Sprint(h.rng.IntN(60)), h.vector(4))
			}
			feed(t, s, h, h.last()-10)
			feed(t, s, h, h.last())
			compact(t, s, "s")
			second := checkHorizon(t, s, h, h.last())
			opt.FS = mem.Kill()
			s, _ = open(t, "shard", opt)
			if again := checkHorizon(t, s, h, h.last()); again != second || second <= lowest {
				t.Errorf("the horizon went from %d to %d to %d", lowest, second, again)
			}
			must(t, s.Checkpoint(testNow))
			opt.FS = opt.FS.(*vfs.Mem).LosePower(rand.New(rand.NewPCG(1, 2)))
			s, _ = open(t, "shard", opt)
			if again := checkHorizon(t, s, h, h.last()); again != second {
				t.Errorf("the horizon went from %d to %d when power was lost", second, again)
			}
		})
	}
}

// Versions are kept for the time that was asked for: what was replaced before that is gone, and what was replaced since is
// not, as far as it is known when that was.
func TestCompactKeepsVersions(t *testing.T) {
	opt := vecstore.Options{FS: vfs.NewMem(), KeepVersions: time.Hour}
	h := past(22, 600, 30)
	s, _ := open(t, "shard", opt)
	now := time.Now()
	feed(t, s, h, 200)
	must(t, s.Checkpoint(now.Add(-2*time.Hour)))
	feed(t, s, h, 400)
	must(t, s.Checkpoint(now.Add(-30*time.Minute)))
	feed(t, s, h, h.last())
	if out := compact(t, s, "s"); out.Reclaimed == 0 {
		t.Errorf("%+v", out)
	}
	if lowest := checkHorizon(t, s, h, h.last()); lowest < 150 || lowest > 200 {
		t.Errorf("what can be read begins at %d, and versions up to 200 are older than an hour", lowest)
	}
	must(t, s.Close())
	// Nobody knows any more when what was replaced.
	s, _ = open(t, "shard", opt)
	if out := compact(t, s, "s"); out.Reclaimed != 0 {
		t.Errorf("versions of an unknown age were reclaimed: %+v", out)
	}
	if lowest := checkHorizon(t, s, h, h.last()); lowest < 150 || lowest > 200 {
		t.Errorf("what can be read begins at %d", lowest)
	}
}

// What has expired is reclaimed, and what has not is not.
func TestCompactExpired(t *testing.T) {
	s, _ := open(t, "shard", vecstore.Options{FS: vfs.NewMem(), KeepVersions: -1})
	h := newHistory(23)
	h.define(vecstore.Definition{Name: "s", Dimension: 4, Metric: vecstore.L2})
	for i := range 300 {
		h.observe("s", fmt.Sprint(i), h.vector(4))
		switch e := &h.events[len(h.events)-1]; i % 3 {
		case 0:
			e.ExpiresAt = time.Now().Add(-time.Minute).UnixNano()
		case 1:
			e.ExpiresAt = time.Now().Add(24 * time.Hour).UnixNano()
		}
	}
	feed(t, s, h, h.last()-1)
	feed(t, s, h, h.last())
	if out := compact(t, s, "s"); out.Before != 300 || out.Reclaimed != 100 {
		t.Errorf("%+v", out)
	}
	list, _, err := s.List("s", 0, everything, vecstore.At{Now: time.Now()})
	if err != nil || len(list) != 200 {
		t.Errorf("%d rows are left, %v", len(list), err)
	}
	// One that is gone can come again.
	h.observe("s", "0", h.vector(4))
	feed(t, s, h, h.last())
	if rows, err := s.Get("s", []string{"0"}, vecstore.At{Now: time.Now()}); err != nil || len(rows) != 1 || rows[0].Sequence != h.last() {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

// Recall after half of the rows were replaced and compacted, and after all were forgotten and others came, is that of a
// graph that never had the old ones.
func TestRecallAfterReplacement(t *testing.T) {
	t.Parallel()
	opt := vecstore.Options{FS: vfs.NewMem(), GraphRows: 500, Graph: hnsw.Config{M: 8, EfConstruction: 40}, KeepVersions: -1}
	f := &field{t: t, c: newClusters(40, 24)}
	f.s, _ = open(t, "shard", opt)
	h := newHistory(24)
	h.define(vecstore.Definition{Name: "s", Dimension: 24, Metric: vecstore.Cosine})
	put := func(i int) {
		v := f.c.vector()
		if i == len(f.vectors) {
			f.vectors = append(f.vectors, nil)
		}
		f.vectors[i] = v
		h.observe("s", fmt.Sprint(i), v)
	}
	const rows = 4000
	for i := range rows {
		put(i)
	}
	recall := func(what string, least float64) float64 {
		t.Helper()
		feed(t, f.s, h, h.last())
		must(t, f.s.Link(context.Background(), "s"))
		got := f.recall(500, 10, all, func(v []float32) (vecstore.Result, error) {
			return f.s.Search("s", vecstore.Query{Vector: v, K: 10, MinScore: anyScore, Now: testNow, Ef: 24})
		})
		if t.Logf("%s: recall %.4f", what, got); got < least {
			t.Errorf("%s: recall is %.4f, and should be %.4f", what, got, least)
		}
		return got
	}
	fresh := recall("fresh", 0.8)
	for range rows / 2 {
		put(f.c.rng.IntN(rows))
	}
	recall("half of it replaced", fresh-0.01)
	h.observe("s", "last", f.c.vector())
	f.vectors = append(f.vectors, unpack(h.events[h.last()-1].Vector))
	h.events[h.last()-1].ID = fmt.Sprint(rows)
	feed(t, f.s, h, h.last())
	compact(t, f.s, "s")
	recall("compacted", fresh-0.01)
	var ids []string
	for i := range rows + 1 {
		ids = append(ids, fmt.Sprint(i))
	}
	h.forget("s", ids...)
	for i := range rows {
		put(i)
	}
	f.vectors = f.vectors[:rows]
	recall("forgotten, and filled again", fresh-0.01)
	compact(t, f.s, "s")
	recall("compacted again", fresh-0.01)
}

// hookedFS calls a function before a manifest replaces the one before it.
type hookedFS struct {
	vfs.FS
	hook func()
}

func (f *hookedFS) Rename(oldName, newName string) error {
	if hook := f.hook; hook != nil && filepath.Base(newName) == manifest.Name {
		f.hook = nil
		hook()
	}
	return f.FS.Rename(oldName, newName)
}

// While a compaction makes its end durable, rows are written, applied and found, and nothing of that is lost.
func TestIngestGoesOnWhileACompactionEnds(t *testing.T) {
	for _, graph := range []uint32{1 << 20, 300} {
		t.Run(fmt.Sprint("graphs from ", graph), func(t *testing.T) {
			mem := vfs.NewMem()
			fsys := &hookedFS{FS: mem}
			opt := vecstore.Options{FS: fsys, GraphRows: graph, Graph: hnsw.Config{M: 4, EfConstruction: 20}, KeepVersions: -1, LinkThreads: 1}
			h := past(31, 3000, 900)
			s, _ := open(t, "shard", opt)
			wander(t, s, h, 8, func(uint64) {})
			h.observe("s", "last", h.vector(4))
			feed(t, s, h, h.last())
			must(t, s.Link(context.Background(), "s"))
			check := func() {
				t.Helper()
				rows := h.as("s", h.last())
				must(t, rows.compare(s, "s", 0))
				must(t, rows.search(s, "s", h.vector(4), vecstore.Query{K: everything, Effort: vecstore.EffortExact}))
				if st, _ := s.Stats("s"); st.Observations != uint64(len(rows)) {
					t.Errorf("%+v; want %d observations", st, len(rows))
				}
			}
			check()
			ended := false
			fsys.hook = func() {
				ended = true
				within(t, time.Minute, "writing and reading while a compaction ends", func() {
					for i := range 400 {
						switch id := fmt.Sprint(h.rng.IntN(900)); i % 4 {
						case 0:
							h.forget("s", id)
						case 1:
							h.observe("s", fmt.Sprint("new ", i), h.vector(4))
						default:
							h.observe("s", id, h.vector(4))
						}
						if i%50 == 49 {
							feed(t, s, h, h.last())
							check()
						}
					}
				})
			}
			if out := compact(t, s, "s"); !ended || out.Reclaimed < 500 {
				t.Errorf("%+v", out)
			}
			check()
			opt.FS = mem.Kill()
			s, _ = open(t, "shard", opt)
			check()
		})
	}
}
