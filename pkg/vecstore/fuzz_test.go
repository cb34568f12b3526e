package vecstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"reflect"
	"runtime"
	"slices"
	"testing"
)

func FuzzParseRecord(f *testing.F) {
	for _, e := range goldenEvents() {
		b, err := appendRecord(nil, &record{kind: e.Kind, space: 1, sequence: e.Sequence, vector: e.Vector, body: e.Body}, e.ID)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = slices.Clone(b)
		if n, err := recordLength(b); err == nil && n <= len(b) {
			// Most inputs would end at the checksum.
			binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:n], castagnoli))
		}
		rec, err := parseRecord(b)
		if err != nil {
			return
		}
		if int(rec.length) > len(b) || cap(rec.vector) != len(rec.vector) || cap(rec.id) != len(rec.id) || cap(rec.body) != len(rec.body) {
			t.Fatalf("a record of %d bytes out of %d", rec.length, len(b))
		}
		again := rec
		c, err := appendRecord(nil, &again, string(rec.id))
		if err != nil || again.length > rec.length {
			t.Fatalf("what was parsed cannot be encoded: %d bytes for %d, %v", again.length, rec.length, err)
		}
		got, err := parseRecord(c)
		if err != nil {
			t.Fatal(err)
		}
		if got.length = rec.length; !reflect.DeepEqual(got, rec) {
			t.Fatalf("got %+v, want %+v", got, rec)
		}
	})
}

func FuzzParseDefinition(f *testing.F) {
	f.Add(appendDefinition(nil, goldenEvents()[0].Definition))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseDefinition(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if got, err := parseDefinition(appendDefinition(nil, &d)); err != nil || got != d {
			t.Fatalf("%+v came back as %+v, %v", d, got, err)
		}
	})
}

func FuzzParseIDs(f *testing.F) {
	f.Add(appendIDs(nil, goldenEvents()[2].IDs))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ids, err := parseIDs(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		total := 0
		for _, id := range ids {
			total += len(id)
		}
		if got, err := parseIDs(appendIDs(nil, ids)); err != nil || !slices.Equal(got, ids) || total > len(b) {
			t.Fatalf("%q came back as %q, %v", ids, got, err)
		}
	})
}

func FuzzParseSegmentHeader(f *testing.F) {
	f.Add(appendSegmentHeader(nil, segmentInfo{number: 1, src: testSource}))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = slices.Clone(b)
		if len(b) >= segmentHeader {
			binary.LittleEndian.PutUint32(b[segmentHeader-4:], crc32.Checksum(b[:segmentHeader-4], castagnoli))
		}
		info, err := parseSegmentHeader(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		if got, err := parseSegmentHeader(appendSegmentHeader(nil, info)); err != nil || got != info {
			t.Fatalf("%+v came back as %+v, %v", info, got, err)
		}
	})
}

// FuzzOpen opens a directory whose one segment holds anything. With whole, the checksums are made right first, so that
// what is behind them is reached.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	s := openTest(f, dir, Options{})
	put(f, s, goldenEvents()[:3]...)
	checkpointTest(f, s)
	put(f, s, goldenEvents()[3:]...)
	s.Abandon()
	golden := readDisk(f, dir)[segmentName(1)]
	f.Add(golden, false, false)
	f.Add(golden, true, false)
	f.Add(golden, true, true)
	f.Add(golden[:len(golden)-20], false, false)
	f.Add([]byte("ENGROWS"), false, false)
	f.Add(make([]byte, 300), false, true)
	f.Fuzz(func(t *testing.T, b []byte, whole, distrust bool) {
		if b = slices.Clone(b); whole {
			makeWhole(b)
		}
		dir := t.TempDir()
		disk{segmentName(1): b}.write(t, dir)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, rec, err := Open(dir, testSource, Options{Distrust: distrust})
		runtime.ReadMemStats(&after)
		if n, most := after.TotalAlloc-before.TotalAlloc, uint64(8<<20+64*len(b)); n > most {
			t.Fatalf("opening %d bytes allocated %d, more than %d", len(b), n, most)
		}
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrSource) {
				t.Fatalf("Open = %v, which says nothing that a caller can decide on", err)
			}
			if !bytes.Equal(readDisk(t, dir)[segmentName(1)], b) {
				t.Fatalf("Open = %v, and changed the file", err)
			}
			return
		}
		defer s.Abandon()
		if rec.Torn+rec.Bytes != int64(len(b)) {
			t.Fatalf("%+v of %d bytes", rec, len(b))
		}
		rows := 0
		for _, st := range s.AllStats() {
			got, _, err := s.List(st.Definition.Name, 0, 1<<20, testTime)
			if err != nil {
				t.Fatalf("List: %v", err)
			}
			rows += len(got)
		}
		if rows > rec.Records {
			t.Fatalf("%d rows of %d records", rows, rec.Records)
		}
		// What was kept is kept the next time.
		again, second, err := Open(dir, testSource, Options{Distrust: distrust})
		if err != nil || second.Torn != 0 || second.Records != rec.Records || again.Appended() != s.Appended() {
			t.Fatalf("opened again: %+v, %v; the first time %+v", second, err, rec)
		}
		again.Abandon()
	})
}

// makeWhole makes the header one that is taken and gives each record its right checksum.
func makeWhole(b []byte) {
	if len(b) < segmentHeader {
		return
	}
	copy(b, appendSegmentHeader(nil, segmentInfo{number: 1, src: testSource}))
	for at := segmentHeader; ; {
		n, err := recordLength(b[at:])
		if err != nil || n > len(b)-at {
			return
		}
		binary.LittleEndian.PutUint32(b[at:], crc32.Checksum(b[at+4:at+n], castagnoli))
		at += n
	}
}
