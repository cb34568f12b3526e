package vecstore

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"strconv"
	"strings"
	"testing"
)

// section returns the tables of a section of docs/format/rowlog.md, row by row, the headings of the columns left out.
func section(t *testing.T, heading string) [][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/format/rowlog.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/format/rowlog.md has no section %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	var rows [][]string
	lines := strings.Split(rest, "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || i+1 < len(lines) && strings.HasPrefix(lines[i+1], "|---") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		rows = append(rows, cells)
	}
	return rows
}

// field is what the encoder must have written for a field of a table, known by the words it begins with.
type field struct {
	name  string
	bytes []byte
}

func u16(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }
func u32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

// checkLayout checks that the fields of a table follow each other without a gap and that each is where and what it says
// in the encoded bytes. Offset and size are … where they depend on what is before.
func checkLayout(t *testing.T, heading string, encoded []byte, fields []field) {
	t.Helper()
	var rows [][]string
	for _, row := range section(t, heading) {
		if len(row) == 3 {
			rows = append(rows, row)
		}
	}
	if len(rows) != len(fields) {
		t.Fatalf("the table of %q has %d fields, want %d", heading, len(rows), len(fields))
	}
	at := 0
	for i, row := range rows {
		want := fields[i]
		if row[2] != want.name && !strings.HasPrefix(row[2], want.name+":") && !strings.HasPrefix(row[2], want.name+",") {
			t.Errorf("%s: field %d is %q, want %q", heading, i, row[2], want.name)
		}
		if row[0] != "…" && row[0] != strconv.Itoa(at) {
			t.Errorf("%s: %q is said to be at %s, the fields before it end at %d", heading, want.name, row[0], at)
		}
		if row[1] != "…" && row[1] != strconv.Itoa(len(want.bytes)) {
			t.Errorf("%s: %q is said to have %s bytes, and has %d", heading, want.name, row[1], len(want.bytes))
		}
		end := at + len(want.bytes)
		if end > len(encoded) || !bytes.Equal(encoded[at:end], want.bytes) {
			t.Errorf("%s: %q at %d is not what the encoder wrote there: % x, want % x", heading, want.name, at, encoded[at:min(end, len(encoded))], want.bytes)
		}
		at = end
	}
	if at != len(encoded) {
		t.Errorf("%s: the table covers %d of %d bytes", heading, at, len(encoded))
	}
}

func TestDocumentedSegmentHeader(t *testing.T) {
	b := appendSegmentHeader(nil, segmentInfo{
		number: 0x11121314, src: Source{Epoch: "the epoch", Shard: 0x21222324, CreatedAt: 0x3132333435363738}, previousEnd: 0x4142434445464748,
	})
	checkLayout(t, "Segment header", b, []field{
		{"magic of a segment", []byte(segmentMagic)},
		{"version", u32(segmentVersion)},
		{"segment number", u32(0x11121314)},
		{"creation time of the stream", u64(0x3132333435363738)},
		{"shard", u32(0x21222324)},
		{"length of the epoch", u32(9)},
		{"epoch", append([]byte("the epoch"), make([]byte, 55)...)},
		{"end of the segment before", u64(0x4142434445464748)},
		{"zero", make([]byte, 20)},
		{"CRC-32C of bytes 0 to 123", u32(crc32.Checksum(b[:124], castagnoli))},
	})
}

func TestDocumentedRecord(t *testing.T) {
	rec := record{
		kind: KindObserve, space: 0x11121314, sequence: 0x2122232425262728, published: 0x3132333435363738, expires: 0x4142434445464748,
		vector: []byte("VECTOR.."), body: []byte("the body"),
	}
	b, err := appendRecord(nil, &rec, "an id")
	if err != nil {
		t.Fatal(err)
	}
	checkLayout(t, "Record", b, []field{
		{"CRC-32C of bytes 4 to the end of the record", u32(crc32.Checksum(b[4:], castagnoli))},
		{"length of the whole record", u32(72)},
		{"kind", []byte{2}},
		{"zero", []byte{0}},
		{"length of the id", u16(5)},
		{"space number; 0 in a checkpoint", u32(0x11121314)},
		{"sequence in the stream", u64(0x2122232425262728)},
		{"publish time", u64(0x3132333435363738)},
		{"expiry", u64(0x4142434445464748)},
		{"bytes of the vector", u32(8)},
		{"bytes of the body", u32(8)},
		{"vector", []byte("VECTOR..")},
		{"id", []byte("an id")},
		{"body", []byte("the body")},
		{"padding", make([]byte, 3)},
	})
}

func TestDocumentedDefinition(t *testing.T) {
	b := appendDefinition(nil, &Definition{
		Name: "a name", Dimension: 0x11121314, Metric: L2, Generation: 0x21222324, Embedder: "an embedder", Engine: "an engine",
		CreatedAt: 0x3132333435363738,
	})
	checkLayout(t, "Definition", b, []field{
		{"dimension", u32(0x11121314)},
		{"generation", u32(0x21222324)},
		{"creation time", u64(0x3132333435363738)},
		{"metric", []byte{3}},
		{"name", []byte("\x06a name")},
		{"embedder", []byte("\x0ban embedder")},
		{"engine", []byte("\x09an engine")},
	})
	if row := section(t, "Definition")[0]; row[2] != "dimension, 1 to "+strconv.Itoa(maxDimension) {
		t.Errorf("the document says %q, the largest dimension is %d", row[2], maxDimension)
	}
}

func TestDocumentedKinds(t *testing.T) {
	want := map[string]Kind{"define": KindDefine, "observe": KindObserve, "forget": KindForget, "drop": KindDrop, "checkpoint": kindCheckpoint}
	for _, row := range section(t, "Record") {
		if len(row) != 4 {
			continue
		}
		if kind, ok := want[row[1]]; !ok || row[0] != strconv.Itoa(int(kind)) {
			t.Errorf("the document says that %q is kind %s, it is %d", row[1], row[0], kind)
		}
		delete(want, row[1])
	}
	if len(want) > 0 {
		t.Errorf("the document does not have the kinds %v", want)
	}
}

func TestDocumentedConstants(t *testing.T) {
	hexOf := func(s string) string {
		var parts []string
		for i := range len(s) {
			parts = append(parts, strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
		}
		return "`" + strings.Join(parts, " ") + "`"
	}
	want := map[string]string{
		"magic of a segment":           hexOf(segmentMagic),
		"magic of a checkpoint":        hexOf(checkpointMagic),
		"version":                      strconv.Itoa(segmentVersion),
		"bytes of a segment header":    strconv.Itoa(segmentHeader),
		"bytes of a record header":     strconv.Itoa(recordHeader),
		"bytes of the longest record":  strconv.Itoa(maxRecord),
		"bytes of the longest epoch":   strconv.Itoa(maxEpoch),
		"bytes of the largest segment": strconv.Itoa(maxSegment),
	}
	for _, row := range section(t, "Files") {
		if value, ok := want[row[0]]; !ok || row[1] != value && !strings.HasPrefix(row[1], value+" (") {
			t.Errorf("the document says that %q is %s, it is %s", row[0], row[1], value)
		}
		delete(want, row[0])
	}
	if len(want) > 0 {
		t.Errorf("the document does not have %v", want)
	}
}
