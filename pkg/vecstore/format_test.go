package vecstore

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// goldenEvents are the events of the golden row log: one of every kind.
func goldenEvents() []*Event {
	published := int64(0x1800000000000000)
	return []*Event{
		{Sequence: 0x0101, Published: published + 1, Kind: KindDefine, Space: "demo", Definition: &Definition{
			Name: "demo", Dimension: 2, Metric: Cosine, Generation: 7, Embedder: "lexical", Engine: EngineExact, CreatedAt: 0x1717171717171717,
		}},
		{
			Sequence: 0x0102, Published: published + 2, Kind: KindObserve, Space: "demo", ID: "id-1",
			Vector: packed(1, -2), Body: []byte("some body"), ExpiresAt: 0x2929292929292929,
		},
		{Sequence: 0x0103, Published: published + 3, Kind: KindForget, Space: "demo", IDs: []string{"id-1", "", "other"}},
		{Sequence: 0x0104, Published: published + 4, Kind: KindDrop, Space: "demo", Generation: 7},
	}
}

// readGolden reads an annotated dump: bytes in hex, and behind a # what they are.
func readGolden(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for n, line := range strings.Split(string(text), "\n") {
		data, _, _ := strings.Cut(line, "#")
		b, err := hex.DecodeString(strings.ReplaceAll(data, " ", ""))
		if err != nil {
			t.Fatalf("line %d of %s: %v", n+1, name, err)
		}
		all = append(all, b...)
	}
	return all
}

// TestGoldenRowLog holds the format still: what is written today must be what was written by version 1 ever since, and
// what was written then must be read.
func TestGoldenRowLog(t *testing.T) {
	golden := disk{
		segmentName(1): readGolden(t, "rows-00000001.golden"),
		segmentName(2): readGolden(t, "rows-00000002.golden"),
	}
	dir := t.TempDir()
	s := openTest(t, dir, Options{SegmentSize: 310})
	put(t, s, goldenEvents()[:2]...)
	put(t, s, goldenEvents()[2:]...)
	if err := s.Checkpoint(time.Unix(0, 0x1818181818181818)); err != nil {
		t.Fatal(err)
	}
	s.Abandon()
	for name, b := range readDisk(t, dir) {
		if !bytes.Equal(b, golden[name]) {
			t.Errorf("%s is\n%s, want\n%s", name, hex.Dump(b), hex.Dump(golden[name]))
		}
	}
	golden.write(t, dir)
	s, rec, err := Open(dir, testSource, Options{})
	if err != nil || rec.Records != 5 || rec.Torn != 0 {
		t.Fatalf("Open of the golden files = %+v, %v", rec, err)
	}
	defer s.Abandon()
	if s.Appended() != 0x0104 || s.Durable() != 0x0104 || len(s.AllStats()) != 0 {
		t.Errorf("appended %d, durable %d, %d spaces", s.Appended(), s.Durable(), len(s.AllStats()))
	}

	// As it was before its second segment.
	golden.with(segmentName(2), nil).write(t, dir)
	s, _, err = Open(dir, testSource, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abandon()
	if def, _ := s.Definition("demo"); def != *goldenEvents()[0].Definition {
		t.Errorf("the definition is %+v", def)
	}
	rows, _, err := s.List("demo", 0, 10, testTime)
	e := goldenEvents()[1]
	if err != nil || len(rows) != 1 || rows[0].ID != e.ID || rows[0].Sequence != e.Sequence || rows[0].ExpiresAt != e.ExpiresAt ||
		!bytes.Equal(rows[0].Body, e.Body) || !bytes.Equal(rows[0].Vector, e.Vector) {
		t.Errorf("List = %+v, %v", rows, err)
	}
}

func TestRecordRoundTrip(t *testing.T) {
	for _, id := range []string{"", "x", "1234567", "12345678", strings.Repeat("i", math.MaxUint16)} {
		for _, vec := range []int{0, 4, 8, 12, 4 * 768} {
			for _, body := range []int{0, 1, 7, 8, 9, 100_000} {
				want := record{
					kind: KindObserve, space: math.MaxUint32, sequence: math.MaxUint64, published: -1, expires: math.MinInt64,
					vector: bytes.Repeat([]byte{1}, vec), body: bytes.Repeat([]byte{2}, body),
				}
				before := []byte("before")
				b, err := appendRecord(before, &want, id)
				if err != nil || !bytes.HasPrefix(b, before) || len(b) != len(before)+int(want.length) || want.length%8 != 0 {
					t.Fatalf("appendRecord: %d bytes, %v", len(b), err)
				}
				got, err := parseRecord(append(b[len(before):], "behind"...))
				if err != nil {
					t.Fatal(err)
				}
				want.id = []byte(id)
				if got.length != want.length || string(got.id) != id || !bytes.Equal(got.vector, want.vector) || !bytes.Equal(got.body, want.body) {
					t.Fatalf("a record of %d bytes came back as one of %d", want.length, got.length)
				}
				got.vector, got.body, got.id, want.vector, want.body, want.id = nil, nil, nil, nil, nil, nil
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("got %+v, want %+v", got, want)
				}
			}
		}
	}
}

func TestRecordLimits(t *testing.T) {
	fits := record{kind: KindObserve, body: make([]byte, maxRecord-recordHeader)}
	b, err := appendRecord(nil, &fits, "")
	if err != nil || len(b) != maxRecord {
		t.Fatalf("the largest record has %d bytes, %v", len(b), err)
	}
	if got, err := parseRecord(b); err != nil || len(got.body) != len(fits.body) {
		t.Fatalf("parseRecord of the largest record: %v", err)
	}
	if r := makeRef(1<<20-1, maxSegment-8, maxRecord); r.segment() != 1<<20-1 || r.offset() != maxSegment-8 || r.length() != maxRecord {
		t.Fatalf("the largest ref comes back as %d, %d, %d", r.segment(), r.offset(), r.length())
	}
	for name, test := range map[string]struct {
		rec record
		id  string
	}{
		"body":   {record{body: make([]byte, maxRecord-recordHeader+1)}, ""},
		"vector": {record{vector: make([]byte, maxRecord)}, ""},
		"id":     {record{}, strings.Repeat("x", math.MaxUint16+1)},
	} {
		if b, err := appendRecord([]byte("x"), &test.rec, test.id); !errors.Is(err, ErrTooLarge) || string(b) != "x" {
			t.Errorf("%s: appendRecord = %d bytes, %v; want ErrTooLarge and nothing more", name, len(b), err)
		}
	}
}

// TestRecordsThatRunOver has lengths in a record, with a right checksum, that reach past its end.
func TestRecordsThatRunOver(t *testing.T) {
	for name, change := range map[string]func(b []byte){
		"id":     func(b []byte) { binary.LittleEndian.PutUint16(b[10:], 17) },
		"vector": func(b []byte) { binary.LittleEndian.PutUint32(b[40:], 17) },
		"body":   func(b []byte) { binary.LittleEndian.PutUint32(b[44:], 17) },
		"all":    func(b []byte) { b[10], b[40], b[44] = 6, 6, 6 },
		"wraps": func(b []byte) {
			binary.LittleEndian.PutUint32(b[40:], math.MaxUint32)
			binary.LittleEndian.PutUint32(b[44:], 1)
		},
	} {
		b, err := appendRecord(nil, &record{kind: KindObserve, body: make([]byte, 16)}, "")
		if err != nil {
			t.Fatal(err)
		}
		binary.LittleEndian.PutUint32(b[44:], 0)
		change(b)
		binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
		if rec, err := parseRecord(b); err == nil {
			t.Errorf("%s: parsed as %+v", name, rec)
		}
	}
	for _, length := range []uint32{0, 8, recordHeader - 8, recordHeader + 4, maxRecord + 8, math.MaxUint32 - 7} {
		b := make([]byte, recordHeader)
		binary.LittleEndian.PutUint32(b[4:], length)
		if n, err := recordLength(b); err == nil {
			t.Errorf("a length of %d was taken as %d", length, n)
		}
	}
}

func TestParseSegmentHeader(t *testing.T) {
	for _, want := range []segmentInfo{
		{1, testSource, 0},
		{math.MaxUint32, Source{Epoch: strings.Repeat("e", maxEpoch), Shard: math.MaxUint32, CreatedAt: -1}, math.MaxInt64},
		{7, Source{}, 128},
	} {
		b := appendSegmentHeader([]byte("before"), want)[6:]
		if len(b) != segmentHeader {
			t.Fatalf("a header of %d bytes", len(b))
		}
		if got, err := parseSegmentHeader(b); err != nil || got != want {
			t.Errorf("parseSegmentHeader = %+v, %v; want %+v", got, err, want)
		}
		for n := range b {
			if _, err := parseSegmentHeader(b[:n]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("parseSegmentHeader of %d bytes = %v, want ErrCorrupt", n, err)
			}
		}
	}
}

func TestBodies(t *testing.T) {
	for _, want := range []Definition{
		*goldenEvents()[0].Definition,
		{Name: "", Dimension: math.MaxUint32, Metric: 255, Generation: math.MaxUint32, Embedder: strings.Repeat("e", 300), CreatedAt: -1},
	} {
		b := appendDefinition(nil, &want)
		if got, err := parseDefinition(b); err != nil || got != want {
			t.Errorf("parseDefinition = %+v, %v; want %+v", got, err, want)
		}
		for n := range b {
			if got, err := parseDefinition(b[:n]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("parseDefinition of %d of %d bytes = %+v, %v; want ErrCorrupt", n, len(b), got, err)
			}
		}
	}
	for _, want := range [][]string{nil, {""}, {"", ""}, {"a", strings.Repeat("b", 128), "", "c"}} {
		b := appendIDs(nil, want)
		if got, err := parseIDs(b); err != nil || !slices.Equal(got, want) {
			t.Errorf("parseIDs = %q, %v; want %q", got, err, want)
		}
	}
	for _, b := range []string{"\x01", "\x01a\x02b", "\x80", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\x7f"} {
		if got, err := parseIDs([]byte(b)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("parseIDs(%x) = %q, %v; want ErrCorrupt", b, got, err)
		}
	}
	if text := fmt.Sprint(testSource); !strings.Contains(text, testSource.Epoch) {
		t.Errorf("a source reads %q", text)
	}
}
