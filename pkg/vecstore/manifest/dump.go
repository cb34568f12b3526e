package manifest

import (
	"errors"
	"io"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
	"github.com/engram-memory/engram/pkg/vecstore/rows/annotate"
)

// IsDumpable tells whether a file that begins with these bytes is one for Dump.
func IsDumpable(head []byte) bool { return len(head) >= 8 && string(head[:8]) == magic }

// Dump prints the bytes of a manifest, annotated: a line for each field with its offset, its size, its bytes in hex and what
// they say. Of one that Decode refuses it prints as much as makes sense, and returns the error of Decode.
func Dump(w io.Writer, b []byte) error {
	m, err := Decode(b)
	p := annotate.New(w)
	if len(b) >= header && IsDumpable(b) && !errors.Is(err, rows.ErrVersion) {
		p.At(0, b)
		dumpHeader(p)
		if err == nil {
			m.dump(p)
		} else {
			p.Field(len(p.Rest()), "the rest")
		}
	}
	return errors.Join(err, p.Flush())
}

func dumpHeader(p *annotate.Printer) {
	p.Title("header")
	p.Field(8, "magic of a manifest")
	p.U32("version: %d")
	p.U32("length of the file: %d")
	p.Time("creation time of the stream", "")
	p.U32("shard: %d")
	n := p.U32("length of the epoch: %d")
	p.Field(rows.MaxEpoch, "epoch: %q", p.Rest()[:min(n, rows.MaxEpoch)])
	p.Field(32, "hash key")
	p.Field(1, "state: %v", State(p.Rest()[0]))
	p.Field(3, "zero")
	p.U32("length of the identity: %d")
	p.U32("next file id: %d")
	p.U32("number of segments: %d")
	p.U32("number of columns: %d")
	p.U32("number of horizons: %d")
	p.U32("number of rows given up: %d")
	p.Field(4, "zero")
}

// dump prints what comes behind the header.
func (m *Manifest) dump(p *annotate.Printer) {
	if n := len(pad([]byte(m.Identity))); n > 0 {
		p.Title("identity")
		p.Field(n, "identity: %q", m.Identity)
	}
	for i := range m.Segments {
		p.Title("segment %d", i)
		p.U32("file id: %d")
		p.U32("entries: %d")
		p.U64("length: %d")
	}
	for i, c := range m.Columns {
		p.Title("columns %d", i)
		p.U32("space number: %d")
		p.U32("generation: %d")
		p.U32("rows: %d")
		p.U32("length of the file name: %d")
		p.Field(8, "zero")
		p.Field(len(pad([]byte(c.File))), "file name: %q", c.File)
	}
	for i := range m.Horizons {
		p.Title("horizon %d", i)
		p.U32("space number: %d")
		p.Field(4, "zero")
		p.U64("lowest sequence: %d")
	}
	for i := range m.GivenUp {
		p.Title("row given up %d", i)
		p.U32("space number: %d")
		p.Field(4, "zero")
		p.U64("sequence: %d")
	}
	p.Title("end")
	p.Field(4, "zero")
	p.Checksum("all before", true)
}
