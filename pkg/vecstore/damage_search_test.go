package vecstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/vecstore/columns"
	"github.com/engram-memory/engram/pkg/vfs"
)

// damagedGraph is a space in which the columns of the first n rows name lists that are not there, and some more rows are not linked.
func damagedGraph(t *testing.T, n int) (s *Shard, vectors [][]float32) {
	t.Helper()
	const dim = 16
	rng := rand.New(rand.NewPCG(3, 3))
	vectors = rowVectors(n+20, dim, func(v []float32, _ int) {
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
	})
	s = rowsOf(t, Definition{Dimension: dim, Metric: L2}, vectors, n)
	sp, _ := s.space("s")
	x, _ := sp.graph()
	if err := x.check(); err != nil {
		t.Fatalf("before there is damage: %v", err)
	}
	for row := range uint32(n) {
		*x.file.Chunks().UpperIndex(row) = 0xffffff00 | *x.file.Chunks().UpperIndex(row)&0xff
	}
	return s, vectors
}

// checkSetAside opens a shard again that was found to be damaged, as its owner does, and asks for its rows.
func checkSetAside(t *testing.T, s *Shard, vectors [][]float32) {
	t.Helper()
	if s.Usable() == nil {
		t.Error("nobody is told that the shard is to be opened again")
	}
	cols := filepath.Join("shard", columnsName(1, 1))
	if _, err := s.opt.FS.Open(cols + asideMark); err != nil {
		t.Errorf("the damaged columns are not set aside: %v", err)
	}
	if _, err := s.opt.FS.Open(cols); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the damaged columns are where they were: %v", err)
	}
	if err := s.Abandon(); err != nil {
		t.Fatal(err)
	}
	opt := s.opt
	opt.Distrust = true
	again, _, err := Open("shard", s.src, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Abandon()
	take(t, again, vectors)
	if err := again.Link(context.Background(), "s"); err != nil || again.Usable() != nil {
		t.Errorf("linked anew: %v, %v", err, again.Usable())
	}
	res, err := again.Search("s", Query{Vector: vectors[0], K: 10, MinScore: float32(math.Inf(-1))})
	if err != nil || len(res.Rows) != 10 || res.Exact {
		t.Errorf("the graph that was built anew finds %d rows, %v", len(res.Rows), err)
	}
}

// take gives a shard the rows again that it has not got any more.
func take(t *testing.T, s *Shard, vectors [][]float32) {
	t.Helper()
	if _, ok := s.space("s"); !ok {
		give(t, s, &Event{Kind: KindDefine, Definition: &Definition{Name: "s", Dimension: 16, Metric: L2, Generation: 1}})
	}
	for s.Appended() < uint64(len(vectors)+1) {
		i := s.Appended() - 1
		give(t, s, &Event{Kind: KindObserve, ID: fmt.Sprint(i), Vector: event.AppendF32(nil, vectors[i])})
	}
}

// Linking cannot follow damaged columns any more than a search can: they are set aside, and the shard is told to be opened again.
func TestLinkingIntoDamagedColumns(t *testing.T) {
	s, vectors := damagedGraph(t, 400)
	for range 2 {
		if err := s.Link(context.Background(), "s"); !errors.Is(err, columns.ErrCorrupt) {
			t.Errorf("Link = %v", err)
		}
	}
	checkSetAside(t, s, vectors)
}

// A damaged record that is met when rows are to be linked is damage, too.
func TestLinkingOfDamagedRecords(t *testing.T) {
	s := rowsOf(t, Definition{Dimension: 16, Metric: L2}, rowVectors(40, 16, func(v []float32, i int) { v[i%16] = 1 }), 0)
	sp, _ := s.space("s")
	sp.gen.Load().tail.evict()
	f, err := s.opt.FS.Open(filepath.Join("shard", "rows-00000001.seg"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), 2000); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Link(context.Background(), "s"); !errors.Is(err, ErrCorrupt) || s.Usable() == nil {
		t.Errorf("Link = %v, and then Usable = %v", err, s.Usable())
	}
}

// An index that panics over rows, with nothing wrong in its columns, would do so again in new ones: the rows stay in the tail.
func TestLinkingThatPanicsWithoutDamage(t *testing.T) {
	vectors := rowVectors(40, 16, func(v []float32, i int) { v[i%16], v[i/16] = 1, 2 })
	s := rowsOf(t, Definition{Dimension: 16, Metric: L2}, vectors, 30)
	sp, _ := s.space("s")
	width := sp.codec.width
	sp.codec.width = 1 << 40 // which no code has
	err := s.Link(context.Background(), "s")
	sp.codec.width = width
	if err == nil || errors.Is(err, columns.ErrCorrupt) || s.Usable() != nil {
		t.Errorf("Link = %v, and then Usable = %v", err, s.Usable())
	}
	if x, _ := sp.graph(); x.linked() != 30 {
		t.Errorf("%d rows are linked", x.linked())
	}
	if err := s.Link(context.Background(), "s"); err != nil {
		t.Error(err)
	}
}

// Columns that a killed process left are used without a look at their bytes. What cannot be followed in them ends a search
// with an error, and the shard is told to be opened again; it does not end the process.
func TestSearchOfDamagedColumns(t *testing.T) {
	s, vectors := damagedGraph(t, 400)
	if _, err := s.Search("s", Query{Vector: vectors[0], K: 10}); !errors.Is(err, columns.ErrCorrupt) {
		t.Errorf("Search = %v", err)
	}
	if _, err := s.Search("s", Query{Vector: vectors[0], K: 10, Effort: EffortExact, Context: context.Background()}); err != nil {
		t.Errorf("an exact search does not follow links: %v", err)
	}
	checkSetAside(t, s, vectors)
}

// A compaction whose index panics fails, and the space is served as before.
func TestCompactionWhoseIndexPanics(t *testing.T) {
	opt := Options{FS: vfs.NewMem(), GraphRows: 256, Graph: hnsw.Config{M: 4, EfConstruction: 8}}
	s, _, err := Open("shard", Source{Epoch: "panic"}, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abandon()
	take(t, s, rowVectors(300, 16, func(v []float32, i int) { v[i%16], v[i/16%16] = 1, 2 }))
	if err := s.Link(context.Background(), "s"); err != nil {
		t.Fatal(err)
	}
	sp, _ := s.space("s")
	x, _ := sp.graph()
	ones := sp.codec.ones
	sp.codec.ones = nil
	err = s.rebuild(context.Background(), sp, time.Now())
	sp.codec.ones = ones
	if err == nil || s.Usable() != nil {
		t.Errorf("a compaction ends with %v, and then Usable = %v", err, s.Usable())
	}
	if now, _ := sp.graph(); now != x {
		t.Error("the space has another graph")
	}
	if names, err := opt.FS.List("shard"); err != nil || len(names) != 4 {
		t.Errorf("there are %v, %v", names, err)
	}
}
