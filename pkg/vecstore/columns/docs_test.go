package columns

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/engram-memory/engram/pkg/vfs"
)

// tables returns the rows of the tables of a section of docs/format/columns.md that have n cells, headings left out.
func tables(t *testing.T, heading string, n int) [][]string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/format/columns.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), heading)
	if !found {
		t.Fatalf("docs/format/columns.md has no %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	var rows [][]string
	lines := strings.Split(rest, "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || i+1 < len(lines) && strings.HasPrefix(lines[i+1], "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) == n {
			rows = append(rows, cells)
		}
	}
	return rows
}

type field struct {
	name  string
	bytes []byte
}

func u32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

// checkTable checks that the fields of a table follow each other without a gap, and that each is in the encoded bytes
// where and what it says. Offset and size are … where they depend on what is before.
func checkTable(t *testing.T, heading string, encoded []byte, fields []field) {
	t.Helper()
	rows := tables(t, heading, 3)
	if len(rows) != len(fields) {
		t.Fatalf("%s: the table has %d fields, want %d", heading, len(rows), len(fields))
	}
	at := 0
	for i, row := range rows {
		want := fields[i]
		if rest, found := strings.CutPrefix(row[2], want.name); !found || rest != "" && !strings.ContainsAny(rest[:1], ":;,") {
			t.Errorf("%s: field %d is %q, want %q", heading, i, row[2], want.name)
		}
		if row[0] != "…" && row[0] != strconv.Itoa(at) || row[1] != "…" && row[1] != strconv.Itoa(len(want.bytes)) {
			t.Errorf("%s: %q is said to be %s bytes at %s, and is %d at %d", heading, want.name, row[1], row[0], len(want.bytes), at)
		}
		end := at + len(want.bytes)
		if end > len(encoded) || !bytes.Equal(encoded[at:end], want.bytes) {
			t.Errorf("%s: %q is not what was written at %d", heading, want.name, at)
		}
		at = end
	}
	if at != len(encoded) {
		t.Errorf("%s: the table covers %d of %d bytes", heading, at, len(encoded))
	}
}

func TestDocumentedHeader(t *testing.T) {
	h := Header{
		Epoch: "the epoch", Shard: 0x11121314, CreatedAt: 0x2122232425262728, Space: 0x31323334, Generation: 0x41424344,
		Layout: Layout{Dim: 30, Sketch: 16, Code: 48, Links: 5, UpperLinks: 3, ChunkShift: 11, SlotShift: 7},
	}
	h.Centre = centreOf(h.Layout)
	b := appendHeader(nil, h)
	checkTable(t, "\n## Header\n", b, []field{
		{"magic of the columns", []byte(magic)},
		{"version", u32(version)},
		{"shard", u32(0x11121314)},
		{"creation time of the stream", u64(0x2122232425262728)},
		{"space number", u32(0x31323334)},
		{"length of the epoch", u32(9)},
		{"epoch", append([]byte("the epoch"), make([]byte, 55)...)},
		{"column generation", u32(0x41424344)},
		{"dimension", u32(30)},
		{"bytes of a sketch", u32(16)},
		{"bytes of a code", u32(48)},
		{"words of a base-layer list", u32(5)},
		{"words of an upper list", u32(3)},
		{"log2 of the rows of a chunk", u32(11)},
		{"log2 of the slots of a chunk", u32(7)},
		{"CRC-32C of the centre", u32(crc32.Checksum(h.centre(), castagnoli))},
		{"zero", make([]byte, 3960)},
		{"CRC-32C of bytes 0 to 4091", u32(crc32.Checksum(b[:4092], castagnoli))},
	})
}

func TestDocumentedState(t *testing.T) {
	mem := vfs.NewMem()
	f := created(t, mem, "a.col", 1500)
	s := f.State()
	s.Linked.Store(0x2122232425262728)
	s.Linking.Store(0x3132333435363738)
	s.Slots.Store(0x4142434445464748)
	s.Entry = 0x5152535455565758
	block := contentOf(t, mem, "a.col")
	checkTable(t, "\n## State\n", block[stateOffset:centreOffset], []field{
		{"chunks that are there", u64(2)},
		{"zero", u64(0)},
		{"linked", u64(0x2122232425262728)},
		{"linking", u64(0x3132333435363738)},
		{"slots of upper lists that have been given out", u64(0x4142434445464748)},
		{"entry", u64(0x5152535455565758)},
		{"zero", make([]byte, stateBytes-48)},
	})
	checkTable(t, "\n## Centre\n", block[centreOffset:headerBytes], []field{
		{"centre", f.Header().centre()},
		{"zero", make([]byte, headerBytes-centreOffset-4*small().Dim)},
	})
	if n := unsafe.Sizeof(State{}); n != 8*stateWords {
		t.Errorf("the state has %d bytes", n)
	}
	ok(t, f.Close())
}

func TestDocumentedSums(t *testing.T) {
	b := appendSums(nil, checksums{fileBytes: 0x1112131415161718, sums: []uint32{0x21222324, 0x31323334}})
	checkTable(t, "\n## Checksums\n", b, []field{
		{"magic of the checksums", []byte(sumsMagic)},
		{"version", u32(sumsVersion)},
		{"bytes of a block", u32(blockBytes)},
		{"bytes of the column file", u64(0x1112131415161718)},
		{"number of checksums", u32(2)},
		{"zero", u32(0)},
		{"checksums", append(u32(0x21222324), u32(0x31323334)...)},
		{"CRC-32C of all bytes before", u32(crc32.Checksum(b[:len(b)-4], castagnoli))},
	})
}

func TestDocumentedColumns(t *testing.T) {
	l := small()
	words := map[string]int64{
		"R": 1 << l.ChunkShift, "S": 1 << l.SlotShift, "stride of sketches": 64, "stride of codes": 32, "words of a base-layer list": int64(l.Links),
		"words of an upper list": int64(l.UpperLinks), "4": 4, "8": 8,
	}
	rows := tables(t, "\n## Chunk\n", 3)
	if len(rows) != int(columns) {
		t.Fatalf("the document has %d columns", len(rows))
	}
	at := int64(0)
	for c, row := range rows {
		size := int64(1)
		for factor := range strings.SplitSeq(row[0], " × ") {
			n, found := words[factor]
			if !found {
				t.Errorf("%s: what is %q?", row[1], factor)
			}
			size *= n
		}
		if at = alignUp(at, columnAlign); row[1] != Column(c).String() || size != l.columnBytes(Column(c)) || at != l.columnOffset(Column(c)) {
			t.Errorf("the document has %q of %d bytes at %d, it is %q of %d at %d",
				row[1], size, at, Column(c), l.columnBytes(Column(c)), l.columnOffset(Column(c)))
		}
		at += size
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
		"magic of the columns":                            hexOf(magic),
		"magic of the checksums":                          hexOf(sumsMagic),
		"version":                                         strconv.Itoa(version),
		"bytes of the header block":                       strconv.Itoa(headerBytes),
		"offset of the state":                             strconv.Itoa(stateOffset),
		"offset of the centre":                            strconv.Itoa(centreOffset),
		"bytes of the longest epoch":                      strconv.Itoa(maxEpoch),
		"bytes of a page, which chunks are a multiple of": strconv.Itoa(vfs.PageSize),
		"alignment of a column":                           strconv.Itoa(columnAlign),
		"what bytes of codes are a multiple of":           strconv.Itoa(codeAlign),
		"bytes of a block":                                strconv.Itoa(blockBytes),
	}
	if sumsVersion != version {
		t.Error("the document has one version")
	}
	for _, row := range tables(t, "# Columns, version "+strconv.Itoa(version)+"\n", 2) {
		if value, found := want[row[0]]; !found || row[1] != value && !strings.HasPrefix(row[1], value+" (") {
			t.Errorf("the document says that %q is %s, it is %s", row[0], row[1], value)
		}
		delete(want, row[0])
	}
	if len(want) > 0 {
		t.Errorf("the document does not have %v", want)
	}
}
