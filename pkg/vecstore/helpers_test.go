package vecstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

var (
	testSource = Source{Epoch: "abcdef", Shard: 3, CreatedAt: 1_700_000_000_123_456_789}
	testTime   = time.Unix(1_800_000_000, 0)
)

func openTest(t testing.TB, dir string, opt Options) *Shard {
	t.Helper()
	s, _, err := Open(dir, testSource, opt)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Abandon() })
	return s
}

func packed(values ...float32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func defineTest(sequence uint64, name string, dim uint32) *Event {
	return &Event{Sequence: sequence, Kind: KindDefine, Space: name, Definition: &Definition{
		Name: name, Dimension: dim, Metric: L2, Generation: 1, Engine: EngineExact,
	}}
}

func observeTest(sequence uint64) *Event {
	return &Event{
		Sequence: sequence, Kind: KindObserve, Space: "s", ID: fmt.Sprint(sequence),
		Vector: packed(float32(sequence), 1), Body: fmt.Appendf(nil, "body %d", sequence),
	}
}

// put adds, flushes and applies events.
func put(t testing.TB, s *Shard, events ...*Event) {
	t.Helper()
	for _, e := range events {
		if err := s.Appender().Add(e); err != nil {
			t.Fatalf("Add: %v", err)
		}
	}
	if err := s.Appender().Flush(); err != nil {
		t.Fatalf("Flush: %v", err)
	}
	for _, e := range events {
		if e.SpaceKey() == nil {
			continue
		}
		if _, err := s.Apply([]*Event{e}, 0); err != nil {
			t.Fatalf("Apply: %v", err)
		}
	}
}

func checkpointTest(t testing.TB, s *Shard) {
	t.Helper()
	if err := s.Checkpoint(testTime); err != nil {
		t.Fatalf("Checkpoint: %v", err)
	}
}

// fill defines space s as event 1 and observes events 2..last, a flush each, with a checkpoint after some.
func fill(t testing.TB, s *Shard, last uint64, checkpoints ...uint64) {
	t.Helper()
	put(t, s, defineTest(1, "s", 2))
	for sequence := uint64(2); sequence <= last; sequence++ {
		put(t, s, observeTest(sequence))
		if slices.Contains(checkpoints, sequence) {
			checkpointTest(t, s)
		}
	}
}

// wantThrough checks that a shard that fill filled holds everything through a sequence, and nothing else.
func wantThrough(t testing.TB, s *Shard, last uint64) {
	t.Helper()
	if s.Appended() != last {
		t.Fatalf("Appended() = %d, want %d", s.Appended(), last)
	}
	if last == 0 {
		if all := s.AllStats(); len(all) != 0 {
			t.Fatalf("there are spaces in an empty shard: %+v", all)
		}
		return
	}
	rows, _, err := s.List("s", 0, 1000, testTime)
	if err != nil || len(rows) != int(last-1) {
		t.Fatalf("List = %d rows, %v; want %d", len(rows), err, last-1)
	}
	for _, row := range rows {
		want := observeTest(last)
		last--
		if row.Sequence != want.Sequence || row.ID != want.ID || !bytes.Equal(row.Vector, want.Vector) || !bytes.Equal(row.Body, want.Body) {
			t.Fatalf("row %q at %d with body %q, want that of %d", row.ID, row.Sequence, row.Body, want.Sequence)
		}
	}
}

// A disk is the content of a shard's directory.
type disk map[string][]byte

func readDisk(t testing.TB, dir string) disk {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	d := disk{}
	for _, path := range paths {
		if d[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// write makes a directory hold the disk and nothing else.
func (d disk) write(t testing.TB, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	there := readDisk(t, dir)
	for name := range there {
		if d[name] == nil {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, b := range d {
		if old, ok := there[name]; ok && bytes.Equal(old, b) {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// with returns a copy of the disk in which one file is another, or gone when it is nil.
func (d disk) with(name string, b []byte) disk {
	c := maps.Clone(d)
	if c[name] = b; b == nil {
		delete(c, name)
	}
	return c
}

func (d disk) equal(o disk) bool { return maps.EqualFunc(d, o, bytes.Equal) }

// wantRefused checks that a directory cannot be opened, for one of the reasons, and that nothing in it was changed.
func wantRefused(t testing.TB, dir string, d disk, opt Options, reasons ...error) {
	t.Helper()
	d.write(t, dir)
	s, rec, err := Open(dir, testSource, opt)
	if err == nil {
		s.Abandon()
		t.Fatalf("Open found nothing wrong: %+v", rec)
	}
	if !slices.ContainsFunc(reasons, func(reason error) bool { return errors.Is(err, reason) }) {
		t.Fatalf("Open = %v, want an error that is one of %v", err, reasons)
	}
	if !readDisk(t, dir).equal(d) {
		t.Fatalf("Open = %v, and changed what is on the disk", err)
	}
}

// layout walks the records of a segment and returns where each begins, and at the end where the last one ends.
func layout(t testing.TB, b []byte) (offsets []int, records []record) {
	t.Helper()
	at := segmentHeader
	for at < len(b) {
		rec, err := parseRecord(b[at:])
		if err != nil {
			t.Fatalf("the record at %d: %v", at, err)
		}
		offsets, records = append(offsets, at), append(records, rec)
		at += int(rec.length)
	}
	return append(offsets, at), records
}
