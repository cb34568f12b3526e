package rows

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// smallSegment makes three segments of the events that filledDisk writes.
const smallSegment = 560

// filledDisk is a directory with three segments. The last checkpoint is in the segment of that number, if it is not 0.
func filledDisk(t testing.TB, checkpointIn int) disk {
	t.Helper()
	w := newWorld(t, smallSegment)
	l, _ := w.open(Verified)
	fill(t, l, 1, 14, map[int][]uint64{0: {}, 1: {3}, 2: {3, 8}, 3: {3, 8, 12}}[checkpointIn]...)
	l.Close()
	d := w.disk()
	if len(d.list) != 3 {
		t.Fatalf("%d segments, want 3", len(d.list))
	}
	for number := 1; number <= 3; number++ {
		_, records := layout(t, d.files[segmentName(uint32(number))])
		has := false
		for _, rec := range records {
			has = has || rec.Kind == KindCheckpoint
		}
		if has && number > checkpointIn || !has && number == checkpointIn {
			t.Fatalf("segment %d has a checkpoint: %t", number, has)
		}
	}
	return d
}

// durableEnd returns up to where the last checkpoint of a disk vouches.
func durableEnd(t testing.TB, d disk) (segment, offset int) {
	t.Helper()
	for number := 1; number <= len(d.list); number++ {
		_, records := layout(t, d.files[segmentName(uint32(number))])
		for _, rec := range records {
			if rec.Kind == KindCheckpoint {
				p := parseCheckpoint(rec.Body)
				segment, offset = int(p.file), int(p.offset)
			}
		}
	}
	return segment, offset
}

// through returns the sequence that the whole records of a disk below a place in it end with.
func through(t testing.TB, d disk, segment, offset int) (last uint64) {
	t.Helper()
	for number := 1; number <= segment; number++ {
		offsets, records := layout(t, d.files[segmentName(uint32(number))])
		for i, rec := range records {
			if number == segment && offsets[i+1] > offset {
				return last
			}
			last = max(last, rec.Sequence)
		}
	}
	return last
}

// damage opens a damaged disk, whose first bad byte is in the record at a place. Below what a checkpoint vouches for it must
// be refused, above it everything before the damage must be there, and what comes next must find its place behind that.
func damage(t *testing.T, good, bad disk, segment, offset int) {
	t.Helper()
	if s, o := durableEnd(t, good); segment < s || segment == s && offset < o {
		wantRefused(t, bad, Verified, unusable...)
		wantRefused(t, bad, Distrusted, unusable...)
		return
	}
	w := bad.world(t, smallSegment)
	l, _ := w.open(Verified)
	last := through(t, good, segment, offset)
	w.wantThrough(l, last)
	fill(t, l, last+1, last+2)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []Mode{Trusted, Verified} {
		l, rec := w.open(mode)
		if rec.Mode != mode || rec.Torn != 0 || rec.IndexRepaired != 0 {
			t.Fatalf("Open after the repair = %+v", rec)
		}
		w.wantThrough(l, last+2)
		l.Close()
	}
}

func TestTruncationOfTheLastSegment(t *testing.T) {
	t.Parallel()
	good, name := filledDisk(t, 2), segmentName(3)
	for n := range good.files[name] {
		bad := good.with(name, good.files[name][:n])
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			if n < segmentHeader {
				// The header was durable before the segment was named.
				wantRefused(t, bad, Verified, ErrCorrupt)
				wantRefused(t, bad, Trusted, ErrCorrupt)
				return
			}
			damage(t, good, bad, 3, n)
		})
	}
}

// TestTruncationWithCheckpoint cuts a checkpoint off with what it covers. Only a list that was sealed can tell that there was
// one; what is left else is an earlier state, whole and with its own position.
func TestTruncationWithCheckpoint(t *testing.T) {
	good, name := filledDisk(t, 3), segmentName(3)
	w := good.world(t, smallSegment)
	l, _ := w.open(Verified)
	checkpoint(t, l)
	sealed := l.Sealed()
	end := int(sealed[2].Length)
	l.Close()
	good = w.disk()
	for n := segmentHeader; n < len(good.files[name]); n++ {
		bad := good.with(name, good.files[name][:n])
		w := bad.world(t, 0)
		l, _ := w.open(Verified)
		w.wantThrough(l, through(t, good, 3, n))
		if l.Durable() > l.Appended() {
			t.Fatalf("durable is %d, appended %d", l.Durable(), l.Appended())
		}
		l.Close()

		bad.list = sealed
		if n < end {
			wantRefused(t, bad, Verified, ErrCorrupt)
			wantRefused(t, bad, Distrusted, ErrCorrupt)
			wantRefused(t, bad, Trusted, ErrCorrupt)
			continue
		}
		w = bad.world(t, 0)
		l, _ = w.open(Verified)
		w.wantThrough(l, 14)
		if l.Durable() != 14 {
			t.Fatalf("durable is %d of a sealed log, want 14", l.Durable())
		}
		if got := l.Sealed(); got[2].Length < int64(end) {
			t.Fatalf("Sealed() = %+v, want no less than %+v", got, sealed)
		}
	}
}

// TestTruncationWithin cuts an earlier segment off, at the ends of its records too, where it looks whole.
func TestTruncationWithin(t *testing.T) {
	for _, checkpointIn := range []int{0, 1, 2, 3} {
		good := filledDisk(t, checkpointIn)
		for number := 1; number <= 2; number++ {
			name := segmentName(uint32(number))
			b := good.files[name]
			offsets, _ := layout(t, b)
			for _, end := range offsets {
				for _, n := range []int{end - 1, end, end + 1, end + 8, end + recordHeader} {
					if n >= len(b) || n < segmentHeader {
						continue
					}
					t.Run(fmt.Sprintf("checkpoint in %d/%s to %d", checkpointIn, name, n), func(t *testing.T) {
						bad := good.with(name, b[:n])
						if s, o := durableEnd(t, good); number == s && n < o {
							w := bad.world(t, 0) // takes the last checkpoint away: see TestTruncationWithCheckpoint
							l, _ := w.open(Verified)
							w.wantThrough(l, through(t, good, number, n))
							return
						}
						damage(t, good, bad, number, n)
					})
				}
			}
		}
	}
}

// flips are what bytes are changed by.
var flips = []byte{0x01, 0x80, 0xff, 0x10}

// TestFlippedSegments changes every byte of the segments, one at a time.
func TestFlippedSegments(t *testing.T) {
	t.Parallel()
	good := filledDisk(t, 2)
	for number := 1; number <= 3; number++ {
		name := segmentName(uint32(number))
		offsets, _ := layout(t, good.files[name])
		start := 0
		for i := range good.files[name] {
			bad := good.flipped(name, i, flips[(i+i/8)%len(flips)])
			if i < segmentHeader {
				wantRefused(t, bad, Verified, unusable...)
				wantRefused(t, bad, Distrusted, unusable...)
				wantRefused(t, bad, Trusted, unusable...)
				continue
			}
			if i == offsets[0] {
				start, offsets = offsets[0], offsets[1:]
			}
			t.Run(fmt.Sprintf("%s at %d", name, i), func(t *testing.T) {
				damage(t, good, bad, number, start)
				// A trusted open does not look, and whoever reads does.
				w := bad.world(t, 0)
				opt := w.options(Trusted)
				opt.Replay = func(e *Entry, body func() (Record, error)) error {
					_, err := body()
					if want := e.Ref.File() == uint32(number) && e.Ref.Offset() == int64(start); want != errors.Is(err, ErrCorrupt) {
						t.Errorf("body of the record at %v: %v", e.Ref, err)
					}
					return nil
				}
				l, _, err := Open(w.fs, testDir, testSource, opt)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				_, _, err = l.Read(makeRef(uint32(number), int64(start), int64(offsets[0]-start)), nil)
				if !errors.Is(err, ErrCorrupt) {
					t.Fatalf("Read = %v, want ErrCorrupt", err)
				}
			})
		}
	}
}

// TestFlippedIndexes changes every byte of the indexes, and cuts them off everywhere. Nothing may come of it but a repair.
func TestFlippedIndexes(t *testing.T) {
	t.Parallel()
	good := filledDisk(t, 2)
	undetected := 0
	check := func(what string, bad disk, name string) {
		t.Helper()
		for _, mode := range []Mode{Verified, Trusted} {
			w := bad.world(t, 0)
			l, rec := w.open(mode)
			w.wantThrough(l, 14)
			if rec.IndexRepaired == 0 {
				undetected++
				t.Errorf("%v open of %s: %+v", mode, what, rec)
			}
			if rec.IndexRepaired != 1 || len(rec.IndexRepairs) != 1 || !strings.Contains(rec.IndexRepairs[0].Error(), name) || rec.Torn != 0 || !bytes.Equal(w.disk().files[name], good.files[name]) {
				t.Errorf("%v open of %s does not repair it: %+v", mode, what, rec)
			}
			if last := indexName(3); mode == Trusted && rec.Mode == Trusted && name != last {
				t.Errorf("%v open of %s found nothing wrong: %+v", mode, what, rec)
			}
			l.Close()
		}
	}
	for number := uint32(1); number <= 3; number++ {
		name := indexName(number)
		b := good.files[name]
		for i := range b {
			check(fmt.Sprintf("%s flipped at %d", name, i), good.flipped(name, i, flips[(i+i/8)%len(flips)]), name)
			check(fmt.Sprintf("%s cut at %d", name, i), good.with(name, b[:i]), name)
		}
		check(fmt.Sprint("no ", name), good.with(name, nil), name)
		check(fmt.Sprintf("%s with an entry too much", name), good.with(name, append(bytes.Clone(b), b[len(b)-indexEntry:]...)), name)
		check(fmt.Sprintf("%s with a byte too much", name), good.with(name, append(bytes.Clone(b), 0)), name)
		check(fmt.Sprintf("%s of another segment", name), good.with(name, good.files[indexName(number%3+1)]), name)
		for at := indexEntry; at+2*indexEntry <= len(b); at += indexEntry {
			swapped := bytes.Clone(b)
			copy(swapped[at:], b[at+indexEntry:at+2*indexEntry])
			copy(swapped[at+indexEntry:], b[at:at+indexEntry])
			check(fmt.Sprintf("%s with entries swapped at %d", name, at), good.with(name, swapped), name)
			less := append(bytes.Clone(b[:at]), b[at+indexEntry:]...)
			check(fmt.Sprintf("%s without the entry at %d", name, at), good.with(name, less), name)
		}
	}
	if undetected != 0 {
		t.Errorf("%d damaged indexes were not detected", undetected)
	}
}

// TestZeroedBlocks is what a loss of power leaves of bytes whose block was never written.
func TestZeroedBlocks(t *testing.T) {
	for _, checkpointIn := range []int{0, 1, 2, 3} {
		good := filledDisk(t, checkpointIn)
		for number := 1; number <= 3; number++ {
			name := segmentName(uint32(number))
			offsets, _ := layout(t, good.files[name])
			for _, start := range offsets[:len(offsets)-1] {
				b := bytes.Clone(good.files[name])
				clear(b[start:min(start+512, len(b))])
				t.Run(fmt.Sprintf("checkpoint in %d/%s at %d", checkpointIn, name, start), func(t *testing.T) {
					bad := good.with(name, b)
					if s, o := durableEnd(t, good); number == s && start <= o && start+512 > o {
						w := bad.world(t, 0) // the last checkpoint is gone with it: an earlier state, or refused
						l, _, err := Open(w.fs, testDir, testSource, w.options(Verified))
						if err == nil {
							defer l.Close()
							w.wantThrough(l, through(t, good, number, start))
						} else if !errors.Is(err, ErrCorrupt) {
							t.Fatalf("Open: %v", err)
						}
						return
					}
					damage(t, good, bad, number, start)
				})
			}
		}
	}
}

func TestMissingAndStrayFiles(t *testing.T) {
	good := filledDisk(t, 3)
	for _, mode := range []Mode{Verified, Trusted, Distrusted} {
		for number := uint32(1); number <= 3; number++ {
			wantRefused(t, good.with(segmentName(number), nil), mode, ErrCorrupt)
		}
		wantRefused(t, good.with(segmentName(2), good.files[segmentName(3)]), mode, ErrCorrupt)
		wantRefused(t, good.with(segmentName(1), good.files[segmentName(2)]), mode, ErrCorrupt)

		// What the list does not name is removed, and nothing else is.
		strays := good.with(segmentName(9), good.files[segmentName(3)]).with(indexName(8), []byte("x")).
			with("rows-4.seg", []byte("x")).with("rows-00000001.seg.old", []byte("x")).with("another.file", []byte("x"))
		w := strays.world(t, 0)
		l, rec := w.open(mode)
		if mode != Distrusted {
			w.wantThrough(l, 14)
		}
		if got := w.disk(); rec.Strays != 2 || len(got.files) != 9 || got.files[segmentName(9)] != nil {
			t.Errorf("%v: %+v, and %d files", mode, rec, len(got.files))
		}
	}
	for _, list := range [][]Segment{
		{{ID: 1}, {ID: 2}},
		{{ID: 0}},
		{{ID: 4}},
		{good.list[0], good.list[0], {ID: 3}},
		{{ID: 1, Length: 1000}, good.list[1], {ID: 3}},
		{{ID: 1, Length: 120}, good.list[1], {ID: 3}},
		{{ID: 1, Length: good.list[0].Length, Entries: 1}, good.list[1], {ID: 3}},
		{good.list[1], good.list[0], {ID: 3}},
		{good.list[0], good.list[1], {ID: 3, Length: 136, Entries: 1}},
	} {
		bad := good
		bad.list = list
		wantRefused(t, bad, Verified, ErrCorrupt)
		if last := list[len(list)-1]; last.Length == 0 { // a sealed log is not opened as trusted
			wantRefused(t, bad, Trusted, ErrCorrupt)
		}
	}
}

// TestClosedSegmentThatIsLonger has bytes behind the end of a closed segment: of a write that failed, whose removal was
// lost with the power.
func TestClosedSegmentThatIsLonger(t *testing.T) {
	good := filledDisk(t, 3)
	long := append(bytes.Clone(good.files[segmentName(2)]), good.files[segmentName(3)][segmentHeader:]...)
	for _, mode := range []Mode{Trusted, Verified} {
		w := good.with(segmentName(2), long).world(t, 0)
		l, rec := w.open(mode)
		w.wantThrough(l, 14)
		want := int64(0)
		if mode == Verified {
			want = int64(len(long) - len(good.files[segmentName(2)]))
		}
		if rec.Mode != mode || rec.Torn != want || rec.IndexRepaired != 0 {
			t.Errorf("Open = %+v", rec)
		}
	}
}

// What is said of damage names the place, and who vouches for it, whether the log was closed or its process killed.
func TestWhatIsSaidOfDamage(t *testing.T) {
	good := filledDisk(t, 3)
	const said = "opening the row log: corrupt file of the store: rows-00000002.seg "
	for want, bad := range map[string]disk{
		"is missing": good.with(segmentName(2), nil),
		"has no whole record at 128, though the checkpoint at 312 in rows-00000002.seg says that it was durable": good.flipped(segmentName(2), segmentHeader+20, 1),
		"has no whole record at 456, though the checkpoint at 264 in rows-00000003.seg says that it was durable": good.with(segmentName(2), good.files[segmentName(2)][:500]),
	} {
		w := bad.world(t, 0)
		_, _, err := Open(w.fs, testDir, testSource, w.options(Verified))
		if err == nil || err.Error() != said+want {
			t.Errorf("Open = %v, want %s%s", err, said, want)
		}
	}
}
