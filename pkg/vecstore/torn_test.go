package vecstore

import (
	"errors"
	"fmt"
	"testing"
)

var unusable = []error{ErrCorrupt, ErrVersion, ErrSource}

// filledDisk is a directory with three segments. The last checkpoint is in the segment of that number.
func filledDisk(t *testing.T, checkpointIn int) disk {
	t.Helper()
	dir := t.TempDir()
	s := openTest(t, dir, Options{SegmentSize: 470})
	fill(t, s, 11, map[int][]uint64{0: {}, 1: {3}, 2: {3, 7}, 3: {3, 7, 10}}[checkpointIn]...)
	d := readDisk(t, dir)
	if len(d) != 3 {
		t.Fatalf("%d segments, want 3", len(d))
	}
	for number := 1; number <= 3; number++ {
		has := false
		_, records := layout(t, d[segmentName(number)])
		for _, rec := range records {
			has = has || rec.kind == kindCheckpoint
		}
		if has && number > checkpointIn || !has && number == checkpointIn {
			t.Fatalf("segment %d has a checkpoint: %t", number, has)
		}
	}
	return d
}

// durableEnd returns the segment and the offset of the last checkpoint record of a disk: what is below it was durable.
func durableEnd(t *testing.T, d disk) (segment, offset int) {
	t.Helper()
	for number := 1; number <= len(d); number++ {
		offsets, records := layout(t, d[segmentName(number)])
		for i, rec := range records {
			if rec.kind == kindCheckpoint {
				segment, offset = number, offsets[i]
			}
		}
	}
	return segment, offset
}

// through returns the sequence that the whole records of a disk below a place in it end with.
func through(t *testing.T, d disk, segment, offset int) (last uint64) {
	t.Helper()
	for number := 1; number <= segment; number++ {
		offsets, records := layout(t, d[segmentName(number)])
		for i, rec := range records {
			if number == segment && offsets[i+1] > offset {
				return last
			}
			last = max(last, rec.sequence)
		}
	}
	return last
}

// damage opens a damaged disk, whose first bad byte is at a place. Below the last checkpoint it must be refused, above
// it everything before the damage must be there, and what comes next must find its place behind that.
func damage(t *testing.T, dir string, good, bad disk, segment, offset int) {
	t.Helper()
	if s, o := durableEnd(t, good); segment < s || segment == s && offset < o {
		wantRefused(t, dir, bad, Options{}, unusable...)
		wantRefused(t, dir, bad, Options{Distrust: true}, unusable...)
		return
	}
	bad.write(t, dir)
	s, _, err := Open(dir, testSource, Options{SegmentSize: 470})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	last := through(t, good, segment, offset)
	wantThrough(t, s, last)
	if last == 0 {
		put(t, s, defineTest(1, "s", 2))
		last = 1
	}
	put(t, s, observeTest(last+1), observeTest(last+2))
	if err := s.Abandon(); err != nil {
		t.Fatal(err)
	}
	s, rec, err := Open(dir, testSource, Options{})
	if err != nil || rec.Torn != 0 {
		t.Fatalf("Open after the repair = %+v, %v", rec, err)
	}
	defer s.Abandon()
	wantThrough(t, s, last+2)
}

func TestTruncationOfTheLastSegment(t *testing.T) {
	t.Parallel()
	good, dir := filledDisk(t, 2), t.TempDir()
	for n := range good[segmentName(3)] {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			damage(t, dir, good, good.with(segmentName(3), good[segmentName(3)][:n]), 3, n)
		})
	}
}

// TestTruncationWithCheckpoint cuts a checkpoint off with what it covers. No file can tell that there was one; what is
// left is an earlier state, whole and with its own position.
func TestTruncationWithCheckpoint(t *testing.T) {
	good, dir := filledDisk(t, 3), t.TempDir()
	for n := range good[segmentName(3)] {
		good.with(segmentName(3), good[segmentName(3)][:n]).write(t, dir)
		s, _, err := Open(dir, testSource, Options{})
		if err != nil {
			t.Fatalf("Open with %d bytes: %v", n, err)
		}
		wantThrough(t, s, through(t, good, 3, n))
		if s.Durable() > s.Appended() {
			t.Fatalf("durable is %d, appended %d", s.Durable(), s.Appended())
		}
		s.Abandon()
	}
}

// TestTruncationWithin cuts an earlier segment off, at the ends of its records too, where it looks whole.
func TestTruncationWithin(t *testing.T) {
	for _, checkpointIn := range []int{0, 1, 2, 3} {
		good, dir := filledDisk(t, checkpointIn), t.TempDir()
		for number := 1; number <= 2; number++ {
			b := good[segmentName(number)]
			offsets, _ := layout(t, b)
			for _, end := range offsets {
				for _, n := range []int{end - 1, end, end + 1, end + 8, end + recordHeader} {
					if n >= len(b) {
						continue
					}
					t.Run(fmt.Sprintf("checkpoint in %d/%s to %d", checkpointIn, segmentName(number), n), func(t *testing.T) {
						if s, o := durableEnd(t, good); number == s && n < o {
							return // takes the last checkpoint away: see TestTruncationWithCheckpoint
						}
						damage(t, dir, good, good.with(segmentName(number), b[:n]), number, n)
					})
				}
			}
		}
	}
}

// TestFlippedBytes changes every byte of a row log, one at a time.
func TestFlippedBytes(t *testing.T) {
	t.Parallel()
	flips := []byte{0x01, 0x80, 0xff, 0x10}
	good, dir := filledDisk(t, 2), t.TempDir()
	for number := 1; number <= 3; number++ {
		name := segmentName(number)
		offsets, _ := layout(t, good[name])
		start := 0
		for i := range good[name] {
			b := append([]byte(nil), good[name]...)
			b[i] ^= flips[(i+i/8)%len(flips)]
			if i < segmentHeader {
				// A loss of power leaves a header whole or zero, so a wrong one is never a torn one.
				wantRefused(t, dir, good.with(name, b), Options{}, unusable...)
				continue
			}
			if i == offsets[0] {
				start, offsets = offsets[0], offsets[1:]
			}
			t.Run(fmt.Sprintf("%s at %d", name, i), func(t *testing.T) {
				damage(t, dir, good, good.with(name, b), number, start)
			})
		}
	}
}

// TestZeroedBlocks is what a loss of power leaves of bytes whose block was never written.
func TestZeroedBlocks(t *testing.T) {
	for _, checkpointIn := range []int{0, 1, 2, 3} {
		good, dir := filledDisk(t, checkpointIn), t.TempDir()
		for number := 1; number <= 3; number++ {
			name := segmentName(number)
			offsets, _ := layout(t, good[name])
			for _, start := range append([]int{0}, offsets[:len(offsets)-1]...) {
				b := append([]byte(nil), good[name]...)
				clear(b[start:min(start+512, len(b))])
				t.Run(fmt.Sprintf("checkpoint in %d/%s at %d", checkpointIn, name, start), func(t *testing.T) {
					if s, o := durableEnd(t, good); number == s && start <= o && start+512 > o {
						good.with(name, b).write(t, dir) // the last checkpoint is gone with it: an earlier state, or refused
						shard, _, err := Open(dir, testSource, Options{})
						if err == nil {
							defer shard.Abandon()
							wantThrough(t, shard, through(t, good, number, start))
						} else if !errors.Is(err, ErrCorrupt) {
							t.Fatalf("Open: %v", err)
						}
						return
					}
					damage(t, dir, good, good.with(name, b), number, start)
				})
			}
		}
	}
}

func TestMissingSegments(t *testing.T) {
	good, dir := filledDisk(t, 3), t.TempDir()
	wantRefused(t, dir, good.with(segmentName(1), nil), Options{}, ErrCorrupt)
	wantRefused(t, dir, good.with(segmentName(2), nil), Options{}, ErrCorrupt)
	wantRefused(t, dir, good.with(segmentName(2), nil), Options{Distrust: true}, ErrCorrupt)
	wantRefused(t, dir, good.with(segmentName(2), good[segmentName(3)]), Options{}, ErrCorrupt)
	wantRefused(t, dir, good.with(segmentName(4), good[segmentName(3)]), Options{}, ErrCorrupt)
	wantRefused(t, dir, good.with("rows-4.seg", good[segmentName(3)]), Options{}, ErrCorrupt)

	// Without the last segment it is an earlier state.
	good.with(segmentName(3), nil).with("another.file", []byte("x")).write(t, dir)
	wantThrough(t, openTest(t, dir, Options{}), through(t, good, 2, 1<<20))
}

// TestSegmentOfAnotherLife puts a segment of the same number and source into a log that is shorter where it begins.
func TestSegmentOfAnotherLife(t *testing.T) {
	good, dir := filledDisk(t, 3), t.TempDir()
	offsets, _ := layout(t, good[segmentName(2)])
	for _, end := range offsets[:len(offsets)-1] {
		wantRefused(t, dir, good.with(segmentName(2), good[segmentName(2)][:end]), Options{}, ErrCorrupt)
	}
	long := append(append([]byte(nil), good[segmentName(2)]...), good[segmentName(3)][segmentHeader:]...)
	wantRefused(t, dir, good.with(segmentName(2), long), Options{}, ErrCorrupt)
}
