package vecstore

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// breakSync puts a file in the place of a segment that takes no fsync.
func breakSync(t *testing.T, s *Shard, number int) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	s.log.files[number-1].Close()
	s.log.files[number-1] = r
}

// TestFailedSync fails the fsync of a checkpoint, and opens the directory again in both ways there are.
func TestFailedSync(t *testing.T) {
	for _, distrust := range []bool{false, true} {
		dir := t.TempDir()
		s := openTest(t, dir, Options{SegmentSize: 700})
		fill(t, s, 10, 4)
		if len(s.log.files) != 2 {
			t.Fatalf("%d segments, want 2", len(s.log.files))
		}
		breakSync(t, s, 1)
		durable := s.Durable()
		for range 2 {
			if err := s.Checkpoint(testTime); !errors.Is(err, ErrFailed) {
				t.Fatalf("Checkpoint = %v, want ErrFailed", err)
			}
		}
		if s.Durable() != durable {
			t.Fatalf("Durable() went from %d to %d by a checkpoint that failed", durable, s.Durable())
		}
		if err := s.Appender().Add(observeTest(11)); err != nil {
			t.Fatal(err)
		}
		if err := s.Appender().Flush(); !errors.Is(err, ErrFailed) {
			t.Fatalf("Flush of a failed shard = %v, want ErrFailed", err)
		}
		if _, err := s.Search("s", Query{Vector: []float32{10, 1}, K: 1, MinScore: -1e9, Now: testTime}); err != nil {
			t.Fatalf("Search of a failed shard: %v", err)
		}
		if err := s.Close(); !errors.Is(err, ErrFailed) {
			t.Fatalf("Close of a failed shard = %v, want ErrFailed", err)
		}

		// The checkpoint that failed is not the one to cut behind, and vouches for nothing.
		s = openTest(t, dir, Options{Distrust: distrust})
		if s.Durable() != 4 {
			t.Fatalf("durable is %d after a failed checkpoint of 10, want 4", s.Durable())
		}
		if distrust {
			wantThrough(t, s, 4)
		} else {
			wantThrough(t, s, 10)
		}
	}
}

// TestFailedWrite leaves half of a batch behind the end of the log and writes something shorter there.
func TestFailedWrite(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	fill(t, s, 5)
	whole := s.log.files[0]
	readOnly, err := os.Open(whole.Name())
	if err != nil {
		t.Fatal(err)
	}
	s.log.files[0] = readOnly
	// The first record is as long as a checkpoint, so that the second would stand right behind one.
	first := &Event{Sequence: 6, Kind: KindObserve, Space: "s", ID: "6", Vector: packed(6, 1), Body: make([]byte, 7)}
	batch := []*Event{first, observeTest(7), observeTest(8)}
	for _, e := range batch {
		if err := s.Appender().Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Appender().Flush(); err == nil {
		t.Fatal("Flush to a file that takes no write succeeded")
	}
	if n := int64(batch[0].ref.length()); n != 0 {
		t.Fatalf("a ref of %d bytes for what was not written", n)
	}
	s.log.files[0] = whole
	readOnly.Close()
	encoded := s.appender.buf
	if rec, err := parseRecord(encoded); err != nil || int64(rec.length) != checkpointLength {
		t.Fatalf("the first record has %d bytes, want %d", rec.length, checkpointLength)
	}
	if _, err := whole.WriteAt(encoded, s.log.end); err != nil { // as far as the disk got
		t.Fatal(err)
	}
	checkpointTest(t, s)
	if s.Durable() != 5 {
		t.Fatalf("Durable() = %d, want 5", s.Durable())
	}

	// Killed now, the log ends with the checkpoint.
	copied := t.TempDir()
	readDisk(t, dir).write(t, copied)
	wantThrough(t, openTest(t, copied, Options{}), 5)

	// Or else the batch is written by the next Flush.
	if err := s.Appender().Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(batch, 5); err != nil {
		t.Fatal(err)
	}
	if rows, err := s.Get("s", []string{"6", "7", "8"}, testTime); err != nil || len(rows) != 3 {
		t.Fatalf("Get after the second Flush = %d rows, %v", len(rows), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = openTest(t, dir, Options{}); s.Appended() != 8 {
		t.Fatalf("Appended() = %d, want 8", s.Appended())
	}
}

// TestRollNeverOverwrites puts a file where the next segment goes.
func TestRollNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{SegmentSize: 1})
	fill(t, s, 3)
	path := filepath.Join(dir, segmentName(len(s.log.files)+1))
	if err := os.WriteFile(path, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Appender().Add(observeTest(4)); err != nil {
		t.Fatal(err)
	}
	if err := s.Appender().Flush(); err == nil {
		t.Fatal("Flush overwrote a file")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Fatalf("the file now is %q, %v", b, err)
	}
}

// TestAbandonBesideWriters abandons a shard while checkpoints and flushes run. Nothing that was flushed may be lost.
func TestAbandonBesideWriters(t *testing.T) {
	dir := t.TempDir()
	last := uint64(1)
	for round := range 12 {
		s := openTest(t, dir, Options{SegmentSize: 4000})
		if round == 0 {
			put(t, s, defineTest(1, "s", 2))
		}
		var wg sync.WaitGroup
		begun := make(chan struct{})
		wg.Go(func() {
			for n := 0; ; n++ {
				if err := s.Checkpoint(testTime); errors.Is(err, ErrClosed) {
					return
				} else if err != nil {
					t.Errorf("Checkpoint: %v", err)
					return
				}
			}
		})
		wg.Go(func() {
			for n := 0; ; n++ {
				if err := s.Appender().Add(observeTest(last + 1)); err != nil {
					t.Errorf("Add: %v", err)
				}
				if err := s.Appender().Flush(); errors.Is(err, ErrClosed) {
					return
				} else if err != nil {
					t.Errorf("Flush: %v", err)
				}
				if last++; n == round%4 {
					close(begun)
				}
			}
		})
		<-begun
		if err := s.Abandon(); err != nil {
			t.Errorf("Abandon: %v", err)
		}
		wg.Wait()
		s = openTest(t, dir, Options{})
		if s.Appended() != last {
			t.Fatalf("round %d: Appended() = %d, want %d", round, s.Appended(), last)
		}
		s.Abandon()
	}
	if last < 12 {
		t.Fatalf("only %d rows were written", last)
	}
}

// TestDamageAtQueryTime changes and cuts the file under an open shard.
func TestDamageAtQueryTime(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	fill(t, s, 6, 6)
	name := filepath.Join(dir, segmentName(1))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	offsets, records := layout(t, b)
	var at, end int
	for i, rec := range records {
		if rec.sequence == 4 {
			at, end = offsets[i], offsets[i+1]
		}
	}
	calls := func(want error) {
		t.Helper()
		_, serr := s.Search("s", Query{Vector: []float32{4, 1}, K: 1, MinScore: -1e9, Now: testTime})
		_, gerr := s.Get("s", []string{"3", "4"}, testTime)
		_, _, lerr := s.List("s", 0, 10, testTime)
		for call, err := range map[string]error{"Search": serr, "Get": gerr, "List": lerr} {
			if !errors.Is(err, want) {
				t.Fatalf("%s = %v, want %v", call, err, want)
			}
		}
		// What is not damaged is still served.
		if rows, err := s.Get("s", []string{"2", "3"}, testTime); err != nil || len(rows) != 2 {
			t.Fatalf("Get of other rows = %d rows, %v", len(rows), err)
		}
	}
	calls(nil)
	f := s.log.files[0]
	for i := at; i < end; i++ {
		if _, err := f.WriteAt([]byte{b[i] ^ 0x40}, int64(i)); err != nil {
			t.Fatal(err)
		}
		calls(ErrCorrupt)
		if _, err := f.WriteAt(b[i:i+1], int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	calls(nil)
	for _, size := range []int{end - 1, at + recordHeader, at} {
		if err := f.Truncate(int64(size)); err != nil {
			t.Fatal(err)
		}
		calls(ErrCorrupt)
	}
}
