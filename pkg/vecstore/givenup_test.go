package vecstore

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vecstore/manifest"
	"github.com/engram-memory/engram/pkg/vfs"
)

// givenUpShard is a shard of five rows, one of which could not be applied, and where a disk was failing, not noted either.
func givenUpShard(t *testing.T, mem *vfs.Mem, failing bool) (*Shard, Options) {
	t.Helper()
	fsys := vfs.NewFault(mem)
	opt := Options{FS: fsys, KeepVersions: -1}
	s := reopenGivenUp(t, opt)
	events := []*Event{{Kind: KindDefine, Space: "s", Sequence: 1, Definition: &Definition{Name: "s", Dimension: 2, Metric: L2, Generation: 1}}}
	for i := range 5 {
		events = append(events, &Event{
			Kind: KindObserve, Space: "s", Sequence: uint64(i + 2), ID: fmt.Sprint(i), Vector: event.AppendF32(nil, []float32{float32(i), 1}),
		})
	}
	for _, e := range events {
		if err := s.Appender().Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Appender().Flush(); err != nil {
		t.Fatal(err)
	}
	if failing {
		fsys.Inject(vfs.Rule{Ops: vfs.OpRename, Match: manifest.Name, Err: syscall.EIO})
	}
	rows := events[1:]
	rows[2].stored = nil // what no index can be made of
	if n, err := s.Apply(rows, 1); n != 2 || err == nil {
		t.Fatalf("Apply stopped at %d: %v", n, err)
	}
	if n, err := s.Apply(rows[3:], 1); n != 2 || err != nil {
		t.Fatalf("Apply stopped at %d: %v", n, err)
	}
	checkGivenUp(t, s)
	return s, opt
}

func reopenGivenUp(t *testing.T, opt Options) *Shard {
	t.Helper()
	s, _, err := Open("shard", Source{Epoch: "e", Shard: 1, CreatedAt: 2}, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abandon() })
	return s
}

func checkGivenUp(t *testing.T, s *Shard) {
	t.Helper()
	now := time.Now()
	rows, err := s.Get("s", []string{"0", "1", "2", "3", "4"}, At{Now: now})
	if err != nil || len(rows) != 4 {
		t.Errorf("%d rows are there, %v; want 4", len(rows), err)
	}
	res, err := s.Search("s", Query{Vector: []float32{2, 1}, K: 5, MinScore: -1e9, Now: now})
	if err != nil || len(res.Rows) != 4 {
		t.Errorf("%d rows are found, %v; want 4", len(res.Rows), err)
	}
	for _, row := range append(rows, res.Rows...) {
		if row.ID == "2" {
			t.Error("the row that was given up is there")
		}
	}
}

// A row that could not be applied, and was quarantined, does not come back by a replay of the row log.
func TestWhatWasGivenUpStaysSo(t *testing.T) {
	for _, failing := range []bool{false, true} {
		t.Run(fmt.Sprint("failing ", failing), func(t *testing.T) {
			mem := vfs.NewMem()
			s, opt := givenUpShard(t, mem, failing)
			if !failing {
				opt.FS = mem.Kill()
				s = reopenGivenUp(t, opt)
				checkGivenUp(t, s)
				mem = opt.FS.(*vfs.Mem)
			}
			if err := s.Checkpoint(time.Now()); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				mem = mem.LosePower(rand.New(rand.NewPCG(1, 2)))
				opt.FS = mem
				s = reopenGivenUp(t, opt)
				checkGivenUp(t, s)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = reopenGivenUp(t, opt)
			checkGivenUp(t, s)
			// When its record has gone, so has the note.
			if _, err := s.Compact(t.Context(), "s"); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = reopenGivenUp(t, opt)
			checkGivenUp(t, s)
			if m, err := manifest.Load(opt.FS, "shard"); err != nil || len(m.GivenUp) != 0 {
				t.Errorf("%+v, %v", m.GivenUp, err)
			}
		})
	}
}

// What was given up stays so, when it is given again as well: before and after linking, a compaction and an open have passed over it.
func TestWhatWasGivenUpIsRefused(t *testing.T) {
	mem := vfs.NewMem()
	s, opt := givenUpShard(t, mem, false)
	again := func(id int) (int, error) {
		t.Helper()
		sp, _ := s.space("s")
		e := &Event{
			Kind: KindObserve, Space: "s", Sequence: uint64(id + 2), ID: fmt.Sprint(id), space: sp, ordinal: uint64(id),
			stored: event.AppendF32(nil, []float32{float32(id), 1}),
		}
		n, err := s.Apply([]*Event{e}, 6)
		checkGivenUp(t, s)
		return n, err
	}
	refused := func(when string) {
		t.Helper()
		if n, err := again(2); n != 0 || !errors.Is(err, ErrGivenUp) {
			t.Errorf("%s: Apply = %d, %v", when, n, err)
		}
	}
	refused("at once")
	if err := s.Link(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	refused("when it is passed in the graph")
	if c, err := s.Compact(t.Context(), "s"); err != nil || c.Reclaimed != 1 {
		t.Fatalf("Compact = %+v, %v", c, err)
	}
	refused("when it is reclaimed")
	// Those that were applied may be given again, whatever numbers they have now.
	for _, id := range []int{0, 1, 3, 4} {
		if n, err := again(id); n != 1 || err != nil {
			t.Errorf("row %d is given again: Apply = %d, %v", id, n, err)
		}
	}
	opt.FS = mem.Kill()
	s = reopenGivenUp(t, opt)
	checkGivenUp(t, s)
}

// An observation that was applied may be given again when it is gone.
func TestWhatWasReclaimedMayBeGivenAgain(t *testing.T) {
	s := rowsOf(t, Definition{Dimension: 2, Metric: L2}, nil, 0)
	s.opt.KeepVersions = -1
	var given []*Event
	for i := range 3 {
		e := &Event{Kind: KindObserve, ID: "same", Vector: event.AppendF32(nil, []float32{float32(i), 1})}
		give(t, s, e)
		given = append(given, e)
	}
	if c, err := s.Compact(t.Context(), "s"); err != nil || c.Reclaimed != 2 {
		t.Fatalf("Compact = %+v, %v", c, err)
	}
	for i, e := range given {
		if n, err := s.Apply([]*Event{e}, s.Appended()); n != 1 || err != nil {
			t.Errorf("row %d is given again: Apply = %d, %v", i, n, err)
		}
	}
	rows, err := s.Get("s", []string{"same"}, At{Now: time.Now()})
	if err != nil || len(rows) != 1 || rows[0].Sequence != given[2].Sequence {
		t.Errorf("%v, %v", rows, err)
	}
}

// What was given up is given up in an image, too, whether it is noted in the manifest yet or not.
func TestImageKnowsWhatWasGivenUp(t *testing.T) {
	for _, failing := range []bool{false, true} {
		mem := vfs.NewMem()
		s, opt := givenUpShard(t, mem, failing)
		e, err := s.Export(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		m := e.Image()
		if len(m.GivenUp) != 1 || m.GivenUp[0].Sequence != 4 {
			t.Errorf("given up: %+v", m.GivenUp)
		}
		err = Restore(mem, "restored", &m, func(i int, w io.Writer) error {
			_, err := io.Copy(w, io.NewSectionReader(e.Segment(i), 0, e.Segments()[i].Length))
			return err
		})
		if err := errors.Join(err, e.Close()); err != nil {
			t.Fatal(err)
		}
		r, _, err := Open("restored", s.Source(), opt)
		if err != nil {
			t.Fatal(err)
		}
		checkGivenUp(t, r)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
