package rows

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/engram-memory/engram/pkg/vfs"
)

// faultyWorld is a world whose calls can be made to fail.
func faultyWorld(t testing.TB, size int64) (*world, *vfs.Fault, *vfs.Mem) {
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	return &world{TB: t, fs: fault, size: size}, fault, mem
}

// TestFailedSync fails the fsync of a checkpoint, and opens the directory again in the ways there are.
func TestFailedSync(t *testing.T) {
	for _, mode := range []Mode{Verified, Trusted, Distrusted} {
		w, fault, mem := faultyWorld(t, 700)
		l, _ := w.open(Verified)
		refs := fill(t, l, 1, 10, 4)
		if len(w.list) != 2 {
			t.Fatalf("%d segments, want 2", len(w.list))
		}
		fault.Inject(vfs.Rule{Ops: vfs.OpSync, Match: segmentName(1), Err: syscall.EIO})
		for range 2 {
			if err := l.Checkpoint(testTime); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
				t.Fatalf("Checkpoint = %v, want ErrFailed", err)
			}
		}
		if l.Durable() != 4 {
			t.Fatalf("Durable() went from 4 to %d by a checkpoint that failed", l.Durable())
		}
		add(t, l, 11)
		if _, err := l.Flush(); !errors.Is(err, ErrFailed) {
			t.Fatalf("Flush of a failed log = %v, want ErrFailed", err)
		}
		if _, err := l.Rewrite([]uint32{1}, RewriteOptions{Keep: func(*Entry) bool { return true }}); !errors.Is(err, ErrFailed) {
			t.Fatalf("Rewrite of a failed log = %v, want ErrFailed", err)
		}
		if _, _, err := l.Read(refs[9], nil); err != nil {
			t.Fatalf("Read of a failed log: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		lost := mem.LosePower(nil)

		// There is no checkpoint of what failed.
		l, _ = w.open(mode)
		if l.Durable() != 4 {
			t.Fatalf("durable is %d after a failed checkpoint of 10, want 4", l.Durable())
		}
		if mode != Distrusted {
			w.wantThrough(l, 10)
			continue
		}
		w.wantThrough(l, 4)
		// It stays so, with the checkpoint that was written anew.
		fill(t, l, 5, 6)
		l.Close()
		l, _ = w.open(Distrusted)
		w.wantThrough(l, 4)

		w.fs, w.list = lost, []Segment{w.list[0]}
		l, _ = w.open(Verified)
		w.wantThrough(l, 4)
	}
}

// TestCheckpointBesideFlush has records come while the disk is busy: the checkpoint does not vouch for them.
func TestCheckpointBesideFlush(t *testing.T) {
	w, fault, _ := faultyWorld(t, 0)
	l, _ := w.open(Verified)
	fill(t, l, 1, 5)
	fault.Inject(vfs.Rule{Ops: vfs.OpSync, Match: segmentName(1), Before: func() { fill(t, l, 6, 8) }})
	checkpoint(t, l)
	if l.Durable() != 5 || l.Appended() != 8 {
		t.Fatalf("durable %d, appended %d; want 5 and 8", l.Durable(), l.Appended())
	}
	l.Close()
	d := w.disk()
	offsets, records := layout(t, d.files[segmentName(1)])
	last := records[len(records)-1]
	if last.Kind != KindCheckpoint || last.Sequence != 5 || parseCheckpoint(last.Body).offset != int64(offsets[5]) {
		t.Fatalf("the last record is %+v", last)
	}
	for i, start := range offsets[:len(offsets)-1] {
		bad := d.flipped(segmentName(1), start, 1)
		if i < 5 {
			wantRefused(t, bad, Verified, ErrCorrupt)
			wantRefused(t, bad, Distrusted, ErrCorrupt)
			continue
		}
		w := bad.world(t, 0)
		l, _ := w.open(Verified)
		w.wantThrough(l, uint64(min(i, 8)))
		l.Close()
	}
	w = d.world(t, 0)
	l, _ = w.open(Distrusted)
	w.wantThrough(l, 5)
	if l.Durable() != 5 {
		t.Errorf("Durable() = %d, want 5", l.Durable())
	}
}

// TestFailedWrite leaves half of a batch behind the end of the log and writes something shorter there.
func TestFailedWrite(t *testing.T) {
	for name, rule := range map[string]vfs.Rule{
		"records":      {Ops: vfs.OpWrite, Match: "*.seg", Err: syscall.EIO},
		"half of them": {Ops: vfs.OpWrite, Match: "*.seg", Err: syscall.ENOSPC, Short: true},
		"entries":      {Ops: vfs.OpWrite, Match: "*.idx", Err: syscall.EIO},
		"half entries": {Ops: vfs.OpWrite, Match: "*.idx", Err: syscall.ENOSPC, Short: true},
	} {
		t.Run(name, func(t *testing.T) {
			w, fault, mem := faultyWorld(t, 0)
			l, _ := w.open(Verified)
			fill(t, l, 1, 5)
			for sequence := uint64(6); sequence <= 8; sequence++ {
				add(t, l, sequence)
			}
			fault.Inject(rule)
			if refs, err := l.Flush(); !errors.Is(err, rule.Err) || refs != nil {
				t.Fatalf("Flush = %v, %v; want an error", refs, err)
			}
			if l.Appended() != 5 || l.Through() != 8 {
				t.Fatalf("appended %d, through %d; want 5 and 8", l.Appended(), l.Through())
			}
			// Killed now, whole records of the batch may be there.
			killed := &world{TB: t, fs: mem.Kill(), list: w.list, next: w.next}
			k, _ := killed.open(Trusted)
			if k.Appended() < 5 || k.Appended() > 8 {
				t.Fatalf("Appended() = %d", k.Appended())
			}
			killed.wantThrough(k, k.Appended())

			// Removing it fails as well.
			fault.Inject(vfs.Rule{Ops: vfs.OpTruncate, Err: syscall.EIO})
			if err := l.Checkpoint(testTime); !errors.Is(err, syscall.EIO) || errors.Is(err, ErrFailed) {
				t.Fatalf("Checkpoint = %v, want an error that is not the end", err)
			}
			if l.Durable() != 0 {
				t.Fatalf("Durable() = %d by a checkpoint that was not written", l.Durable())
			}
			checkpoint(t, l)
			if l.Durable() != 5 {
				t.Fatalf("Durable() = %d, want 5", l.Durable())
			}
			// Killed now, the log ends with the checkpoint.
			for _, mode := range []Mode{Trusted, Verified} {
				killed = &world{TB: t, fs: mem.Kill(), list: w.list, next: w.next}
				k, rec := killed.open(mode)
				killed.wantThrough(k, 5)
				if rec.Torn != 0 || rec.Mode != mode || rec.IndexRepaired != 0 {
					t.Fatalf("Open = %+v", rec)
				}
			}
			// Or else the batch is written by the next Flush, with what came since.
			add(t, l, 9)
			refs := flush(t, l)
			if len(refs) != 4 || l.Appended() != 9 {
				t.Fatalf("Flush = %d refs, appended %d", len(refs), l.Appended())
			}
			for i, ref := range refs {
				rec, _, err := l.Read(ref, nil)
				if err != nil || rec.Sequence != uint64(6+i) {
					t.Fatalf("Read = %+v, %v", rec, err)
				}
			}
			if refs := flush(t, l); len(refs) != 0 {
				t.Fatalf("Flush of nothing = %v", refs)
			}
			l.Close()
			l, _ = w.open(Verified)
			w.wantThrough(l, 9)
		})
	}
}

// TestRollNeverOverwrites puts a file where the next segment goes.
func TestRollNeverOverwrites(t *testing.T) {
	w := newWorld(t, 1)
	l, _ := w.open(Verified)
	fill(t, l, 1, 3)
	path := filepath.Join(testDir, segmentName(4))
	f, err := w.fs.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("precious"), 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	add(t, l, 4)
	if _, err := l.Flush(); err == nil {
		t.Fatal("Flush overwrote a file")
	}
	if b := readFile(t, w.fs, path); string(b) != "precious" {
		t.Fatalf("the file now is %q", b)
	}
	// The next id is free.
	if refs := flush(t, l); refs[0].File() != 5 {
		t.Fatalf("the record is in %v", refs[0])
	}
	l.Close()
	l, _ = w.open(Trusted)
	w.wantThrough(l, 4)
}

// TestFailedCommit has the list of segments not be stored. Nothing may be written into a segment that the manifest may have
// closed, nor into one that it may not have.
func TestFailedCommit(t *testing.T) {
	for _, stored := range []bool{false, true} {
		w, _, mem := faultyWorld(t, 400)
		l, _ := w.open(Verified)
		fill(t, l, 1, 4)
		failure := errors.New("the manifest is not stored")
		w.commit = func() error { return failure }
		big := Record{Kind: KindObserve, Space: 1, Sequence: 5, Vector: make([]byte, 8), Body: make([]byte, 300)}
		if err := l.Add(&big, "big"); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := l.Flush(); !errors.Is(err, failure) {
				t.Fatalf("Flush = %v, want the error of Commit", err)
			}
			// A checkpoint would have room in the last segment.
			if err := l.Checkpoint(testTime); !errors.Is(err, failure) {
				t.Fatalf("Checkpoint = %v, want the error of Commit", err)
			}
		}
		list, next := w.list, w.next
		if stored { // as far as the caller can tell
			list, next = append(slices.Clone(list), Segment{ID: 2}), 3
			list[0].Length, list[0].Entries = int64(len(readFile(t, w.fs, filepath.Join(testDir, segmentName(1))))), 4
		}
		killed := &world{TB: t, fs: mem.Kill(), list: list, next: next}
		k, rec := killed.open(Trusted)
		killed.wantThrough(k, 4)
		if want := 2; !stored && rec.Strays != want || stored && rec.Strays != 0 {
			t.Fatalf("Open = %+v", rec)
		}
		w.commit = nil
		if checkpoint(t, l); len(w.list) != 2 || w.list[1].ID != 2 {
			t.Fatalf("the list is %+v", w.list)
		}
		if refs := flush(t, l); refs[0].File() != 3 {
			t.Fatalf("the record is in %v", refs[0])
		}
	}
}

// TestCloseBesideWriters closes a log while checkpoints and flushes run. Nothing that was flushed may be lost.
func TestCloseBesideWriters(t *testing.T) {
	w := newWorld(t, 2000)
	last := uint64(0)
	for round := range 12 {
		l, _ := w.open(Mode(round % 2))
		w.wantThrough(l, last)
		var wg sync.WaitGroup
		begun := make(chan struct{})
		wg.Go(func() {
			for {
				if err := l.Checkpoint(testTime); errors.Is(err, ErrClosed) {
					return
				} else if err != nil {
					t.Errorf("Checkpoint: %v", err)
					return
				}
			}
		})
		wg.Go(func() {
			var refs []Ref
			for n := 0; ; n++ {
				add(t, l, last+1)
				got, err := l.Flush()
				if errors.Is(err, ErrClosed) {
					break
				} else if err != nil {
					t.Errorf("Flush: %v", err)
				}
				refs = append(refs, got...)
				if last++; n == round%4 {
					close(begun)
				}
			}
			if _, _, err := l.Read(refs[0], nil); !errors.Is(err, ErrClosed) && err != nil {
				t.Errorf("Read: %v", err)
			}
		})
		<-begun
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		wg.Wait()
		if err := errors.Join(l.Close(), l.Close()); err != nil {
			t.Errorf("Close of a closed log: %v", err)
		}
		for _, err := range []error{l.Usable(), l.Checkpoint(testTime), l.Retire(1), l.Replace()} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("a call of a closed log = %v, want ErrClosed", err)
			}
		}
	}
	if last < 12 {
		t.Fatalf("only %d rows were written", last)
	}
}

// TestDamageAtQueryTime changes and cuts the file under an open log.
func TestDamageAtQueryTime(t *testing.T) {
	w := newWorld(t, 0)
	l, _ := w.open(Verified)
	refs := fill(t, l, 1, 6)
	name := filepath.Join(testDir, segmentName(1))
	b := readFile(t, w.fs, name)
	f, err := w.fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	ref := refs[3]
	var buf []byte
	read := func(want error) {
		t.Helper()
		_, grown, err := l.Read(ref, buf)
		if !errors.Is(err, want) {
			t.Fatalf("Read = %v, want %v", err, want)
		}
		// What is not damaged is still served.
		if rec, _, err := l.Read(refs[2], grown); err != nil || rec.Sequence != 3 {
			t.Fatalf("Read of another one = %+v, %v", rec, err)
		}
		buf = grown
	}
	read(nil)
	for i := ref.Offset(); i < ref.end(); i++ {
		if _, err := f.WriteAt([]byte{b[i] ^ 0x40}, i); err != nil {
			t.Fatal(err)
		}
		read(ErrCorrupt)
		if _, err := f.WriteAt(b[i:i+1], i); err != nil {
			t.Fatal(err)
		}
	}
	read(nil)
	for _, size := range []int64{ref.end() - 1, ref.Offset() + recordHeader, ref.Offset()} {
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		read(ErrCorrupt)
	}
	for _, never := range []Ref{
		0, makeRef(9, 128, 64), makeRef(1, 128, 56), makeRef(1, 136, 64), makeRef(1, MaxSegment-8, 64), makeRef(1, 128, 0),
	} {
		if _, _, err := l.Read(never, nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Read of %v = %v, want ErrCorrupt", never, err)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	w := newWorld(t, 0)
	l, _ := w.open(Verified)
	fill(t, l, 1, 3)
	before := readFile(t, w.fs, filepath.Join(testDir, segmentName(1)))
	observe := Record{Kind: KindObserve, Space: 1, Sequence: 4, Vector: make([]byte, 8)}
	many := slices.Repeat([]string{string(make([]byte, 1000))}, 3000)
	for name, test := range map[string]struct {
		change func(*Record)
		ids    []string
		want   error
	}{
		"order":         {func(r *Record) { r.Sequence = 2 }, []string{"x"}, ErrOrder},
		"size":          {func(r *Record) { r.Body = make([]byte, MaxRecord) }, []string{"x"}, ErrTooLarge},
		"id too long":   {func(*Record) {}, []string{string(make([]byte, 1<<16))}, ErrTooLarge},
		"no id":         {func(*Record) {}, nil, ErrRecord},
		"two ids":       {func(*Record) {}, []string{"x", "y"}, ErrRecord},
		"no vector":     {func(r *Record) { r.Vector = nil }, []string{"x"}, ErrRecord},
		"half a vector": {func(r *Record) { r.Vector = make([]byte, 7) }, []string{"x"}, ErrRecord},
		"encoding":      {func(r *Record) { r.Encoding = 16 }, []string{"x"}, ErrRecord},
		"no space":      {func(r *Record) { r.Space = 0 }, []string{"x"}, ErrRecord},
		"checkpoint":    {func(r *Record) { *r = checkpointRecord(9, 0, place{1, 128}) }, nil, ErrRecord},
		"kind":          {func(r *Record) { r.Kind = 6 }, nil, ErrRecord},
		"forget none":   {func(r *Record) { r.Kind, r.Vector = KindForget, nil }, nil, ErrRecord},
		"forget a lot":  {func(r *Record) { r.Kind, r.Vector = KindForget, nil }, many, ErrTooLarge},
		"define an id":  {func(r *Record) { r.Kind, r.Vector = KindDefine, nil }, []string{"x"}, ErrRecord},
	} {
		rec := observe
		test.change(&rec)
		if err := l.Add(&rec, test.ids...); !errors.Is(err, test.want) {
			t.Errorf("%s: Add = %v, want %v", name, err, test.want)
		}
	}
	if refs := flush(t, l); len(refs) != 0 || l.Through() != 3 {
		t.Errorf("refused records have %d refs, and a sequence of %d", len(refs), l.Through())
	}
	if !bytes.Equal(before, readFile(t, w.fs, filepath.Join(testDir, segmentName(1)))) {
		t.Error("refused records left a trace in the file")
	}
	l.Skip(7)
	l.Skip(5)
	if flush(t, l); l.Appended() != 7 {
		t.Errorf("Appended() = %d after a skip, want 7", l.Appended())
	}
	checkpoint(t, l)
	l.Close()
	if l, _ = w.open(Verified); l.Appended() != 7 || l.Durable() != 7 || l.Through() != 7 {
		t.Errorf("appended %d, durable %d; want 7", l.Appended(), l.Durable())
	}
}
