package rows

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

func FuzzParseRecord(f *testing.F) {
	for sequence := range uint64(8) {
		rec, _ := event(sequence + 1)
		b, err := appendRecord(nil, &rec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	rec := Record{Kind: KindObserve, Space: 1, Vector: make([]byte, 400), Body: bytes.Repeat([]byte("x"), 300)}
	raw, err := appendRecord(nil, &rec)
	if err != nil {
		f.Fatal(err)
	}
	packed, _ := packRecord(nil, raw, nil)
	f.Add(packed)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = slices.Clone(b)
		if n, err := recordLength(b); err == nil && n <= len(b) {
			// Most inputs would end at the checksum.
			copy(b, u32(checksum(b[4:n])))
		}
		rec, n, scratch, err := parseRecord(b, nil)
		if cap(scratch) > MaxRecord {
			t.Fatalf("%d bytes were allocated for a record of %d", cap(scratch), len(b))
		}
		if err != nil {
			if err != errTorn && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if n > len(b) || cap(rec.Vector) != len(rec.Vector) || cap(rec.ID) != len(rec.ID) || cap(rec.Body) != len(rec.Body) {
			t.Fatalf("a record of %d bytes out of %d", n, len(b))
		}
		entries := 0
		var e Entry
		if err := testKey.entries(&rec, 8, &e, func() error { entries++; return nil }); err != nil || entries == 0 {
			t.Fatalf("a record with %d entries, %v", entries, err)
		}
		c, err := appendRecord(nil, &rec)
		if err != nil {
			t.Fatalf("what was parsed cannot be encoded: %v", err)
		}
		got, _, _, err := parseRecord(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantRecord(t, got, rec)
		c, _ = packRecord(nil, b[:n], nil)
		if got, _, _, err = parseRecord(c, nil); err != nil || len(c) > n {
			t.Fatalf("compressed from %d to %d bytes: %v", n, len(c), err)
		}
		wantRecord(t, got, rec)
	})
}

func FuzzParseDefinition(f *testing.F) {
	rec, _ := event(1)
	f.Add(rec.Body)
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDefinition(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if got, err := ParseDefinition(AppendDefinition(nil, &d)); err != nil || got != d {
			t.Fatalf("%+v came back as %+v, %v", d, got, err)
		}
	})
}

func FuzzParseIDs(f *testing.F) {
	rec, _ := event(7)
	f.Add(rec.Body)
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ids, err := ParseIDs(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		total := 0
		var again []byte
		for _, id := range ids {
			total += len(id)
			again = appendString(again, id)
		}
		if got, err := ParseIDs(again); err != nil || !slices.Equal(got, ids) || total > len(b) {
			t.Fatalf("%q came back as %q, %v", ids, got, err)
		}
	})
}

func FuzzParseSegmentHeader(f *testing.F) {
	f.Add(appendSegmentHeader(nil, 1, testSource))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = slices.Clone(b)
		if len(b) >= segmentHeader {
			copy(b[segmentHeader-4:], u32(checksum(b[:segmentHeader-4])))
		}
		id, src, err := parseSegmentHeader(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		if gotID, got, err := parseSegmentHeader(appendSegmentHeader(nil, id, src)); err != nil || got != src || gotID != id {
			t.Fatalf("%d, %+v came back as %d, %+v, %v", id, src, gotID, got, err)
		}
	})
}

// smallDisk is a log of one segment.
func smallDisk(t testing.TB) disk {
	t.Helper()
	w := newWorld(t, 0)
	l, _ := w.open(Verified)
	fill(t, l, 1, 9, 5)
	l.Close()
	return w.disk()
}

// FuzzOpen opens a directory whose one segment and its index hold anything. With whole, the checksums are made right
// first, so that what is behind them is reached.
func FuzzOpen(f *testing.F) {
	good := smallDisk(f)
	seg, idx := good.files[segmentName(1)], good.files[indexName(1)]
	f.Add(seg, idx, false, uint8(Verified))
	f.Add(seg, idx, true, uint8(Verified))
	f.Add(seg, idx, true, uint8(Trusted))
	f.Add(seg, idx[:len(idx)-indexEntry], true, uint8(Trusted))
	f.Add(seg, idx[:len(idx)-indexEntry-1], true, uint8(Distrusted))
	f.Add(seg[:len(seg)-20], idx, false, uint8(Trusted))
	f.Add([]byte("ENGROWS"), []byte("ENGRIDX"), false, uint8(Verified))
	f.Add(make([]byte, 300), make([]byte, 300), false, uint8(Distrusted))
	f.Fuzz(func(t *testing.T, seg, idx []byte, whole bool, mode uint8) {
		seg, idx = slices.Clone(seg), slices.Clone(idx)
		if whole {
			makeWhole(seg, idx)
		}
		d := disk{map[string][]byte{segmentName(1): seg, indexName(1): idx}, []Segment{{ID: 1}}, 2}
		w := d.world(t, 0)
		opt := w.options(Mode(mode % 3))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		l, rec, err := Open(w.fs, testDir, testSource, opt)
		runtime.ReadMemStats(&after)
		if n, most := after.TotalAlloc-before.TotalAlloc, uint64(8<<20+64*(len(seg)+len(idx))); n > most {
			t.Fatalf("opening %d and %d bytes allocated %d, more than %d", len(seg), len(idx), n, most)
		}
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrSource) {
				t.Fatalf("Open = %v, which says nothing that a caller can decide on", err)
			}
			if !w.disk().equal(d) {
				t.Fatalf("Open = %v, and changed a file", err)
			}
			return
		}
		defer l.Close()
		// An index that somebody has forged, checksums and all, is believed by who trusts it.
		forged := whole && rec.Mode == Trusted
		entries := slices.Clone(w.entries)
		for _, e := range entries {
			if _, _, err := l.Read(e.Ref, nil); err != nil && !(forged && errors.Is(err, ErrCorrupt)) {
				t.Fatalf("Read of %+v: %v", e, err)
			}
		}
		// What was kept is kept the next time, however it is opened.
		for _, mode := range []Mode{Trusted, Verified} {
			again, second, err := Open(w.fs, testDir, testSource, w.options(mode))
			if forged && mode == Verified {
				if err == nil {
					again.Close()
				} else if !errors.Is(err, ErrCorrupt) {
					t.Fatal(err)
				}
				return
			}
			if err != nil || second.Mode != mode || second.Torn != 0 || second.IndexRepaired != 0 || again.Appended() != l.Appended() ||
				rec.Mode != Distrusted && !slices.Equal(w.entries, entries) {
				t.Fatalf("opened again: %+v, %v; the first time %+v", second, err, rec)
			}
			again.Close()
		}
	})
}

// makeWhole makes the headers ones that are taken and gives each record and each entry its right checksum.
func makeWhole(seg, idx []byte) {
	if len(seg) < segmentHeader {
		return
	}
	copy(seg, appendSegmentHeader(nil, 1, testSource))
	for at := segmentHeader; ; {
		n, err := recordLength(seg[at:])
		if err != nil || n > len(seg)-at {
			break
		}
		copy(seg[at:], u32(checksum(seg[at+4:at+n])))
		at += n
	}
	for at := 0; at+indexEntry <= len(idx); at += indexEntry {
		if at == 0 {
			copy(idx, appendIndexHeader(nil, 1, seg[:segmentHeader], &testKey))
		} else {
			copy(idx[at:], u32(checksum(idx[at+4:at+indexEntry])))
		}
	}
}

func FuzzDump(f *testing.F) {
	good := smallDisk(f)
	for _, b := range good.files {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := Dump(io.Discard, bytes.NewReader(b), int64(len(b)))
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
	})
}

func FuzzCheckNew(f *testing.F) {
	f.Add("rows-00000001.seg", []byte(segmentMagic))
	f.Add("rows-1.seg", []byte{})
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		if name != filepath.Base(name) || name == "." || name == ".." {
			return
		}
		w := disk{files: map[string][]byte{name: b}}.world(t, 0)
		id, ok := fileID(name)
		err := CheckNew(w.fs, testDir)
		if want := ok && name == segmentName(id); want != (errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion)) {
			t.Fatalf("CheckNew with %q = %v", name, err)
		}
	})
}
