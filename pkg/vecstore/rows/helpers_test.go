package rows

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/vfs"
)

const testDir = "shard-3"

var (
	testSource = Source{Epoch: "abcdef", Shard: 3, CreatedAt: 1_700_000_000_123_456_789}
	testKey    = HashKey{0: 1, 1: 2, 31: 3}
	testTime   = time.Unix(1_800_000_000, 0)
	unusable   = []error{ErrCorrupt, ErrVersion, ErrSource}
)

// world is a directory, its manifest, which is kept in memory, and what the last open has replayed.
type world struct {
	testing.TB
	fs   vfs.FS
	size int64
	list []Segment
	next uint32
	maps *Maps
	// commit, if it is set, is asked before a list is stored.
	commit func() error

	entries  []Entry
	records  []Record // of the entries, in memory of their own
	restarts int
}

func newWorld(t testing.TB, size int64) *world { return &world{TB: t, fs: vfs.NewMem(), size: size} }

func (w *world) options(mode Mode) Options {
	w.entries, w.records, w.restarts = nil, nil, 0
	return Options{
		Mode: mode, SegmentSize: w.size, HashKey: testKey, Segments: w.list, NextID: w.next, Maps: w.maps,
		Commit: func(list []Segment, next uint32) error {
			if w.commit != nil {
				if err := w.commit(); err != nil {
					return err
				}
			}
			if err := CheckSegments(list, next); err != nil {
				w.Errorf("Commit of a list that cannot be: %v", err)
			}
			w.list, w.next = list, next
			return nil
		},
		Replay: func(e *Entry, body func() (Record, error)) error {
			rec, err := body()
			if err != nil {
				return err
			}
			w.entries = append(w.entries, *e)
			w.records = append(w.records, copyRecord(rec))
			return nil
		},
		Restart: func() { w.entries, w.records, w.restarts = nil, nil, w.restarts+1 },
	}
}

func copyRecord(r Record) Record {
	r.Vector, r.ID, r.Body = bytes.Clone(r.Vector), bytes.Clone(r.ID), bytes.Clone(r.Body)
	return r
}

// open opens the log, which the end of the test closes.
func (w *world) open(mode Mode) (*Log, Recovery) {
	w.Helper()
	l, rec, err := Open(w.fs, testDir, testSource, w.options(mode))
	if err != nil {
		w.Fatalf("Open: %v", err)
	}
	w.Cleanup(func() { l.Close() })
	return l, rec
}

// event returns the event of a sequence: a define of space 1 as the first one, a forget as every seventh, and observations.
func event(sequence uint64) (Record, []string) {
	rec := Record{Space: 1, Sequence: sequence, Published: int64(sequence) + 1_000_000}
	switch {
	case sequence == 1:
		rec.Kind = KindDefine
		rec.Body = AppendDefinition(nil, &Definition{Name: "s", Dimension: 2, Metric: 3, Generation: 1, Engine: "exact"})
		return rec, nil
	case sequence%7 == 0:
		rec.Kind = KindForget
		ids := []string{fmt.Sprint(sequence - 1), "", fmt.Sprint(sequence - 2)}
		for _, id := range ids {
			rec.Body = appendString(rec.Body, id)
		}
		return rec, ids
	}
	id := fmt.Sprint(sequence)
	rec.Kind, rec.Encoding, rec.ID = KindObserve, Encoding(sequence%3), []byte(id)
	rec.Vector = bytes.Repeat([]byte{byte(sequence)}, rec.Encoding.Size(2))
	rec.Body = fmt.Appendf(nil, "body %d", sequence)
	if sequence%5 == 0 {
		rec.Expires = int64(sequence)
	}
	return rec, []string{id}
}

func add(t testing.TB, l *Log, sequence uint64) {
	t.Helper()
	rec, ids := event(sequence)
	if err := l.Add(&rec, ids...); err != nil {
		t.Fatalf("Add of %d: %v", sequence, err)
	}
}

func flush(t testing.TB, l *Log) []Ref {
	t.Helper()
	refs, err := l.Flush()
	if err != nil {
		t.Fatalf("Flush: %v", err)
	}
	return slices.Clone(refs)
}

func checkpoint(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Checkpoint(testTime); err != nil {
		t.Fatalf("Checkpoint: %v", err)
	}
}

// fill writes events first..last, a flush each, with a checkpoint after some, and returns the refs.
func fill(t testing.TB, l *Log, first, last uint64, checkpoints ...uint64) (refs []Ref) {
	t.Helper()
	for sequence := first; sequence <= last; sequence++ {
		add(t, l, sequence)
		refs = append(refs, flush(t, l)...)
		if slices.Contains(checkpoints, sequence) {
			checkpoint(t, l)
		}
	}
	return refs
}

// wantThrough checks that what was replayed is the events through a sequence, each entry and each record, and that each
// record can be read.
func (w *world) wantThrough(l *Log, last uint64) {
	w.Helper()
	if l.Appended() != last {
		w.Fatalf("Appended() = %d, want %d", l.Appended(), last)
	}
	w.wantEvents(l, func(sequence uint64) bool { return sequence <= last })
}

// wantEvents checks that what was replayed is the events that are kept, up to Appended.
func (w *world) wantEvents(l *Log, kept func(sequence uint64) bool) {
	w.Helper()
	i := 0
	var buf []byte
	for sequence := uint64(1); sequence <= l.Appended(); sequence++ {
		if !kept(sequence) {
			continue
		}
		want, ids := event(sequence)
		for n := range max(1, len(ids)) {
			for i < len(w.entries) && w.entries[i].Kind == KindCheckpoint {
				i++
			}
			if i == len(w.entries) {
				w.Fatalf("only %d entries, and none of %d", len(w.entries), sequence)
			}
			e := w.entries[i]
			wantEntry := Entry{
				Kind: want.Kind, Encoding: want.Encoding, first: n == 0, Space: 1, Sequence: sequence, Expires: want.Expires, Ref: e.Ref,
			}
			if len(ids) > 0 {
				wantEntry.Key, wantEntry.Size = testKey.Key(ids[n]), uint32(len(want.Vector)+len(ids)-1-n)
			}
			if e != wantEntry {
				w.Fatalf("entry %d is %+v, want %+v", i, e, wantEntry)
			}
			wantRecord(w, w.records[i], want)
			rec, grown, err := l.Read(e.Ref, buf)
			if err != nil {
				w.Fatalf("Read of %d: %v", sequence, err)
			}
			wantRecord(w, rec, want)
			buf = grown
			i++
		}
	}
	for ; i < len(w.entries); i++ {
		if w.entries[i].Kind != KindCheckpoint {
			w.Fatalf("there is an entry too much: %+v", w.entries[i])
		}
	}
}

func wantRecord(t testing.TB, got, want Record) {
	t.Helper()
	same := got.Kind == want.Kind && got.Encoding == want.Encoding && got.Space == want.Space && got.Sequence == want.Sequence &&
		got.Published == want.Published && got.Expires == want.Expires
	if !same || !bytes.Equal(got.Vector, want.Vector) || !bytes.Equal(got.ID, want.ID) || !bytes.Equal(got.Body, want.Body) {
		t.Fatalf("the record is %+v, want %+v", got, want)
	}
}

// A disk is the content of a world's directory, and its manifest.
type disk struct {
	files map[string][]byte
	list  []Segment
	next  uint32
}

func (w *world) disk() disk {
	w.Helper()
	d := disk{map[string][]byte{}, w.list, w.next}
	names, err := w.fs.List(testDir)
	if err != nil {
		w.Fatal(err)
	}
	for _, name := range names {
		d.files[name] = readFile(w, w.fs, filepath.Join(testDir, name))
	}
	return d
}

func readFile(t testing.TB, fsys vfs.FS, name string) []byte {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// world makes a new directory that holds the disk.
func (d disk) world(t testing.TB, size int64) *world {
	t.Helper()
	w := newWorld(t, size)
	w.list, w.next = d.list, d.next
	if err := w.fs.MkdirAll(testDir); err != nil {
		t.Fatal(err)
	}
	for name, b := range d.files {
		f, err := w.fs.Create(filepath.Join(testDir, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return w
}

// with returns a copy of the disk in which one file is another, or gone when it is nil.
func (d disk) with(name string, b []byte) disk {
	d.files = maps.Clone(d.files)
	if d.files[name] = b; b == nil {
		delete(d.files, name)
	}
	return d
}

// flipped returns a copy in which one byte of a file is another.
func (d disk) flipped(name string, at int, flip byte) disk {
	b := bytes.Clone(d.files[name])
	b[at] ^= flip
	return d.with(name, b)
}

func (d disk) equal(o disk) bool {
	return maps.EqualFunc(d.files, o.files, bytes.Equal) && slices.Equal(d.list, o.list)
}

// namedTwice is a message about a file that is in one about a file: "rows-1.seg: … rows-1.seg is …".
var namedTwice = regexp.MustCompile(`rows-\d+\.\w+: .*rows-\d+\.\w+`)

// wantRefused checks that a disk cannot be opened, for one of the reasons, and that nothing of it is changed.
func wantRefused(t testing.TB, d disk, mode Mode, reasons ...error) {
	t.Helper()
	w := d.world(t, 0)
	l, rec, err := Open(w.fs, testDir, testSource, w.options(mode))
	if err == nil {
		l.Close()
		t.Fatalf("Open found nothing wrong: %+v", rec)
	}
	if !slices.ContainsFunc(reasons, func(reason error) bool { return errors.Is(err, reason) }) {
		t.Fatalf("Open = %v, want an error that is one of %v", err, reasons)
	}
	if said := namedTwice.FindString(err.Error()); said != "" {
		t.Fatalf("Open = %v, which says of one file what is said of another: %s", err, said)
	}
	if !w.disk().equal(d) {
		t.Fatalf("Open = %v, and changed what is on the disk", err)
	}
}

// layout walks the records of a segment and returns where each begins, and at the end where the last one ends.
func layout(t testing.TB, b []byte) (offsets []int, records []Record) {
	t.Helper()
	at := segmentHeader
	for at < len(b) {
		rec, n, _, err := parseRecord(b[at:], nil)
		if err != nil {
			t.Fatalf("the record at %d: %v", at, err)
		}
		offsets, records = append(offsets, at), append(records, rec)
		at += n
	}
	return append(offsets, at), records
}
