package rows

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"syscall"
	"testing"

	"github.com/engram-memory/engram/pkg/vfs"
)

// TestKilledBetweenTheWrites has any part of the last batch in the segment, and any part of its entries in the index.
func TestKilledBetweenTheWrites(t *testing.T) {
	w := newWorld(t, 0)
	l, _ := w.open(Verified)
	fill(t, l, 1, 12, 9)
	before := w.disk()
	for sequence := uint64(13); sequence <= 16; sequence++ { // with a forget of three ids
		add(t, l, sequence)
	}
	refs := flush(t, l)
	l.Close()
	after := w.disk()
	seg, idx := segmentName(1), indexName(1)
	for n := len(before.files[seg]); n <= len(after.files[seg]); n++ {
		// The entries come when all of the records are there.
		for m := len(before.files[idx]); m <= len(after.files[idx]); m++ {
			if n < len(after.files[seg]) && m > len(before.files[idx]) {
				break
			}
			w := after.with(seg, after.files[seg][:n]).with(idx, after.files[idx][:m]).world(t, 0)
			l, rec := w.open(Trusted)
			want := uint64(12)
			for i, ref := range refs {
				if ref.end() <= int64(n) {
					want = uint64(13 + i)
				}
			}
			w.wantThrough(l, want)
			if rec.Mode != Trusted || l.Durable() != 9 {
				t.Fatalf("%d and %d bytes: %+v, durable %d", n, m, rec, l.Durable())
			}
			if want == 16 && !bytes.Equal(w.disk().files[idx], after.files[idx]) {
				t.Fatalf("%d and %d bytes: the index was not repaired", n, m)
			}
			fill(t, l, want+1, 18)
			l.Close()
			for _, mode := range []Mode{Trusted, Verified} {
				l, rec = w.open(mode)
				w.wantThrough(l, 18)
				if rec.Mode != mode || rec.Torn != 0 || rec.IndexRepaired != 0 {
					t.Fatalf("%d and %d bytes, opened again: %+v", n, m, rec)
				}
				l.Close()
			}
		}
	}
}

// TestTrustedReadsNoRecords counts what a trusted open does.
func TestTrustedReadsNoRecords(t *testing.T) {
	w, fault, _ := faultyWorld(t, smallSegment)
	l, _ := w.open(Verified)
	fill(t, l, 1, 50, 50)
	l.Close()
	opt := w.options(Trusted)
	entries := 0
	opt.Replay = func(*Entry, func() (Record, error)) error { entries++; return nil }
	changes, segments := fault.Count(vfs.OpChanges), len(w.list)
	fault.Inject(vfs.Rule{Ops: vfs.OpRead, Match: "*.seg", N: segments + 1, Onwards: true, Err: errors.New("a record is read")})
	l, rec, err := Open(w.fs, testDir, testSource, opt)
	if err != nil || rec.Mode != Trusted || rec.Records != 0 || rec.Entries != entries || entries != 50+2*7+1 {
		t.Fatalf("Open = %+v, %v; %d entries", rec, err, entries)
	}
	defer l.Close()
	if got := fault.Count(vfs.OpChanges); got != changes {
		t.Errorf("an open of a log that nothing is wrong with made %d changes", got-changes)
	}
}

// TestReplayErrors has the caller refuse an entry.
func TestReplayErrors(t *testing.T) {
	d := filledDisk(t, 2)
	other := errors.New("another error")
	for _, mode := range []Mode{Trusted, Verified, Distrusted} {
		for _, want := range []error{ErrCorrupt, ErrVersion, other} {
			w := d.world(t, 0)
			opt := w.options(mode)
			n := 0
			opt.Replay = func(e *Entry, _ func() (Record, error)) error {
				if n++; e.Sequence == 4 {
					return fmt.Errorf("this one: %w", want)
				}
				return nil
			}
			_, rec, err := Open(w.fs, testDir, testSource, opt)
			if !errors.Is(err, want) || !reflect.DeepEqual(rec, Recovery{}) || !w.disk().equal(d) {
				t.Errorf("%v: Open = %+v, %v; want %v and no change", mode, rec, err, want)
			}
			if restarts := 0; mode == Trusted && want == ErrCorrupt {
				if restarts++; w.restarts != restarts {
					t.Errorf("%d restarts, want %d", w.restarts, restarts)
				}
			} else if w.restarts != 0 {
				t.Errorf("%v: %d restarts", mode, w.restarts)
			}
		}
	}
	// What is only wrong in the index comes right.
	w := d.world(t, 0)
	opt := w.options(Trusted)
	replay := opt.Replay
	opt.Replay = func(e *Entry, body func() (Record, error)) error {
		if w.restarts == 0 && e.Sequence == 9 {
			return ErrCorrupt
		}
		return replay(e, body)
	}
	l, rec, err := Open(w.fs, testDir, testSource, opt)
	if err != nil || rec.Mode != Verified || !errors.Is(rec.Doubt, ErrCorrupt) {
		t.Fatalf("Open = %+v, %v", rec, err)
	}
	defer l.Close()
	w.wantThrough(l, 14)
}

// TestFailedOpen fails each call that Open makes. The next one finds everything.
func TestFailedOpen(t *testing.T) {
	good := filledDisk(t, 2)
	seg, idx := segmentName(3), indexName(3)
	for name, d := range map[string]disk{
		"whole":       good,
		"torn":        good.with(seg, good.files[seg][:len(good.files[seg])-9]),
		"torn before": good.with(segmentName(2), good.files[segmentName(2)][:len(good.files[segmentName(2)])-9]),
		"index":       good.with(idx, nil).flipped(indexName(1), 70, 1),
		"killed":      good.with(seg, good.files[seg][:len(good.files[seg])-9]).with(idx, good.files[idx][:len(good.files[idx])-250]),
		"strays":      good.with(segmentName(9), []byte("x")).with(indexName(9), []byte("x")),
	} {
		for _, mode := range []Mode{Trusted, Verified, Distrusted} {
			for n := 1; ; n++ {
				w := d.world(t, 0)
				fault := vfs.NewFault(w.fs)
				w.fs = fault
				fault.Inject(vfs.Rule{Ops: vfs.OpAll, N: n, Err: syscall.EIO, Short: true})
				l, _, err := Open(w.fs, testDir, testSource, w.options(mode))
				if err == nil {
					l.Close()
				} else if !errors.Is(err, syscall.EIO) {
					t.Fatalf("%s, %v, call %d: %v", name, mode, n, err)
				}
				hits := fault.Hits()
				fault.Clear()
				l, _ = w.open(mode)
				want := uint64(14)
				switch {
				case mode == Distrusted:
					want = 8
				case name == "torn" || name == "killed":
					want = 13
				case name == "torn before":
					want = 9
				}
				w.wantThrough(l, want)
				l.Close()
				l, rec := w.open(Verified)
				if rec.Torn != 0 || rec.IndexRepaired != 0 || rec.Strays != 0 {
					t.Fatalf("%s, %v, call %d: opened again: %+v", name, mode, n, rec)
				}
				w.wantThrough(l, want)
				if hits == 0 {
					break
				}
			}
		}
	}
}

func TestSourceAndVersion(t *testing.T) {
	w := newWorld(t, 0)
	l, _ := w.open(Verified)
	fill(t, l, 1, 3)
	l.Close()
	for _, mode := range []Mode{Trusted, Verified, Distrusted} {
		for _, src := range []Source{
			{Epoch: "abcdeg", Shard: 3, CreatedAt: testSource.CreatedAt},
			{Epoch: "", Shard: 3, CreatedAt: testSource.CreatedAt},
			{Epoch: "abcdef", Shard: 4, CreatedAt: testSource.CreatedAt},
			{Epoch: "abcdef", Shard: 3, CreatedAt: testSource.CreatedAt + 1},
		} {
			_, _, err := Open(w.fs, testDir, src, w.options(mode))
			if !errors.Is(err, ErrSource) || !bytes.Contains([]byte(err.Error()), []byte(src.String())) {
				t.Errorf("Open as %v = %v, want ErrSource and both names", src, err)
			}
		}
		d := w.disk()
		for _, version := range []byte{0, 1, 3, 255} {
			b := bytes.Clone(d.files[segmentName(1)])
			b[8] = version
			copy(b[segmentHeader-4:], u32(checksum(b[:segmentHeader-4])))
			wantRefused(t, d.with(segmentName(1), b), mode, ErrVersion)

			b = bytes.Clone(d.files[indexName(1)])
			if b[8] = version; version == indexVersion {
				continue
			}
			copy(b[indexEntry-4:], u32(checksum(b[:indexEntry-4])))
			w := d.with(indexName(1), b).world(t, 0)
			if _, rec := w.open(mode); rec.IndexRepaired != 1 {
				t.Errorf("an index of version %d: %+v", version, rec)
			}
		}
	}
	if _, _, err := Open(w.fs, testDir, Source{Epoch: string(make([]byte, MaxEpoch+1))}, w.options(Verified)); err == nil {
		t.Error("an epoch that does not fit into the header was taken")
	}
	// With another hash key the index is of no use, and is made anew.
	opt := w.options(Trusted)
	opt.HashKey[7]++
	l, rec, err := Open(w.fs, testDir, testSource, opt)
	if err != nil || rec.IndexRepaired != 1 || len(rec.IndexRepairs) != 1 || w.entries[1].Key != opt.HashKey.Key("2") {
		t.Errorf("Open with another hash key = %+v, %v", rec, err)
	}
	l.Close()
}

func TestCheckNew(t *testing.T) {
	w := newWorld(t, 0)
	if err := CheckNew(w.fs, testDir); err != nil {
		t.Errorf("CheckNew of nothing = %v", err)
	}
	l, _ := w.open(Verified)
	if err := CheckNew(w.fs, testDir); err != nil {
		t.Errorf("CheckNew of an empty directory = %v", err)
	}
	fill(t, l, 1, 1)
	if err := CheckNew(w.fs, testDir); !errors.Is(err, ErrCorrupt) {
		t.Errorf("CheckNew of a directory with segments = %v, want ErrCorrupt", err)
	}
	l.Close()
	for version, want := range map[byte]error{1: ErrVersion, 2: ErrCorrupt, 3: ErrVersion} {
		b := bytes.Clone(w.disk().files[segmentName(1)])
		b[8] = version
		other := w.disk().with(segmentName(1), b).world(t, 0)
		if err := CheckNew(other.fs, testDir); !errors.Is(err, want) {
			t.Errorf("CheckNew with a segment of version %d = %v, want %v", version, err, want)
		}
	}
	short := w.disk().with(segmentName(1), []byte("ENG")).with("a.file", nil).world(t, 0)
	if err := CheckNew(short.fs, testDir); !errors.Is(err, ErrCorrupt) {
		t.Errorf("CheckNew with half a segment = %v, want ErrCorrupt", err)
	}
}

// TestBatchLargerThanOneWrite has more records in a batch than go into one write.
func TestBatchLargerThanOneWrite(t *testing.T) {
	w, fault, _ := faultyWorld(t, 12<<20)
	l, _ := w.open(Verified)
	add(t, l, 1)
	for sequence := uint64(2); sequence < 12; sequence++ {
		rec := Record{Kind: KindObserve, Space: 1, Sequence: sequence, Vector: make([]byte, 8), Body: make([]byte, 2_000_000)}
		if err := l.Add(&rec, fmt.Sprint(sequence)); err != nil {
			t.Fatal(err)
		}
	}
	fault.Inject(vfs.Rule{Ops: vfs.OpWrite, N: 6, Err: syscall.ENOSPC, Short: true}) // two headers, and two a batch
	if _, err := l.Flush(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if l.Appended() == 0 || l.Appended() == 11 {
		t.Fatalf("Appended() = %d, and this tests nothing", l.Appended())
	}
	checkpoint(t, l)
	refs := flush(t, l)
	if len(refs) != 11 || refs[10].File() != 2 || l.Appended() != 11 {
		t.Fatalf("Flush = %v, appended %d", refs, l.Appended())
	}
	for i, ref := range refs {
		if rec, _, err := l.Read(ref, nil); err != nil || rec.Sequence != uint64(i+1) {
			t.Fatalf("Read of %v = %d, %v", ref, rec.Sequence, err)
		}
	}
	l.Close()
	for _, mode := range []Mode{Trusted, Verified} {
		l, rec := w.open(mode)
		if rec.Entries != 12 || rec.Mode != mode || l.Appended() != 11 {
			t.Errorf("Open = %+v", rec)
		}
		l.Close()
	}
}
