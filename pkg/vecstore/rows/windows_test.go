package rows

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/vfs"
)

func newTestMaps(windows int64) *Maps {
	m := &Maps{window: vfs.PageSize, limit: windows * vfs.PageSize}
	m.tell(testTime)
	return m
}

// large returns an observation of about 3 KB.
func large(sequence uint64) Record {
	vector := bytes.Repeat([]byte{byte(sequence), byte(sequence >> 8)}, 1600)
	return Record{
		Kind: KindObserve, Space: 1, Sequence: sequence, Published: 1, Encoding: F32, ID: fmt.Append(nil, sequence),
		Vector: vector[:F32.Size(800)], Body: []byte("body"),
	}
}

func fillLarge(t *testing.T, l *Log, n uint64) []Ref {
	t.Helper()
	rec, _ := event(1)
	if err := l.Add(&rec); err != nil {
		t.Fatal(err)
	}
	flush(t, l)
	refs := []Ref{0, 0}
	for sequence := uint64(2); sequence <= n; sequence++ {
		rec := large(sequence)
		if err := l.Add(&rec, string(rec.ID)); err != nil {
			t.Fatal(err)
		}
		refs = append(refs, flush(t, l)...)
	}
	return refs
}

func wantLarge(t *testing.T, l *Log, ref Ref, sequence uint64) {
	t.Helper()
	rec, _, err := l.Read(ref, nil)
	if err != nil {
		t.Fatalf("Read of %d: %v", sequence, err)
	}
	wantRecord(t, rec, large(sequence))
}

// onDisk is a world on a real disk, where memory can be mapped for real.
func onDisk(t *testing.T, size int64, maps *Maps) *world {
	w := newWorld(t, size)
	w.fs, w.maps = vfs.OS(), maps
	t.Chdir(t.TempDir())
	return w
}

// What is read often is mapped, up to the bound, and gives the same records; what is not read any more is let go.
func TestWindows(t *testing.T) {
	for _, limit := range []int64{0, 3, 1000} {
		maps := newTestMaps(limit)
		w := onDisk(t, 400_000, maps)
		l, _ := w.open(Verified)
		const last = 500
		refs := fillLarge(t, l, last)
		for range windowReads + 1 {
			for sequence := uint64(2); sequence <= last; sequence++ {
				l.Prefetch(refs[sequence])
				wantLarge(t, l, refs[sequence], sequence)
			}
		}
		windows := int64(0) // that are whole
		for _, f := range l.files.Load().order {
			windows += f.length / maps.window
		}
		if want := min(limit, windows) * maps.window; windows < 15 || maps.Bytes() != want {
			t.Errorf("of %d windows %d bytes are mapped, want %d", windows, maps.Bytes(), want)
		}
		for i := range idleUnits + 3 {
			if err := l.Cool(testTime.Add(time.Duration(i) * coolingUnit)); err != nil {
				t.Fatal(err)
			}
			wantLarge(t, l, refs[2], 2)
		}
		if want := min(limit, 1) * maps.window; maps.Bytes() != want {
			t.Errorf("%d bytes are mapped when one record is read now and then, want %d", maps.Bytes(), want)
		}
		if err := l.Close(); err != nil || maps.Bytes() != 0 {
			t.Errorf("%d bytes are mapped after Close: %v", maps.Bytes(), err)
		}
		// An open log is mapped, too.
		l, _, err := Open(w.fs, testDir, testSource, w.options(Trusted))
		if err != nil {
			t.Fatal(err)
		}
		for range maps.reads() + 1 {
			wantLarge(t, l, refs[2], 2)
		}
		if want := min(limit, 1) * maps.window; maps.Bytes() != want {
			t.Errorf("%d bytes are mapped, want %d", maps.Bytes(), want)
		}
		if err := l.Close(); err != nil || maps.Bytes() != 0 {
			t.Errorf("%d bytes are mapped after Close: %v", maps.Bytes(), err)
		}
	}
}

// Where there is room for a part of the windows alone, only those that are read more often than the others are mapped.
func TestWindowsThatAreReadAlike(t *testing.T) {
	maps := newTestMaps(3)
	w := onDisk(t, 400_000, maps)
	l, _ := w.open(Verified)
	const last = 500
	refs := fillLarge(t, l, last)
	window := func(sequence uint64) [2]int64 {
		return [2]int64{int64(refs[sequence].File()), refs[sequence].Offset() / maps.window}
	}
	seen := map[[2]int64]bool{}
	for sequence := uint64(2); sequence <= last; sequence++ {
		if seen[window(sequence)] {
			continue
		}
		seen[window(sequence)] = true
		for range 2 * windowReads {
			wantLarge(t, l, refs[sequence], sequence)
		}
	}
	if maps.Bytes() != 0 {
		t.Errorf("%d bytes are mapped of %d windows that are read alike", maps.Bytes(), len(seen))
	}
	for range maps.reads() + 1 {
		wantLarge(t, l, refs[2], 2)
	}
	if maps.Bytes() != maps.window {
		t.Errorf("%d bytes are mapped when one window is read most", maps.Bytes())
	}
	if err := l.Close(); err != nil || maps.whole.Load() != 0 {
		t.Errorf("%d bytes could be mapped after Close: %v", maps.whole.Load(), err)
	}
}

// A mapped segment that was made shorter behind the log's back is damage like any other, and ends nothing.
func TestFaultInAWindow(t *testing.T) {
	w := onDisk(t, 400_000, newTestMaps(100))
	l, _ := w.open(Verified)
	refs := fillLarge(t, l, 300)
	for range windowReads + 1 {
		wantLarge(t, l, refs[60], 60)
	}
	if w.maps.Bytes() == 0 {
		t.Fatal("nothing is mapped")
	}
	f, err := w.fs.Open(filepath.Join(testDir, segmentName(refs[60].File())))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(refs[60].Offset()), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Read(refs[60], nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Read = %v", err)
	}
}

// A disk that maps nothing is read.
func TestNothingCanBeMapped(t *testing.T) {
	w := newWorld(t, 400_000)
	fault := vfs.NewFault(w.fs)
	w.fs, w.maps = fault, newTestMaps(100)
	l, _ := w.open(Verified)
	refs := fillLarge(t, l, 100)
	fault.Inject(vfs.Rule{Ops: vfs.OpMap, Onwards: true, Err: syscall.ENOMEM})
	for range 2 * windowReads {
		wantLarge(t, l, refs[3], 3)
	}
	if w.maps.Bytes() != 0 {
		t.Errorf("%d bytes are mapped", w.maps.Bytes())
	}
}

// Records are read, mapped, let go and retired at the same time.
func TestWindowsBesideRetiring(t *testing.T) {
	w := onDisk(t, 200_000, newTestMaps(4))
	l, _ := w.open(Verified)
	const last = 400
	refs := make([]atomic.Uint64, last+1)
	for i, ref := range fillLarge(t, l, last) {
		refs[i].Store(uint64(ref))
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 0))
			var buf []byte
			for {
				select {
				case <-done:
					return
				default:
				}
				sequence := 2 + rng.Uint64N(last-1)
				ref := Ref(refs[sequence].Load())
				l.Prefetch(ref)
				rec, grown, err := l.Read(ref, buf)
				buf = grown
				if err != nil && !errors.Is(err, ErrMoved) || err == nil && (rec.Sequence != sequence || rec.Vector[0] != byte(sequence)) {
					t.Errorf("Read of %d = %d, %v", sequence, rec.Sequence, err)
					return
				}
			}
		})
	}
	now := testTime
	for range 60 {
		ids := []uint32{l.Segments()[0].ID}
		rw := rewrite(t, l, RewriteOptions{Keep: func(*Entry) bool { return true }}, ids...)
		if err := l.Replace(rw); err != nil {
			t.Fatal(err)
		}
		for i := range refs {
			if to, ok := rw.Moved(Ref(refs[i].Load())); ok {
				refs[i].Store(uint64(to))
			}
		}
		now = now.Add(2 * coolingUnit)
		if err := errors.Join(l.Retire(ids...), l.Cool(now)); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
	if err := l.Close(); err != nil || w.maps.Bytes() != 0 {
		t.Errorf("%d bytes are mapped after Close: %v", w.maps.Bytes(), err)
	}
}
