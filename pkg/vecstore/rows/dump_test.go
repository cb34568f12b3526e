package rows

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenDisk writes one record of every kind, and rewrites a part of them compressed: segment 1 became 3.
func goldenDisk(t *testing.T) disk {
	t.Helper()
	w := newWorld(t, 700)
	l, _ := w.open(Verified)
	published := int64(0x1800000000000000)
	for i, e := range []struct {
		rec Record
		ids []string
	}{
		{Record{Kind: KindDefine, Body: AppendDefinition(nil, &Definition{
			Name: "demo", Dimension: 2, Metric: 1, Vectors: F32, Generation: 7,
			Embedder: "lexical", Engine: "exact", CreatedAt: 0x1717171717171717,
		})}, nil},
		{Record{
			Kind: KindObserve, Expires: 0x2929292929292929, Vector: []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}, Body: []byte("some body"),
		}, []string{"id-1"}},
		{Record{Kind: KindObserve, Encoding: F16, Vector: []byte{0, 0x3c, 0, 0xc0}}, []string{""}},
		{Record{Kind: KindObserve, Vector: make([]byte, 8), Body: bytes.Repeat([]byte("again "), 10)}, []string{"id-2"}},
		{Record{Kind: KindForget}, []string{"id-1", "", "other"}},
		{Record{Kind: KindObserve, Encoding: I8, Vector: []byte{0, 0, 0x80, 0x3f, 0x7f, 0x81}, Body: []byte("code")}, []string{"id-3"}},
		{Record{Kind: KindDrop}, nil},
	} {
		e.rec.Space, e.rec.Sequence, e.rec.Published = 1, uint64(0x0101+i), published+int64(i)
		if err := l.Add(&e.rec, e.ids...); err != nil {
			t.Fatal(err)
		}
		if flush(t, l); i == 3 {
			if err := l.Checkpoint(time.Unix(0, 0x1818181818181818)); err != nil {
				t.Fatal(err)
			}
		}
	}
	rw := rewrite(t, l, RewriteOptions{Keep: func(*Entry) bool { return true }, Compress: true}, 1)
	if err := l.Replace(rw); err != nil {
		t.Fatal(err)
	}
	l.Close()
	return w.disk()
}

var dumpLine = regexp.MustCompile(`^(?: +\d+ +\d+| {18})  ((?:[0-9a-f]{2} )*[0-9a-f]{2})?(?: …)?(?:  |$)`)

// undump returns the bytes that a dump has in it.
func undump(t *testing.T, text string) []byte {
	t.Helper()
	var all []byte
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\n"); line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		m := dumpLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("a line of a dump that is none: %q", line)
		}
		b, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", ""))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, b...)
	}
	return all
}

// TestGolden holds the format still: what is written today must be what was written by these versions ever since, and what
// was written then must be read. The golden files are the dumps of the files of a log. How a record is compressed may change:
// the rewritten segment is only read.
func TestGolden(t *testing.T) {
	d := goldenDisk(t)
	golden := disk{files: map[string][]byte{}}
	for _, name := range []string{segmentName(1), indexName(1), segmentName(2), indexName(2), segmentName(3), indexName(3)} {
		var out strings.Builder
		if err := Dump(&out, bytes.NewReader(d.files[name]), int64(len(d.files[name]))); err != nil {
			t.Errorf("Dump of %s: %v", name, err)
		}
		path := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b := undump(t, string(want))
		golden.files[name] = b
		if rewritten := strings.HasPrefix(name, "rows-00000003"); !rewritten && !bytes.Equal(b, d.files[name]) {
			t.Errorf("%s is now\n%s", name, out.String())
		}
		out.Reset()
		if err := Dump(&out, bytes.NewReader(b), int64(len(b))); err != nil || out.String() != string(want) {
			t.Errorf("Dump of the golden %s: %v\n%s", name, err, out.String())
		}
	}
	length := func(id uint32) int64 { return int64(len(golden.files[segmentName(id)])) }
	for _, mode := range []Mode{Trusted, Verified} {
		golden.list, golden.next = []Segment{{ID: 3, Length: length(3), Entries: 9}, {ID: 2}}, 4
		w := golden.world(t, 0)
		l, rec := w.open(mode)
		if rec.Mode != mode || rec.Entries != 10 || rec.Torn != 0 || rec.IndexRepaired != 0 || rec.Strays != 2 || l.Durable() != 0x106 {
			t.Errorf("Open of the golden files = %+v, durable %#x", rec, l.Durable())
		}
		l.Close()
		golden.list, golden.next = []Segment{{ID: 1, Length: length(1), Entries: 9}, {ID: 2}}, 3
		w = golden.world(t, 0)
		if _, rec = w.open(mode); rec.Entries != 10 || rec.Torn != 0 || rec.IndexRepaired != 0 {
			t.Errorf("Open of the golden files before the rewriting = %+v", rec)
		}
	}
}

// TestDumpOfDamage prints what there is, and says that it is not all.
func TestDumpOfDamage(t *testing.T) {
	d := goldenDisk(t)
	dump := func(b []byte) (string, error) {
		var out strings.Builder
		err := Dump(&out, bytes.NewReader(b), int64(len(b)))
		return out.String(), err
	}
	for name, b := range d.files {
		whole, err := dump(b)
		if err != nil {
			t.Fatal(err)
		}
		for n := range b {
			text, err := dump(b[:n])
			if len(undump(t, text)) > n {
				t.Fatalf("the dump of %d bytes of %s has more", n, name)
			}
			if err != nil && !errors.Is(err, ErrCorrupt) || err == nil && !strings.HasPrefix(whole, text) {
				t.Fatalf("Dump of %d bytes of %s: %v", n, name, err)
			}
			bad := bytes.Clone(b)
			bad[n] ^= 0x11
			text, err = dump(bad)
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("Dump of %s with another byte at %d: %v", name, n, err)
			}
			if got := undump(t, text); !bytes.HasPrefix(bad, got) {
				t.Fatalf("the dump of %s with another byte at %d has other bytes", name, n)
			}
		}
	}
	if _, err := dump(nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Dump of nothing = %v", err)
	}
	if IsDumpable([]byte("ENGRO")) || !IsDumpable([]byte(segmentMagic)) || !IsDumpable([]byte(indexMagic+"x")) {
		t.Error("IsDumpable is wrong")
	}
	if err := Dump(failingWriter{}, bytes.NewReader(d.files[segmentName(1)]), 500); err == nil {
		t.Error("Dump to a writer that fails returned nil")
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("full") }

// TestDumpAbbreviates has a long vector and a long body.
func TestDumpAbbreviates(t *testing.T) {
	b := appendSegmentHeader(nil, 1, testSource)
	rec := Record{Kind: KindObserve, Space: 1, Vector: make([]byte, 4*768), ID: []byte("id")}
	rec.Body = bytes.Repeat([]byte("body "), 1000)
	raw, err := appendRecord(nil, &rec)
	if err != nil {
		t.Fatal(err)
	}
	packed, _ := packRecord(nil, raw, nil)
	for _, raw := range [][]byte{raw, packed} {
		file := append(bytes.Clone(b), raw...)
		var out strings.Builder
		if err := Dump(&out, bytes.NewReader(file), int64(len(file))); err != nil {
			t.Fatal(err)
		}
		if n := out.Len(); n > 5000 || !strings.Contains(out.String(), "…") {
			t.Errorf("the dump has %d bytes", n)
		}
	}
}
