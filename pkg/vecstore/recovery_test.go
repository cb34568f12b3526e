package vecstore

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestSegmentsRoll(t *testing.T) {
	for _, size := range []int64{1, 300, 1000, 0} {
		dir := t.TempDir()
		s := openTest(t, dir, Options{SegmentSize: size})
		fill(t, s, 30, 10, 20)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		d := readDisk(t, dir)
		if want := map[int64]int{1: 33, 300: 17, 1000: 3, 0: 1}[size]; len(d) != want {
			t.Errorf("segments of %d bytes: %d files, want %d", size, len(d), want)
		}
		for name, b := range d {
			if size > 0 && len(b) > int(size) && len(b) > segmentHeader+80 {
				t.Errorf("%s has %d bytes, more than one record and more than %d", name, len(b), size)
			}
		}
		s = openTest(t, dir, Options{SegmentSize: 500})
		wantThrough(t, s, 30)
		put(t, s, observeTest(31))
		wantThrough(t, s, 31)
		s.Abandon()
		s, rec, err := Open(dir, testSource, Options{})
		if err != nil || rec.Records != 31+3 || rec.Torn != 0 || rec.Bytes != s.LogBytes() {
			t.Fatalf("Open = %+v, %v", rec, err)
		}
		wantThrough(t, s, 31)
		s.Abandon()
	}
}

func TestBatchLargerThanOneWrite(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	put(t, s, defineTest(1, "s", 2))
	var events []*Event
	for sequence := uint64(2); sequence < 8; sequence++ {
		e := observeTest(sequence)
		e.Body = make([]byte, 2_000_000)
		events = append(events, e)
	}
	put(t, s, events...)
	for _, shard := range []*Shard{s, openTest(t, dir, Options{})} {
		if rows, _, err := shard.List("s", 0, 100, testTime); err != nil || len(rows) != len(events) || rows[0].ID != "7" {
			t.Fatalf("List = %d rows, %v", len(rows), err)
		}
	}
}

func TestSourceAndVersion(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	fill(t, s, 3)
	s.Close()
	for _, src := range []Source{
		{Epoch: "abcdeg", Shard: 3, CreatedAt: testSource.CreatedAt},
		{Epoch: "", Shard: 3, CreatedAt: testSource.CreatedAt},
		{Epoch: "abcdef", Shard: 4, CreatedAt: testSource.CreatedAt},
		{Epoch: "abcdef", Shard: 3, CreatedAt: testSource.CreatedAt + 1},
	} {
		if _, _, err := Open(dir, src, Options{}); !errors.Is(err, ErrSource) || !strings.Contains(err.Error(), src.String()) {
			t.Errorf("Open as %v = %v, want ErrSource and both names", src, err)
		}
	}
	if _, _, err := Open(t.TempDir(), Source{Epoch: strings.Repeat("x", maxEpoch+1)}, Options{}); err == nil {
		t.Error("an epoch that does not fit into the header was taken")
	}
	long := Source{Epoch: strings.Repeat("x", maxEpoch)}
	if s, _, err := Open(t.TempDir(), long, Options{}); err != nil || s.Source() != long {
		t.Errorf("Open with the longest epoch: %v", err)
	}

	d := readDisk(t, dir)
	for _, version := range []uint32{0, 2, math.MaxUint32} {
		b := append([]byte(nil), d[segmentName(1)]...)
		binary.LittleEndian.PutUint32(b[8:], version)
		binary.LittleEndian.PutUint32(b[segmentHeader-4:], crc32.Checksum(b[:segmentHeader-4], castagnoli))
		wantRefused(t, dir, d.with(segmentName(1), b), Options{}, ErrVersion)
		wantRefused(t, dir, d.with(segmentName(1), b), Options{Distrust: true}, ErrVersion)
	}
}

// TestDistrustAndDamage keeps the two apart: what is behind the last checkpoint is cut off, what is below it is not.
func TestDistrustAndDamage(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	fill(t, s, 9, 4, 7)
	s.Abandon()
	d := readDisk(t, dir)
	b := append([]byte(nil), d[segmentName(1)]...)
	b[segmentHeader+200] ^= 1
	wantRefused(t, dir, d.with(segmentName(1), b), Options{Distrust: true}, ErrCorrupt)
	b = append([]byte(nil), d[segmentName(1)]...)
	b[len(b)-1] ^= 1
	d.with(segmentName(1), b).write(t, dir)
	wantThrough(t, openTest(t, dir, Options{Distrust: true}), 7)
}

// TestCheckpointInABody gives an observation a body that is a checkpoint record, at an offset where one could stand.
func TestCheckpointInABody(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	fill(t, s, 3, 3)
	fake, err := appendRecord(nil, &record{kind: kindCheckpoint, sequence: 1 << 40, body: []byte(checkpointMagic)}, "")
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, observeTest(4))
	e := &Event{Sequence: 5, Kind: KindObserve, Space: "s", ID: "eightlet", Vector: packed(5, 1), Body: fake}
	put(t, s, e, observeTest(6))
	if at, err := findCheckpoint(s.log.files[0], e.ref.offset(), s.log.end); err != nil || at != e.ref.offset()+64 {
		t.Fatalf("the false checkpoint is found at %d, %v; want %d, or this tests nothing", at, err, e.ref.offset()+64)
	}
	s.Abandon()
	d := readDisk(t, dir)
	if s := openTest(t, dir, Options{}); s.Appended() != 6 || s.Durable() != 3 {
		t.Fatalf("appended %d, durable %d; want 6 and 3", s.Appended(), s.Durable())
	}
	d.write(t, dir)
	wantThrough(t, openTest(t, dir, Options{Distrust: true}), 3)
}

// TestRecordsThatCannotBe replays records with a right checksum and a content that no Appender writes.
func TestRecordsThatCannotBe(t *testing.T) {
	definition := func(change func(*Definition)) []byte {
		d := defineTest(1, "s", 2).Definition
		change(d)
		return appendDefinition(nil, d)
	}
	good := definition(func(*Definition) {})
	define := record{kind: KindDefine, space: 1, sequence: 1, body: good}
	for name, test := range map[string]struct {
		records []record
		want    error
	}{
		"kind 0":                      {[]record{{kind: 0, space: 1, sequence: 1}}, ErrCorrupt},
		"kind 6":                      {[]record{define, {kind: 6, space: 1, sequence: 2}}, ErrCorrupt},
		"space 0":                     {[]record{{kind: KindDefine, sequence: 1, body: good}}, ErrCorrupt},
		"space 2 first":               {[]record{{kind: KindDefine, space: 2, sequence: 1, body: good}}, ErrCorrupt},
		"space 1 twice":               {[]record{define, define}, ErrCorrupt},
		"row of no space":             {[]record{{kind: KindObserve, space: 1, sequence: 1, vector: packed(1, 2)}}, ErrCorrupt},
		"row of space 0":              {[]record{define, {kind: KindObserve, sequence: 2, vector: packed(1, 2)}}, ErrCorrupt},
		"row of an undefined space":   {[]record{define, {kind: KindObserve, space: 2, sequence: 2, vector: packed(1, 2)}}, ErrCorrupt},
		"row with a short vector":     {[]record{define, {kind: KindObserve, space: 1, sequence: 2, vector: packed(1)}}, ErrCorrupt},
		"row without a vector":        {[]record{define, {kind: KindObserve, space: 1, sequence: 2}}, ErrCorrupt},
		"forget of half an id":        {[]record{define, {kind: KindForget, space: 1, sequence: 2, body: []byte{3, 'a'}}}, ErrCorrupt},
		"definition cut off":          {[]record{{kind: KindDefine, space: 1, sequence: 1, body: good[:16]}}, ErrCorrupt},
		"definition cut in a name":    {[]record{{kind: KindDefine, space: 1, sequence: 1, body: good[:18]}}, ErrCorrupt},
		"definition of dimension 0":   {[]record{{kind: KindDefine, space: 1, sequence: 1, body: definition(func(d *Definition) { d.Dimension = 0 })}}, ErrCorrupt},
		"definition of dimension max": {[]record{{kind: KindDefine, space: 1, sequence: 1, body: definition(func(d *Definition) { d.Dimension = math.MaxUint32 })}}, ErrCorrupt},
		"definition of metric 9":      {[]record{{kind: KindDefine, space: 1, sequence: 1, body: definition(func(d *Definition) { d.Metric = 9 })}}, ErrCorrupt},
		"definition of a new engine":  {[]record{{kind: KindDefine, space: 1, sequence: 1, body: definition(func(d *Definition) { d.Engine = "later" })}}, ErrVersion},
	} {
		t.Run(name, func(t *testing.T) {
			b := appendSegmentHeader(nil, segmentInfo{number: 1, src: testSource})
			for _, rec := range test.records {
				var err error
				if b, err = appendRecord(b, &rec, ""); err != nil {
					t.Fatal(err)
				}
			}
			wantRefused(t, t.TempDir(), disk{segmentName(1): b}, Options{}, test.want)
		})
	}
}

// TestWideRowsOfANarrowFile checks that memory follows what is in the file, not what a definition claims.
func TestWideRowsOfANarrowFile(t *testing.T) {
	body := appendDefinition(nil, defineTest(1, "s", maxDimension).Definition)
	b := appendSegmentHeader(nil, segmentInfo{number: 1, src: testSource})
	for _, rec := range []record{
		{kind: KindDefine, space: 1, sequence: 1, body: body},
		{kind: KindObserve, space: 1, sequence: 2, vector: packed(1, 2)},
	} {
		var err error
		if b, err = appendRecord(b, &rec, ""); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	wantRefused(t, t.TempDir(), disk{segmentName(1): b}, Options{}, ErrCorrupt)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("a file of %d bytes made Open allocate %d bytes", len(b), n)
	}
}

func TestSetAside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shard-3")
	seen := map[string]bool{}
	for _, name := range []string{dir, dir + "/", dir} {
		s := openTest(t, dir, Options{})
		fill(t, s, 3)
		s.Abandon()
		aside, err := SetAside(name, testTime)
		if err != nil {
			t.Fatal(err)
		}
		if seen[aside] || filepath.Dir(aside) != filepath.Dir(dir) || !strings.Contains(aside, "20270115T080000") {
			t.Errorf("SetAside(%q) = %q", name, aside)
		}
		seen[aside] = true
		wantThrough(t, openTest(t, aside, Options{}), 3)
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the directory is still there: %v", err)
		}
		wantThrough(t, openTest(t, dir, Options{}), 0)
	}
	if _, err := SetAside(filepath.Join(dir, "nothing"), testTime); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("SetAside of nothing = %v", err)
	}
}
