package rows

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestRecordRoundTrip(t *testing.T) {
	for _, id := range []string{"", "x", "1234567", "12345678", strings.Repeat("i", math.MaxUint16)} {
		for _, vec := range []int{4, 8, 12, 4 * 768} {
			for _, body := range []int{0, 1, 7, 8, 9, 100_000} {
				want := Record{
					Kind: KindObserve, Space: math.MaxUint32, Sequence: math.MaxUint64, Published: -1, Expires: math.MinInt64,
					Vector: bytes.Repeat([]byte{1}, vec), ID: []byte(id), Body: bytes.Repeat([]byte{2}, body),
				}
				before := []byte("before")
				b, err := appendRecord(before, &want)
				if err != nil || !bytes.HasPrefix(b, before) || (len(b)-len(before))%8 != 0 {
					t.Fatalf("appendRecord: %d bytes, %v", len(b), err)
				}
				raw := b[len(before):]
				got, n, _, err := parseRecord(append(slices.Clone(raw), "behind"...), nil)
				if err != nil || n != len(raw) {
					t.Fatalf("parseRecord: %d of %d bytes, %v", n, len(raw), err)
				}
				wantRecord(t, got, want)

				packed, _ := packRecord(before, raw, nil)
				got, n, _, err = parseRecord(packed[len(before):], nil)
				if err != nil || n != len(packed)-len(before) || n > len(raw) || n%8 != 0 {
					t.Fatalf("parseRecord of the compressed record: %d of %d bytes, %v", n, len(packed), err)
				}
				wantRecord(t, got, want)
				if again, _ := packRecord(nil, packed[len(before):], nil); !bytes.Equal(again, packed[len(before):]) {
					t.Fatal("a compressed record was compressed again")
				}
			}
		}
	}
}

func TestRecordLimits(t *testing.T) {
	fits := Record{Kind: KindObserve, Space: 1, Vector: make([]byte, 8), Body: make([]byte, MaxRecord-recordHeader-8)}
	b, err := appendRecord(nil, &fits)
	if err != nil || len(b) != MaxRecord {
		t.Fatalf("the largest record has %d bytes, %v", len(b), err)
	}
	if got, _, _, err := parseRecord(b, nil); err != nil || len(got.Body) != len(fits.Body) {
		t.Fatalf("parseRecord of the largest record: %v", err)
	}
	packed, _ := packRecord(nil, b, nil)
	if got, _, _, err := parseRecord(packed, nil); err != nil || len(got.Body) != len(fits.Body) || len(packed) > len(b)/10 {
		t.Fatalf("parseRecord of the largest record, compressed to %d bytes: %v", len(packed), err)
	}
	if r := makeRef(maxID, MaxSegment-8, MaxRecord); r.File() != maxID || r.Offset() != MaxSegment-8 || r.Length() != MaxRecord {
		t.Fatalf("the largest ref comes back as %v", r)
	}
	for name, rec := range map[string]Record{
		"body":   {Body: make([]byte, MaxRecord-recordHeader+1)},
		"vector": {Vector: make([]byte, MaxRecord)},
		"id":     {ID: make([]byte, math.MaxUint16+1)},
	} {
		if b, err := appendRecord([]byte("x"), &rec); !errors.Is(err, ErrTooLarge) || string(b) != "x" {
			t.Errorf("%s: appendRecord = %d bytes, %v; want ErrTooLarge and nothing more", name, len(b), err)
		}
	}
}

func TestPackedOnlyWhereItSaves(t *testing.T) {
	noise := make([]byte, 4000)
	x := uint32(1)
	for i := range noise {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	for _, saved := range []int{0, 100, 200, 400, 600} {
		rec := Record{Kind: KindObserve, Space: 1, Vector: noise[:8]}
		rec.Body = append(slices.Clone(noise[8:4000-saved]), make([]byte, saved)...)
		raw, err := appendRecord(nil, &rec)
		if err != nil {
			t.Fatal(err)
		}
		packed, _ := packRecord(nil, raw, nil)
		if want := saved >= 400; (len(packed) < len(raw)) != want {
			t.Errorf("a record of %d bytes with %d zeros was written as %d bytes", len(raw), saved, len(packed))
		}
	}
}

// TestRecordsThatCannotBe has records with a right checksum that nobody writes.
func TestRecordsThatCannotBe(t *testing.T) {
	const space = 12
	observe := Record{Kind: KindObserve, Space: 1, Vector: make([]byte, 8), Body: []byte("the body")}
	other := func(kind Kind, change func(*Record)) Record {
		rec := Record{Kind: kind, Space: 1}
		if kind == KindForget {
			rec.Body = []byte("\x01a")
		}
		change(&rec)
		return rec
	}
	checkpoint := checkpointRecord(9, 9, place{1, 128})
	for name, test := range map[string]struct {
		rec    Record
		change func(b []byte)
	}{
		"id runs over":           {observe, func(b []byte) { binary.LittleEndian.PutUint16(b[10:], 17) }},
		"vector runs over":       {observe, func(b []byte) { b[40], b[44] = 20, 0 }},
		"body runs over":         {observe, func(b []byte) { b[44] = 17 }},
		"all run over":           {observe, func(b []byte) { b[10], b[40], b[44] = 6, 8, 6 }},
		"lengths wrap":           {observe, func(b []byte) { copy(b[40:], "\xff\xff\xff\xff\x01\x00\x00\x00") }},
		"kind 0":                 {observe, func(b []byte) { b[8] = 0 }},
		"kind 6":                 {observe, func(b []byte) { b[8] = 6 }},
		"encoding 3":             {observe, func(b []byte) { b[9] = 3 }},
		"unknown form":           {observe, func(b []byte) { b[9] = 0x10 }},
		"not compressed":         {observe, func(b []byte) { b[9] = formCompressed }},
		"observe of no space":    {observe, func(b []byte) { b[space] = 0 }},
		"no vector":              {observe, func(b []byte) { b[40] = 0 }},
		"half a component":       {observe, func(b []byte) { b[40] = 6 }},
		"half a half":            {observe, func(b []byte) { b[9], b[40] = byte(F16), 7 }},
		"a scale alone":          {observe, func(b []byte) { b[9], b[40] = byte(I8), 4 }},
		"checkpoint of a space":  {checkpoint, func(b []byte) { b[space] = 1 }},
		"checkpoint, no magic":   {checkpoint, func(b []byte) { b[recordHeader] ^= 1 }},
		"checkpoint, cut":        {checkpoint, func(b []byte) { b[44]-- }},
		"define with a vector":   {other(KindDefine, func(r *Record) { r.Vector = make([]byte, 4) }), nil},
		"define with an id":      {other(KindDefine, func(r *Record) { r.ID = []byte("x") }), nil},
		"drop that expires":      {other(KindDrop, func(r *Record) { r.Expires = 1 }), nil},
		"drop with a body":       {other(KindDrop, func(r *Record) { r.Body = []byte("x") }), nil},
		"drop in f16":            {other(KindDrop, func(r *Record) { r.Encoding = F16 }), nil},
		"forget of nothing":      {other(KindForget, func(r *Record) { r.Body = nil }), nil},
		"forget of half an id":   {other(KindForget, func(r *Record) { r.Body = []byte("\x03a") }), nil},
		"forget with an id, too": {other(KindForget, func(r *Record) { r.ID = []byte("x") }), nil},
	} {
		b, err := appendRecord(nil, &test.rec)
		if err != nil {
			t.Fatal(err)
		}
		if test.change != nil {
			if _, _, _, err := parseRecord(b, nil); err != nil {
				t.Fatalf("%s: the record is wrong as it is: %v", name, err)
			}
			test.change(b)
			finishRecord(b, 0)
		}
		if rec, _, _, err := parseRecord(b, nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: parsed as %+v, %v; want ErrCorrupt", name, rec, err)
		}
		// In a log it makes that corrupt, whether something is behind it or not.
		d := disk{map[string][]byte{segmentName(1): append(appendSegmentHeader(nil, 1, testSource), b...)}, []Segment{{ID: 1}}, 2}
		wantRefused(t, d, Verified, ErrCorrupt)
		wantRefused(t, d, Distrusted, ErrCorrupt)
		wantRefused(t, d, Trusted, ErrCorrupt)
	}
	for _, length := range []uint32{0, 8, recordHeader - 8, recordHeader + 4, MaxRecord + 8, math.MaxUint32 - 7} {
		b := make([]byte, recordHeader)
		binary.LittleEndian.PutUint32(b[4:], length)
		if n, err := recordLength(b); err == nil {
			t.Errorf("a length of %d was taken as %d", length, n)
		}
	}
}

// TestDamagedPayloads has compressed payloads that are none, under a right checksum.
func TestDamagedPayloads(t *testing.T) {
	rec := Record{Kind: KindObserve, Space: 1, Vector: make([]byte, 400), ID: []byte("id"), Body: []byte("body body body body")}
	raw, err := appendRecord(nil, &rec)
	if err != nil {
		t.Fatal(err)
	}
	good, _ := packRecord(nil, raw, nil)
	if len(good) >= len(raw) {
		t.Fatal("it is not compressed, and this tests nothing")
	}
	harmless := 0
	for i := recordHeader; i < len(good); i++ {
		for _, flip := range flips {
			b := slices.Clone(good)
			b[i] ^= flip
			finishRecord(b, 0)
			got, _, _, err := parseRecord(b, nil)
			if err == nil && len(got.Vector) == len(rec.Vector) && len(got.ID) == len(rec.ID) && len(got.Body) == len(rec.Body) {
				harmless++ // other bytes of the same length
			} else if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("flipped at %d by %#x: %v", i, flip, err)
			}
		}
	}
	if harmless == 0 || harmless > len(good)*len(flips)/2 {
		t.Errorf("%d of %d damaged payloads were taken", harmless, len(good)*len(flips))
	}
	for change, b := range map[string][]byte{
		"cut":              finishRecord(slices.Clone(good[:recordHeader+8]), 0),
		"empty":            finishRecord(slices.Clone(good[:recordHeader]), 0),
		"says it is huge":  finishRecord(append(slices.Clone(good[:recordHeader]), 6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0), 0),
		"longer than said": finishRecord(append(slices.Clone(good[:recordHeader]), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0), 0),
	} {
		if got, _, _, err := parseRecord(b, nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v, %v", change, got, err)
		}
	}
}

func TestSegmentHeaders(t *testing.T) {
	for id, src := range map[uint32]Source{
		1:              testSource,
		math.MaxUint32: {Epoch: strings.Repeat("e", MaxEpoch), Shard: math.MaxUint32, CreatedAt: -1},
		7:              {},
	} {
		b := appendSegmentHeader([]byte("before"), id, src)[6:]
		if len(b) != segmentHeader {
			t.Fatalf("a header of %d bytes", len(b))
		}
		if gotID, got, err := parseSegmentHeader(b); err != nil || gotID != id || got != src {
			t.Errorf("parseSegmentHeader = %d, %+v, %v; want %d, %+v", gotID, got, err, id, src)
		}
		for n := range b {
			if _, _, err := parseSegmentHeader(b[:n]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("parseSegmentHeader of %d bytes = %v, want ErrCorrupt", n, err)
			}
		}
	}
}

func TestBodies(t *testing.T) {
	for _, want := range []Definition{
		{Name: "demo", Dimension: 2, Metric: 1, Vectors: F16, Generation: 7, Embedder: "lexical", Engine: "exact", CreatedAt: 17},
		{
			Name: "", Dimension: math.MaxUint32, Metric: 255, Vectors: 255, Generation: math.MaxUint32,
			Embedder: strings.Repeat("e", 300), CreatedAt: -1,
		},
	} {
		b := AppendDefinition(nil, &want)
		if got, err := ParseDefinition(b); err != nil || got != want {
			t.Errorf("ParseDefinition = %+v, %v; want %+v", got, err, want)
		}
		for n := range b {
			if got, err := ParseDefinition(b[:n]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("ParseDefinition of %d of %d bytes = %+v, %v; want ErrCorrupt", n, len(b), got, err)
			}
		}
	}
	for _, want := range [][]string{nil, {""}, {"", ""}, {"a", strings.Repeat("b", 128), "", "c"}} {
		var b []byte
		for _, id := range want {
			b = appendString(b, id)
		}
		if got, err := ParseIDs(b); err != nil || !slices.Equal(got, want) {
			t.Errorf("ParseIDs = %q, %v; want %q", got, err, want)
		}
	}
	for _, b := range []string{
		"\x01", "\x01a\x02b", "\x80",
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
	} {
		if got, err := ParseIDs([]byte(b)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("ParseIDs(%x) = %q, %v; want ErrCorrupt", b, got, err)
		}
	}
	if text := fmt.Sprint(testSource); !strings.Contains(text, testSource.Epoch) {
		t.Errorf("a source reads %q", text)
	}
}

func TestSizes(t *testing.T) {
	for e, want := range map[Encoding]int{F32: 40, F16: 20, I8: 14, 3: -1} {
		if got := e.Size(10); got != want {
			t.Errorf("%v.Size(10) = %d, want %d", e, got, want)
		}
		for dim := 1; dim < 9 && e <= I8; dim++ {
			if !e.holds(e.Size(dim)) {
				t.Errorf("%v does not hold a vector of dimension %d", e, dim)
			}
		}
		if e.holds(0) {
			t.Errorf("%v holds nothing", e)
		}
	}
}

func TestEntryRoundTrip(t *testing.T) {
	for _, want := range []Entry{
		{},
		{
			Kind: KindForget, Encoding: I8, first: true, Space: math.MaxUint32, Size: math.MaxUint32, Sequence: math.MaxUint64,
			Expires: math.MinInt64, Ref: math.MaxUint64, Key: Key{math.MaxUint64, 1},
		},
	} {
		b := appendEntry([]byte("before"), &want)[6:]
		var got Entry
		if len(b) != indexEntry || !parseEntry(b, &got) || got != want {
			t.Errorf("%d bytes came back as %+v, want %+v", len(b), got, want)
		}
		for i := range b {
			b[i] ^= 0x20
			if parseEntry(b, &got) {
				t.Errorf("an entry with a wrong byte at %d was taken", i)
			}
			b[i] ^= 0x20
		}
	}
}

// TestKeysDependOnTheHashKey also holds them still: they are on disk.
func TestKeysDependOnTheHashKey(t *testing.T) {
	if got, want := testKey.Key("an id"), (Key{0x743bc5cfccc126e0, 0x2354ed08134a0cc7}); got != want {
		t.Errorf("Key = %#x, want %#x", got, want)
	}
	other := testKey
	other[5]++
	if other.Key("an id") == testKey.Key("an id") || testKey.Key("an id") == testKey.Key("an ie") || testKey.Key("") == (Key{}) {
		t.Error("keys are equal that should not be")
	}
}
