// Package formattest compares the documents of file formats with the bytes that are written: the tables of a document are read
// row by row.
package formattest

import (
	"bytes"
	"encoding/binary"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Document is the text of a document.
type Document string

// Read returns the document at a path.
func Read(t *testing.T, path string) Document {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return Document(text)
}

// Rows returns the rows of the tables of a section that have so many columns, the headings left out.
func (d Document) Rows(t *testing.T, heading string, columns int) [][]string {
	t.Helper()
	_, rest, ok := strings.Cut(string(d), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("the document has no section %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	var rows [][]string
	lines := strings.Split(rest, "\n")
	for i, line := range lines {
		heading := i+1 < len(lines) && strings.HasPrefix(lines[i+1], "|---")
		if heading || !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		if len(cells) == columns {
			rows = append(rows, cells)
		}
	}
	return rows
}

// Field is what the encoder must have written for a field of a table, known by the words it begins with.
type Field struct {
	Name  string
	Bytes []byte
}

// U16 is a number as it stands in a file.
func U16(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }

// U32 is a number as it stands in a file.
func U32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

// U64 is a number as it stands in a file.
func U64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

// Layout checks that the fields of a table follow each other from an offset on without a gap, and that each is where and
// what it says in the encoded bytes, which begin at that offset. Offset and size are … where they depend on what is before.
func (d Document) Layout(t *testing.T, heading string, from int, encoded []byte, fields []Field) {
	t.Helper()
	rows := d.Rows(t, heading, 3)
	if len(rows) != len(fields) {
		t.Fatalf("the table of %q has %d fields, want %d", heading, len(rows), len(fields))
	}
	at := 0
	for i, row := range rows {
		want := fields[i]
		if row[2] != want.Name && !strings.HasPrefix(row[2], want.Name+":") && !strings.HasPrefix(row[2], want.Name+",") {
			t.Errorf("%s: field %d is %q, want %q", heading, i, row[2], want.Name)
		}
		if row[0] != "…" && row[0] != strconv.Itoa(from+at) {
			t.Errorf("%s: %q is said to be at %s, the fields before it end at %d", heading, want.Name, row[0], from+at)
		}
		if row[1] != "…" && row[1] != strconv.Itoa(len(want.Bytes)) {
			t.Errorf("%s: %q is said to have %s bytes, and has %d", heading, want.Name, row[1], len(want.Bytes))
		}
		end := at + len(want.Bytes)
		if end > len(encoded) || !bytes.Equal(encoded[at:end], want.Bytes) {
			t.Errorf("%s: %q at %d is not what the encoder wrote there: % x, want % x",
				heading, want.Name, from+at, encoded[at:min(end, len(encoded))], want.Bytes)
		}
		at = end
	}
	if at != len(encoded) {
		t.Errorf("%s: the table covers %d of %d bytes", heading, at, len(encoded))
	}
}

// Values checks the rows of a section that have so many columns: a row is known by the cell of one column, and has its value
// in another one, perhaps with something in brackets behind it. No row may be missing and none too much.
func (d Document) Values(t *testing.T, heading string, columns, name, value int, want map[string]string) {
	t.Helper()
	left := map[string]bool{}
	for n := range want {
		left[n] = true
	}
	for _, row := range d.Rows(t, heading, columns) {
		v, ok := want[row[name]]
		if !ok || row[value] != v && !strings.HasPrefix(row[value], v+" (") {
			t.Errorf("the document says that %q is %s, it is %q", row[name], row[value], v)
		}
		delete(left, row[name])
	}
	for n := range left {
		t.Errorf("the document does not have %q", n)
	}
}

// Hex is how a document writes bytes.
func Hex(s string) string {
	var parts []string
	for i := range len(s) {
		parts = append(parts, strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
	}
	return "`" + strings.Join(parts, " ") + "`"
}
