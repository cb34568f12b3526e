package rows

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/engram-memory/engram/pkg/vfs"
)

// keepEven keeps defines, forgets and what has an even sequence.
func keepEven(e *Entry) bool { return e.Kind != KindObserve || e.Sequence%2 == 0 }

func keptEven(sequence uint64) bool {
	rec, _ := event(sequence)
	return rec.Kind != KindObserve || sequence%2 == 0
}

// evenUpTo is for a log whose events through a sequence were rewritten.
func evenUpTo(last uint64) func(uint64) bool {
	return func(sequence uint64) bool { return sequence > last || keptEven(sequence) }
}

func rewrite(t testing.TB, l *Log, opt RewriteOptions, ids ...uint32) *Rewritten {
	t.Helper()
	w, err := l.Rewrite(ids, opt)
	if err != nil {
		t.Fatalf("Rewrite: %v", err)
	}
	return w
}

func TestRewrite(t *testing.T) {
	for _, compress := range []bool{false, true} {
		w := newWorld(t, smallSegment)
		l, _ := w.open(Verified)
		refs := fill(t, l, 1, 40, 5, 20, 33)
		if len(w.list) < 6 {
			t.Fatalf("only %d segments", len(w.list))
		}
		before, size := slices.Clone(w.list), l.Bytes()
		read, asked := 0, 0
		opt := RewriteOptions{Compress: compress, Pace: func(n int) error { read += n; return nil }, Keep: func(e *Entry) bool {
			if want := refs[e.Sequence-1]; e.Ref != want || e.Kind == KindCheckpoint {
				t.Fatalf("Keep was asked about %+v, which stands at %v", e, want)
			}
			asked++
			return keepEven(e)
		}}
		one := rewrite(t, l, opt, 2)
		two := rewrite(t, l, opt, 3, 4)
		if asked < 10 || !slices.Equal(w.list, before) {
			t.Fatalf("Keep was asked %d times, and the list is %+v", asked, w.list)
		}
		if err := l.Replace(one, two); err != nil {
			t.Fatal(err)
		}
		want := slices.Replace(slices.Clone(before), 1, 4, one.Segment(), two.Segment())
		if !slices.Equal(w.list, want) || !slices.Equal(l.Segments(), want) {
			t.Fatalf("the list is %+v, want %+v", w.list, want)
		}
		// What moved can be read in both places until the old segments are retired.
		last := uint64(0)
		for i, ref := range refs {
			sequence := uint64(i + 1)
			to, moved := one.Moved(ref)
			if !moved {
				to, moved = two.Moved(ref)
			}
			if old := ref.File(); moved != (old >= 2 && old <= 4 && keptEven(sequence)) {
				t.Fatalf("%d, at %v, moved: %t", sequence, ref, moved)
			}
			if ref.File() <= 4 {
				last = sequence
			}
			for _, ref := range []Ref{ref, to} {
				if ref != 0 {
					rec, _, err := l.Read(ref, nil)
					wantRec, _ := event(sequence)
					if err != nil {
						t.Fatal(err)
					}
					wantRecord(t, rec, wantRec)
				}
			}
		}
		if err := l.Retire(2, 3, 4); err != nil {
			t.Fatal(err)
		}
		if l.Bytes() >= size {
			t.Errorf("%d bytes after the rewriting, %d before", l.Bytes(), size)
		}
		for _, ref := range refs {
			if _, _, err := l.Read(ref, nil); (ref.File() >= 2 && ref.File() <= 4) != errors.Is(err, ErrMoved) {
				t.Fatalf("Read at %v = %v", ref, err)
			}
		}
		if files := w.disk().files; files[segmentName(3)] != nil || files[indexName(2)] != nil || len(files) != 2*len(want) {
			t.Errorf("%d files, want %d", len(files), 2*len(want))
		}
		fill(t, l, 41, 45)
		checkpoint(t, l)
		l.Close()
		first := uint64(slices.IndexFunc(refs, func(r Ref) bool { return r.File() == 2 }))
		kept := func(sequence uint64) bool { return sequence <= first || evenUpTo(last)(sequence) }
		for _, mode := range []Mode{Trusted, Verified, Distrusted} {
			l, rec := w.open(mode)
			w.wantEvents(l, kept)
			if rec.Mode != mode || l.Durable() != 45 || l.Appended() != 45 || rec.Bytes != l.Bytes() {
				t.Errorf("Open = %+v, durable %d", rec, l.Durable())
			}
			l.Close()
		}
	}
}

// TestRewriteEverythingAway leaves a segment of a checkpoint alone, which says what the log has been through.
func TestRewriteEverythingAway(t *testing.T) {
	w := newWorld(t, 400)
	l, _ := w.open(Verified)
	fill(t, l, 1, 4)
	big := Record{Kind: KindObserve, Space: 1, Sequence: 5, Vector: make([]byte, 8), Body: make([]byte, 500)}
	if err := l.Add(&big, "big"); err != nil {
		t.Fatal(err)
	}
	flush(t, l)
	l.Skip(9)
	flush(t, l)
	none := func(*Entry) bool { return false }
	rw := rewrite(t, l, RewriteOptions{Keep: none}, 1)
	if rw.Segment().Length != segmentHeader+checkpointLength || rw.Segment().Entries != 1 {
		t.Errorf("a segment of nothing is %+v", rw.Segment())
	}
	if err := errors.Join(l.Replace(rw), l.Retire(1)); err != nil {
		t.Fatal(err)
	}
	// Once more, with the segment behind it.
	fill(t, l, 10, 11)
	both := rewrite(t, l, RewriteOptions{Keep: none}, rw.Segment().ID, 2)
	if err := errors.Join(l.Replace(both), l.Retire(rw.Segment().ID, 2)); err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, mode := range []Mode{Trusted, Verified} {
		l, _ := w.open(mode)
		w.wantEvents(l, func(sequence uint64) bool { return sequence >= 10 })
		if l.Durable() != 5 {
			t.Errorf("Durable() = %d, want 5", l.Durable())
		}
		l.Close()
	}
}

// TestReadBesideRewriting reads rows, at the refs that they have at the time, while segments are rewritten and retired.
func TestReadBesideRewriting(t *testing.T) {
	w := newWorld(t, 1000)
	l, _ := w.open(Verified)
	const last = 60
	refs := make([]atomic.Uint64, last+1)
	for i, ref := range fill(t, l, 1, last) {
		refs[i+1].Store(uint64(ref))
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	var moves atomic.Int64
	reading := make(chan struct{})
	begin := sync.OnceFunc(func() { close(reading) })
	for range 3 {
		wg.Go(func() {
			var buf []byte
			for sequence := uint64(1); ; sequence = sequence%last + 1 {
				select {
				case <-done:
					return
				default:
				}
				rec, grown, err := l.Read(Ref(refs[sequence].Load()), buf)
				buf = grown
				begin()
				if errors.Is(err, ErrMoved) {
					moves.Add(1)
					continue // its ref is another one by now
				}
				if err != nil || rec.Sequence != sequence {
					t.Errorf("Read of %d = %+v, %v", sequence, rec, err)
					return
				}
			}
		})
	}
	wg.Go(func() { // the appender goes on, with segments rolling
		for sequence := uint64(last + 1); sequence < 200; sequence++ {
			add(t, l, sequence)
			flush(t, l)
			if sequence%20 == 0 {
				checkpoint(t, l)
			}
		}
	})
	<-reading // which it had not, on one core, when all was done
	for round := range 30 {
		list := l.Segments()
		at := round % (len(list) - 1)
		ids := []uint32{list[at].ID}
		if round%3 == 0 && at+2 < len(list) {
			ids = append(ids, list[at+1].ID)
		}
		rw := rewrite(t, l, RewriteOptions{Keep: func(*Entry) bool { return true }, Compress: round%2 == 0}, ids...)
		if round%5 == 4 {
			if err := l.Discard(rw); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := l.Replace(rw); err != nil {
			t.Fatal(err)
		}
		for i := range refs {
			if to, ok := rw.Moved(Ref(refs[i].Load())); ok {
				refs[i].Store(uint64(to))
			}
		}
		if err := l.Retire(ids...); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
	l.Close()
	l, rec := w.open(Verified)
	w.wantThrough(l, 199)
	if rec.Strays != 0 || rec.IndexRepaired != 0 {
		t.Errorf("Open = %+v", rec)
	}
}

func TestRewriteRefuses(t *testing.T) {
	w := newWorld(t, 400)
	l, _ := w.open(Verified)
	fill(t, l, 1, 20)
	all := RewriteOptions{Keep: func(*Entry) bool { return true }}
	n := uint32(len(w.list))
	for _, ids := range [][]uint32{nil, {0}, {n}, {n - 1, n}, {1, 3}, {2, 1}, {1, 1}, {99}} {
		if _, err := l.Rewrite(ids, all); err == nil {
			t.Errorf("segments %d of %d were rewritten", ids, n)
		}
	}
	if err := l.Retire(1); err == nil {
		t.Error("a segment of the log was retired")
	}
	stop := errors.New("stop")
	paced := all
	paced.Pace = func(int) error { return stop }
	big := Record{Kind: KindObserve, Space: 1, Sequence: 21, Vector: make([]byte, 8), Body: make([]byte, paceEvery)}
	if err := l.Add(&big, "big"); err != nil {
		t.Fatal(err)
	}
	flush(t, l)
	fill(t, l, 22, 22)
	if _, err := l.Rewrite([]uint32{n + 1}, paced); !errors.Is(err, stop) {
		t.Errorf("Rewrite = %v, want the error of Pace", err)
	}
	one := rewrite(t, l, all, 1, 2)
	other := rewrite(t, l, all, 2)
	if err := l.Replace(one); err != nil {
		t.Fatal(err)
	}
	if err := l.Replace(other); err == nil {
		t.Error("a segment was replaced twice")
	}
	if err := errors.Join(l.Discard(other), l.Retire(1, 2)); err != nil {
		t.Error(err)
	}
	if err := l.Discard(one); err == nil {
		t.Error("a segment of the log was discarded")
	}
	if files := w.disk().files; len(files) != 2*len(w.list) {
		t.Errorf("%d files for %d segments", len(files), len(w.list))
	}
	l.Close()
	if _, err := l.Rewrite([]uint32{3}, all); !errors.Is(err, ErrClosed) {
		t.Errorf("Rewrite of a closed log = %v", err)
	}
}

// TestRewriteOfDamage refuses to lose what is damaged.
func TestRewriteOfDamage(t *testing.T) {
	d := filledDisk(t, 3)
	offsets, _ := layout(t, d.files[segmentName(1)])
	w := d.flipped(segmentName(1), offsets[1]+recordHeader, 1).world(t, smallSegment)
	opt := w.options(Trusted)
	opt.Replay = func(*Entry, func() (Record, error)) error { return nil }
	l, _, err := Open(w.fs, testDir, testSource, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Rewrite([]uint32{1}, RewriteOptions{Keep: keepEven}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Rewrite = %v, want ErrCorrupt", err)
	}
	if got := w.disk(); len(got.files) != len(d.files) {
		t.Errorf("%d files, want %d", len(got.files), len(d.files))
	}
}

// TestFailedReplace has the manifest name the one or the other: both stay until that is known.
func TestFailedReplace(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint(again), func(t *testing.T) {
			w, _, mem := faultyWorld(t, 400)
			l, _ := w.open(Verified)
			refs := fill(t, l, 1, 20)
			rw := rewrite(t, l, RewriteOptions{Keep: keepEven}, 1)
			w.commit = func() error { return syscall.EIO }
			for range 2 {
				if err := l.Replace(rw); !errors.Is(err, syscall.EIO) {
					t.Fatalf("Replace = %v, want the error of Commit", err)
				}
			}
			open := func(list []Segment, kept func(uint64) bool) {
				t.Helper()
				killed := &world{TB: t, fs: mem.Kill(), list: list, next: w.next + 1}
				k, _ := killed.open(Trusted)
				killed.wantEvents(k, kept)
			}
			replaced := slices.Replace(slices.Clone(w.list), 0, 1, rw.Segment())
			last := uint64(slices.IndexFunc(refs, func(r Ref) bool { return r.File() == 2 }))
			all := func(uint64) bool { return true }
			open(w.list, all)
			open(replaced, evenUpTo(last))
			if again {
				w.commit = nil
				if err := errors.Join(l.Replace(rw), l.Retire(1)); err != nil {
					t.Fatal(err)
				}
				open(w.list, evenUpTo(last))
				return
			}
			if err := l.Discard(rw); err != nil {
				t.Fatal(err)
			}
			open(w.list, all)
			open(replaced, evenUpTo(last))
			// The next list that is stored settles it.
			w.commit = nil
			fill(t, l, 21, 30)
			if w.disk().files[segmentName(rw.Segment().ID)] != nil {
				t.Error("the file of a discarded segment is still there")
			}
			open(w.list, all)
		})
	}
}

// TestFailedRewrite fails each call that Rewrite makes, and leaves nothing behind.
func TestFailedRewrite(t *testing.T) {
	failures := 0
	for n := 1; ; n++ {
		w, fault, _ := faultyWorld(t, 400)
		l, _ := w.open(Verified)
		fill(t, l, 1, 20, 20)
		d := w.disk()
		opt := RewriteOptions{Keep: keepEven}
		hits := fault.Hits()
		fault.Inject(vfs.Rule{Ops: vfs.OpAll, N: n, Err: syscall.ENOSPC, Short: true})
		_, err := l.Rewrite([]uint32{2}, opt)
		if fault.Hits() == hits {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		failures++
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("Rewrite with call %d failing = %v", n, err)
		}
		if errors.Is(err, ErrFailed) { // the sync of what was appended
			l.Close()
			continue
		}
		if !w.disk().equal(d) {
			t.Fatalf("Rewrite with call %d failing left something behind", n)
		}
		rw, err := l.Rewrite([]uint32{2}, opt)
		if err != nil {
			t.Fatalf("Rewrite after one with call %d failing: %v", n, err)
		}
		if err := errors.Join(l.Replace(rw), l.Retire(2)); err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	if failures < 10 {
		t.Errorf("only %d calls were failed", failures)
	}
}
