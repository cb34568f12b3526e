package vecstore_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// graphOf returns the chunks of the columns of the first space: codes, sequences and links.
func graphOf(t *testing.T, mem *vfs.Mem, generation int) []byte {
	t.Helper()
	f, err := mem.Open(fmt.Sprintf("shard/space-00000001-%06d.cols", generation))
	must(t, err)
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size-4096)
	if _, err := f.ReadAt(b, 4096); err != nil && err != io.EOF { // behind the header, which has the generation
		t.Fatal(err)
	}
	must(t, f.Close())
	return b
}

func graphOptions(mem *vfs.Mem, threads int) vecstore.Options {
	return vecstore.Options{
		FS: mem, GraphRows: 300, TailRows: 600, Graph: hnsw.Config{M: 5, EfConstruction: 30}, LinkThreads: threads, KeepVersions: -1,
	}
}

// The same log makes the same graph, to the last byte, however it is cut into batches, in which order they are applied, how
// many threads link, and how often the shard was ended meanwhile.
func TestSameLogSameGraph(t *testing.T) {
	t.Parallel()
	h := newHistory(8)
	h.define(vecstore.Definition{Name: "s", Dimension: 20, Metric: vecstore.Cosine})
	for i := range 2400 {
		if i%9 == 8 {
			h.forget("s", fmt.Sprint(h.rng.IntN(i)))
		} else {
			h.observe("s", fmt.Sprint(i*2/3), h.vector(20))
		}
	}
	var want []byte
	for name, tc := range map[string]struct {
		threads int
		live    func(s *vecstore.Shard, mem *vfs.Mem) (*vecstore.Shard, *vfs.Mem)
	}{
		"one thread, at once": {1, func(s *vecstore.Shard, mem *vfs.Mem) (*vecstore.Shard, *vfs.Mem) {
			feed(t, s, h, h.last())
			return s, mem
		}},
		"two threads, in batches": {2, func(s *vecstore.Shard, mem *vfs.Mem) (*vecstore.Shard, *vfs.Mem) {
			for s.Appended() < h.last() {
				feed(t, s, h, min(h.last(), s.Appended()+1+uint64(h.rng.IntN(300))))
			}
			return s, mem
		}},
		"four threads, in any order": {4, func(s *vecstore.Shard, mem *vfs.Mem) (*vecstore.Shard, *vfs.Mem) {
			wander(t, s, h, 200, func(uint64) {})
			return s, mem
		}},
		"three threads, killed and closed": {3, func(s *vecstore.Shard, mem *vfs.Mem) (*vecstore.Shard, *vfs.Mem) {
			feed(t, s, h, 700)
			must(t, s.Close())
			s, _ = open(t, "shard", graphOptions(mem, 3))
			feed(t, s, h, 1500)
			// A block that is half linked is linked again, and may get other links than in one go.
			for st, _ := s.Stats("s"); st.Tail >= 256; st, _ = s.Stats("s") {
				runtime.Gosched()
			}
			mem = mem.Kill()
			must(t, s.Abandon())
			s, _ = open(t, "shard", graphOptions(mem, 3))
			feed(t, s, h, h.last())
			return s, mem
		}},
	} {
		mem := vfs.NewMem()
		s, _ := open(t, "shard", graphOptions(mem, tc.threads))
		s, mem = tc.live(s, mem)
		must(t, s.Link(context.Background(), "s"))
		must(t, s.Close())
		got := graphOf(t, mem, 1)
		if want == nil {
			want = got
		}
		if !bytes.Equal(got, want) {
			at := 0
			for got[at] == want[at] {
				at++
			}
			t.Errorf("%s: the graph differs at %d", name, at+4096)
		}
	}
}

// What a compaction leaves is what the rows that are left would have become by themselves.
func TestCompactedGraphIsAFreshOne(t *testing.T) {
	t.Parallel()
	h := newHistory(9)
	h.define(vecstore.Definition{Name: "s", Dimension: 20, Metric: vecstore.Dot})
	for i := range 2000 {
		if i%11 == 10 {
			h.forget("s", fmt.Sprint(h.rng.IntN(i)))
		} else {
			h.observe("s", fmt.Sprint(h.rng.IntN(900)), h.vector(20))
		}
	}
	mem := vfs.NewMem()
	s, _ := open(t, "shard", graphOptions(mem, 2))
	feed(t, s, h, h.last())
	must(t, s.Link(context.Background(), "s"))
	// What a batch has ended is reclaimed when the next one says that it was applied.
	h.forget("s", "nobody")
	feed(t, s, h, h.last())
	out, err := s.Compact(context.Background(), "s")
	rows := h.as("s", h.last())
	if err != nil || out.After != uint64(len(rows)) || out.Reclaimed == 0 {
		t.Fatalf("%+v, %v; %d rows hold", out, err, len(rows))
	}
	must(t, s.Link(context.Background(), "s"))
	must(t, s.Close())

	fresh := vfs.NewMem()
	f, _ := open(t, "shard", graphOptions(fresh, 1))
	must(t, write(f, h.take(1, 1)))
	newest := rows.newest()
	var events []*vecstore.Event
	for i := range newest {
		e := *newest[len(newest)-1-i]
		events = append(events, &e)
	}
	must(t, write(f, events))
	must(t, apply(f, 1, events))
	must(t, f.Link(context.Background(), "s"))
	must(t, f.Close())
	if !bytes.Equal(graphOf(t, mem, 2), graphOf(t, fresh, 1)) {
		t.Error("the graphs differ")
	}
}
