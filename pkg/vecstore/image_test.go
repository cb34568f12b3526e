package vecstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// export returns what a shard is as of now, to be closed when the test ends.
func export(t *testing.T, s *vecstore.Shard) *vecstore.Export {
	t.Helper()
	e, err := s.Export(testNow)
	must(t, err)
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// into copies an export into a directory, in pieces of an odd size.
func into(e *vecstore.Export, fsys vfs.FS, dir string) error {
	m := e.Image()
	return vecstore.Restore(fsys, dir, &m, func(i int, w io.Writer) error {
		_, err := io.CopyBuffer(struct{ io.Writer }{w}, io.NewSectionReader(e.Segment(i), 0, e.Segments()[i].Length), make([]byte, 1001))
		return err
	})
}

// Wherever in its life a shard is exported, what is made of that is what the shard was, and goes on from there. That the
// export is read when the shard has long gone on, and has reclaimed what the export has, makes no difference.
func TestExportIsTheShardAtThatMoment(t *testing.T) {
	mem := vfs.NewMem()
	opt := vecstore.Options{FS: mem, SegmentSize: 8 << 10, KeepVersions: -1}
	h := past(31, 1200, 60)
	s, _ := open(t, "shard", opt)
	var exports []*vecstore.Export
	for to := uint64(100); to <= h.last(); to += 100 {
		feed(t, s, h, to)
		s.Applied(to)
		exports = append(exports, export(t, s))
		if to%300 == 0 {
			_, err := s.Erase(context.Background(), "s")
			must(t, err)
		}
	}
	for _, e := range exports {
		dir := fmt.Sprint("restored-", e.Position())
		must(t, into(e, mem, dir))
		r, rec := open(t, dir, opt)
		if r.Appended() != e.Position() || r.Durable() != e.Position() || len(rec.Repaired) > 0 || len(rec.Damaged) > 0 || rec.Torn > 0 {
			t.Fatalf("the export of %d is restored as %d, durable %d: %+v", e.Position(), r.Appended(), r.Durable(), rec)
		}
		must(t, h.as("s", e.Position()).compare(r, "s", 0))
		feed(t, r, h, h.last())
		must(t, h.as("s", h.last()).compare(r, "s", 0))
		// Forgets that ended what the export still had have come again, and outlive a compaction.
		r.Applied(h.last())
		compact(t, r, "s")
		must(t, r.Close())
		r, _ = open(t, dir, opt)
		must(t, h.as("s", h.last()).compare(r, "s", 0))
		must(t, r.Close())
	}
}

// Segments that are retired while an export has them are removed when it is closed.
func TestExportHoldsItsSegments(t *testing.T) {
	mem := vfs.NewMem()
	opt := vecstore.Options{FS: mem, SegmentSize: 8 << 10, KeepVersions: -1}
	h := past(32, 600, 10)
	s, _ := open(t, "shard", opt)
	feed(t, s, h, h.last())
	s.Applied(h.last())
	e, err := s.Export(testNow)
	must(t, err)
	name := fmt.Sprintf("shard/rows-%08d.seg", e.Segments()[0].ID)
	compact(t, s, "s")
	if _, err := mem.Stat(name); err != nil {
		t.Errorf("the first segment is gone before the export was closed: %v", err)
	}
	must(t, e.Close())
	if _, err := mem.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the first segment is still there: %v", err)
	}
}

// Sequences without a record at the end of the log are part of the position.
func TestExportKnowsWhatWasSkipped(t *testing.T) {
	mem := vfs.NewMem()
	s, _ := open(t, "shard", vecstore.Options{FS: mem})
	if _, err := s.Export(testNow); !errors.Is(err, vecstore.ErrNothing) {
		t.Errorf("the export of a shard with nothing: %v", err)
	}
	h := past(33, 20, 5)
	feed(t, s, h, h.last())
	s.Appender().Skip(h.last() + 1000)
	must(t, s.Appender().Flush())
	e := export(t, s)
	must(t, into(e, mem, "restored"))
	r, _ := open(t, "restored", vecstore.Options{FS: mem})
	if want := h.last() + 1000; e.Position() != want || r.Appended() != want {
		t.Errorf("the positions are %d and %d, want %d", e.Position(), r.Appended(), want)
	}
}

// A restore that fails at any call leaves no directory, or the whole one, and the next one makes it.
func TestRestoreFailsAtEveryCall(t *testing.T) {
	mem := vfs.NewMem()
	opt := vecstore.Options{FS: mem, SegmentSize: 8 << 10}
	h := past(34, 200, 20)
	s, _ := open(t, "shard", opt)
	feed(t, s, h, h.last())
	e := export(t, s)
	for n := 1; ; n++ {
		disk := vfs.NewMem()
		fault := vfs.NewFault(disk)
		fault.Inject(vfs.Rule{Ops: vfs.OpChanges, N: n, Err: syscall.EIO, Short: true})
		err := into(e, fault, "restored")
		if fault.Hits() == 0 {
			if n < 10 {
				t.Fatalf("only %d calls", n)
			}
			must(t, err)
			break
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("call %d failed, and the restore says: %v", n, err)
		}
		opt.FS = disk.Kill()
		if _, err := opt.FS.Stat("restored"); err == nil {
			r, _ := open(t, "restored", opt)
			must(t, h.as("s", h.last()).compare(r, "s", 0))
			continue
		}
		must(t, into(e, opt.FS, "restored"))
		r, rec := open(t, "restored", opt)
		must(t, h.as("s", h.last()).compare(r, "s", 0))
		if rec.Strays > 0 {
			t.Errorf("call %d left %d files behind", n, rec.Strays)
		}
	}
}

// Nothing is restored over what is there, and nothing of bytes that are not those of the image.
func TestRestoreRefuses(t *testing.T) {
	mem := vfs.NewMem()
	h := past(35, 50, 20)
	s, _ := open(t, "shard", vecstore.Options{FS: mem})
	feed(t, s, h, h.last())
	e := export(t, s)
	if err := into(e, mem, "shard"); !errors.Is(err, vecstore.ErrOccupied) {
		t.Errorf("over a shard: %v", err)
	}
	length := e.Segments()[0].Length
	bytes := make([]byte, length)
	if _, err := e.Segment(0).ReadAt(bytes, 0); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(m *vecstore.Image, b []byte) []byte{
		"a byte":           func(_ *vecstore.Image, b []byte) []byte { b[len(b)/2] ^= 4; return b },
		"the header":       func(_ *vecstore.Image, b []byte) []byte { b[9] ^= 4; return b },
		"a short one":      func(_ *vecstore.Image, b []byte) []byte { return b[:len(b)-8] },
		"half a record":    func(_ *vecstore.Image, b []byte) []byte { return b[:len(b)-1] },
		"a long one":       func(_ *vecstore.Image, b []byte) []byte { return append(b, b[128:]...) },
		"another log":      func(m *vecstore.Image, b []byte) []byte { m.Source.CreatedAt++; return b },
		"entries":          func(m *vecstore.Image, b []byte) []byte { m.Segments[0].Entries++; return b },
		"a wrong id":       func(m *vecstore.Image, b []byte) []byte { m.Segments[0].ID++; m.NextID++; return b },
		"an id to come":    func(m *vecstore.Image, b []byte) []byte { m.NextID = 1; return b },
		"an open segment":  func(m *vecstore.Image, b []byte) []byte { m.Segments[0] = vecstore.Segment{ID: 1}; return b },
		"none":             func(m *vecstore.Image, b []byte) []byte { m.Segments = nil; return b },
		"a space called 0": func(m *vecstore.Image, b []byte) []byte { m.Horizons = []vecstore.Horizon{{}}; return b },
	} {
		m := e.Image()
		m.Segments = append([]vecstore.Segment(nil), m.Segments...)
		b := change(&m, append([]byte(nil), bytes...))
		err := vecstore.Restore(mem, "restored", &m, func(_ int, w io.Writer) error { _, err := w.Write(b); return err })
		if !errors.Is(err, vecstore.ErrCorrupt) && !errors.Is(err, vecstore.ErrSource) && !errors.Is(err, vecstore.ErrVersion) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := mem.Stat("restored"); err == nil {
			t.Fatalf("%s: a directory is there", name)
		}
	}
}

// Appending, applying and compacting go on while the shard is exported over and over.
func TestExportBesideEverythingElse(t *testing.T) {
	mem := vfs.NewMem()
	opt := vecstore.Options{FS: mem, SegmentSize: 8 << 10, KeepVersions: -1}
	h := past(36, 3000, 40)
	s, _ := open(t, "shard", opt)
	feed(t, s, h, 10)
	fed := make(chan error, 1)
	go func() {
		for to := uint64(20); to < h.last(); to += 10 {
			applied := s.Appended()
			events := h.take(applied+1, to)
			err := write(s, events)
			if err == nil {
				err = apply(s, applied, events)
			}
			if err == nil {
				err = s.Checkpoint(testNow)
			}
			if err != nil {
				fed <- err
				return
			}
			s.Applied(to)
		}
		fed <- nil
	}()
	compacted := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				compacted <- nil
				return
			default:
			}
			if _, err := s.Compact(context.Background(), "s"); err != nil {
				compacted <- err
				return
			}
		}
	}()
	for n, done := 0, false; !done; n++ {
		select {
		case err := <-fed:
			must(t, err)
			done = true
		default:
		}
		e, err := s.Export(time.Now())
		must(t, err)
		dir := fmt.Sprint("restored-", n)
		must(t, into(e, mem, dir))
		must(t, e.Close())
		r, _ := open(t, dir, opt)
		if r.Appended() != e.Position() {
			t.Fatalf("restored at %d, want %d", r.Appended(), e.Position())
		}
		must(t, h.as("s", e.Position()).compare(r, "s", 0))
		must(t, r.Close())
	}
	close(stop)
	must(t, <-compacted)
}
