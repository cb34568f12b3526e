package rows

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"testing"
)

// TestCheckpointInABody gives an observation a body that is a checkpoint record, at an offset where one could stand.
func TestCheckpointInABody(t *testing.T) {
	w := newWorld(t, 0)
	l, _ := w.open(Verified)
	fill(t, l, 1, 3, 3)
	vouches := place{1, 1 << 20}
	rec := checkpointRecord(1<<40, 7, vouches)
	fake, err := appendRecord(nil, &rec)
	if err != nil {
		t.Fatal(err)
	}
	e := Record{Kind: KindObserve, Space: 1, Sequence: 4, Vector: make([]byte, 8), Body: fake}
	if err := l.Add(&e, "eightlet"); err != nil {
		t.Fatal(err)
	}
	ref := flush(t, l)[0]
	fill(t, l, 5, 6)
	l.Close()
	d := w.disk()
	found := 0
	b := d.files[segmentName(1)]
	err = findCheckpoints(bytes.NewReader(b), ref.Offset(), int64(len(b)), func(at int64, p place) error {
		if at != ref.Offset()+64 || p != vouches {
			return fmt.Errorf("a checkpoint at %d, of %v", at, p)
		}
		found++
		return nil
	})
	if err != nil || found != 1 {
		t.Fatalf("%d false checkpoints are found, %v; or this tests nothing", found, err)
	}
	for _, mode := range []Mode{Verified, Trusted} {
		w := d.world(t, 0)
		if l, _ := w.open(mode); l.Appended() != 6 || l.Durable() != 3 {
			t.Fatalf("%v: appended %d, durable %d; want 6 and 3", mode, l.Appended(), l.Durable())
		}
	}
	w = d.world(t, 0)
	l, _ = w.open(Distrusted)
	w.wantThrough(l, 3)
	// It cannot vouch for what is behind itself, even where it is looked at.
	bad := d.flipped(segmentName(1), int(ref.Offset()), 1)
	w = bad.world(t, 0)
	l, _ = w.open(Verified)
	w.wantThrough(l, 3)
	// One that could be true makes a torn log look corrupt.
	vouches.offset = ref.Offset() + 8
	rec = checkpointRecord(1<<40, 7, vouches)
	if fake, err = appendRecord(nil, &rec); err != nil {
		t.Fatal(err)
	}
	b = bytes.Clone(bad.files[segmentName(1)])
	copy(b[ref.Offset()+64:], fake)
	wantRefused(t, bad.with(segmentName(1), b), Verified, ErrCorrupt)
}

// TestFindCheckpoints has checkpoints everywhere around the ends of what is read at once.
func TestFindCheckpoints(t *testing.T) {
	const size = 3<<20 + 512
	for shift := -2 * checkpointLength; shift <= 2*checkpointLength; shift += 4 {
		b := make([]byte, size)
		var want []int64
		for _, at := range []int64{8, 1<<20 + int64(shift), 2<<20 + int64(shift), size - checkpointLength} {
			rec := checkpointRecord(1, 2, place{3, at})
			if _, err := appendRecord(b[:at], &rec); err != nil {
				t.Fatal(err)
			}
			if at%8 == 0 {
				want = append(want, at)
			}
		}
		var got []int64
		err := findCheckpoints(bytes.NewReader(b), 8, size, func(at int64, p place) error {
			if p != (place{3, at}) {
				return fmt.Errorf("at %d there is one of %v", at, p)
			}
			got = append(got, at)
			return nil
		})
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("shifted by %d: %d, %v; want %d", shift, got, err, want)
		}
	}
	stop := errors.New("stop")
	rec := checkpointRecord(1, 2, place{})
	b, err := appendRecord(make([]byte, 16), &rec)
	if err != nil {
		t.Fatal(err)
	}
	if err := findCheckpoints(bytes.NewReader(b), 0, int64(len(b)), func(int64, place) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("findCheckpoints = %v, want the error of visit", err)
	}
	if err := findCheckpoints(bytes.NewReader(b), 0, int64(len(b)-1), func(int64, place) error { return stop }); err != nil {
		t.Errorf("findCheckpoints up to within one = %v", err)
	}
}

// TestLongIndexIsRepaired has more entries than are written at once.
func TestLongIndexIsRepaired(t *testing.T) {
	w := newWorld(t, 1<<20)
	l, _ := w.open(Verified)
	for sequence := uint64(1); sequence <= 30_000; sequence++ {
		add(t, l, sequence)
		if sequence%1000 == 0 {
			flush(t, l)
		}
	}
	l.Close()
	d := w.disk()
	for _, at := range []int{0, indexEntry, 70_000, len(d.files[indexName(1)]) - 1} {
		w := d.flipped(indexName(1), at, 1).with(indexName(2), nil).world(t, 0)
		if _, rec := w.open(Trusted); rec.IndexRepaired != 2 || rec.Entries != 30_000+2*4285 {
			t.Fatalf("Open = %+v", rec)
		}
		if got := w.disk(); !got.equal(d) {
			t.Fatalf("the index with another byte at %d was not repaired", at)
		}
	}
}

// TestCloseWithABegunSegment closes a log whose next segment is there, and was not put into the list.
func TestCloseWithABegunSegment(t *testing.T) {
	w := newWorld(t, 1)
	l, _ := w.open(Verified)
	fill(t, l, 1, 2)
	failure := errors.New("the manifest is not stored")
	w.commit = func() error { return failure }
	add(t, l, 3)
	if _, err := l.Flush(); !errors.Is(err, failure) {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l.Segments() != nil || l.Sealed() != nil {
		t.Error("a closed log has segments")
	}
	w.commit = nil
	l, rec := w.open(Trusted)
	w.wantThrough(l, 2)
	if rec.Strays != 2 {
		t.Errorf("Open = %+v", rec)
	}
}

// TestCloseBreaksRewritingOff closes a log in the middle of a rewriting, which has a lot to do.
func TestCloseBreaksRewritingOff(t *testing.T) {
	w := newWorld(t, 8<<20)
	l, _ := w.open(Verified)
	for sequence := uint64(1); len(w.list) < 2; sequence++ {
		rec := Record{Kind: KindObserve, Space: 1, Sequence: sequence, Vector: make([]byte, 8), Body: make([]byte, 1_000_000)}
		if err := l.Add(&rec, "x"); err != nil {
			t.Fatal(err)
		}
		flush(t, l)
	}
	before := w.disk()
	paced := make(chan struct{})
	rewriting := make(chan error)
	go func() {
		_, err := l.Rewrite([]uint32{1}, RewriteOptions{Keep: func(*Entry) bool { return true }, Pace: func(int) error {
			if !l.closed.Load() {
				paced <- struct{}{}
				for !l.closed.Load() {
					runtime.Gosched()
				}
			}
			return nil
		}})
		rewriting <- err
	}()
	<-paced
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-rewriting; !errors.Is(err, ErrClosed) {
		t.Errorf("Rewrite = %v, want ErrClosed", err)
	}
	if !w.disk().equal(before) {
		t.Error("the rewriting left something behind")
	}
}
