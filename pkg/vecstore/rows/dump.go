package rows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/engram-memory/engram/pkg/vecstore/rows/annotate"
)

// Dump prints a segment or an index file as annotated bytes: a line for each field with its offset, its size, its bytes in
// hex and what they say. Long vectors and bodies are abbreviated. It goes on as far as the file makes sense, and returns
// ErrCorrupt or ErrVersion when that is not to its end.
func Dump(w io.Writer, r io.ReaderAt, size int64) error {
	d := dumper{annotate.New(w)}
	return errors.Join(d.file(r, size), d.Flush())
}

// IsDumpable tells whether a file that begins with these bytes is one for Dump.
func IsDumpable(head []byte) bool {
	return len(head) >= 8 && (string(head[:8]) == segmentMagic || string(head[:8]) == indexMagic)
}

// dumper prints the files of a log.
type dumper struct{ *annotate.Printer }

func (d dumper) file(r io.ReaderAt, size int64) error {
	head := make([]byte, min(size, segmentHeader))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return fmt.Errorf("reading the header: %w", err)
	}
	switch {
	case !IsDumpable(head):
		return fmt.Errorf("%w: the file is neither a segment of a row log nor an index of one", ErrCorrupt)
	case string(head[:8]) == indexMagic:
		return d.index(r, head, size)
	}
	return d.segment(r, head, size)
}

func (d dumper) segment(r io.ReaderAt, head []byte, size int64) error {
	_, _, wrong := parseSegmentHeader(head)
	if errors.Is(wrong, ErrVersion) || len(head) < segmentHeader {
		return wrong
	}
	d.At(0, head)
	d.Title("segment header")
	d.Field(8, "magic of a segment")
	d.U32("version: %d")
	d.U32("file id: %d")
	d.Time("creation time of the stream", "")
	d.U32("shard: %d")
	n := d.U32("length of the epoch: %d")
	d.Field(MaxEpoch, "epoch: %q", d.Rest()[:min(n, MaxEpoch)])
	d.Field(28, "zero")
	d.Checksum("bytes 0 to 123", wrong == nil)
	if wrong != nil {
		return wrong
	}
	var records recordReader
	for records.reset(r, segmentHeader, size); ; {
		rec, at, err := records.next()
		if rec == nil && err == nil && at < size {
			err = fmt.Errorf("%w: there is no whole record at %d, and %d bytes are left", ErrCorrupt, at, size-at)
		}
		if rec == nil {
			return err
		}
		d.At(at, records.raw)
		if err := d.record(rec); err != nil {
			return err
		}
	}
}

func (d dumper) record(rec *Record) error {
	compressed := d.Rest()[9]&formCompressed != 0
	d.Title("%v", rec.Kind)
	d.Checksum("bytes 4 to the end of the record", true)
	d.U32("length of the whole record: %d")
	d.Field(1, "kind: %v", rec.Kind)
	form := rec.Encoding.String()
	if rec.Kind != KindObserve {
		form = "no vector"
	}
	if compressed {
		form += ", payload compressed"
	}
	d.Field(1, "form: %s", form)
	d.Field(2, "length of the id: %d", len(rec.ID))
	d.U32("space number: %d")
	d.U64("sequence in the stream: %d")
	d.Time("publish time", "")
	d.Time("expiry", "never")
	d.U32("bytes of the vector: %d")
	d.U32("bytes of the body: %d")
	if compressed {
		n := d.U32("bytes of the s2 block: %d")
		d.Field(int(n), "s2 block of a vector %s, an id %q and a body %s", vectorText(rec), rec.ID, bodyText(rec.Body))
	} else {
		if len(rec.Vector) > 0 {
			d.Field(len(rec.Vector), "vector: %s", vectorText(rec))
		}
		if len(rec.ID) > 0 {
			d.Field(len(rec.ID), "id: %q", rec.ID)
		}
		if err := d.body(rec); err != nil {
			return err
		}
	}
	if n := len(d.Rest()); n > 0 {
		d.Field(n, "padding")
	}
	return nil
}

func (d dumper) body(rec *Record) error {
	end := len(d.Rest()) - len(rec.Body)
	switch rec.Kind {
	case KindCheckpoint:
		d.Field(len(checkpointMagic), "magic of a checkpoint")
		d.U32("file id of the place that it vouches for: %d")
		d.Field(4, "zero")
		d.U64("offset of that place: %d")
	case KindDefine:
		return d.definition(rec.Body)
	case KindForget:
		for len(d.Rest()) > end {
			id, rest, err := cutString(d.Rest())
			if err != nil {
				return err
			}
			d.Field(len(d.Rest())-len(rest), "id: %q", id)
		}
	default:
		if len(rec.Body) > 0 {
			d.Field(len(rec.Body), "body: %s", bodyText(rec.Body))
		}
	}
	return nil
}

func (d dumper) definition(body []byte) error {
	def, err := ParseDefinition(body)
	if err != nil {
		return err
	}
	d.U32("dimension: %d")
	d.U32("generation: %d")
	d.Time("creation time", "")
	d.Field(1, "metric: %d", def.Metric)
	d.Field(1, "vectors: %v", def.Vectors)
	for _, s := range []struct{ what, text string }{{"name", def.Name}, {"embedder", def.Embedder}, {"engine", def.Engine}} {
		d.Field(len(appendString(nil, s.text)), "%s: %q", s.what, s.text)
	}
	return nil
}

// vectorText is the first components of a vector.
func vectorText(rec *Record) string {
	b, text := rec.Vector, rec.Encoding.String()
	if rec.Encoding != F32 {
		return text
	}
	for i := 0; i+4 <= len(b); i += 4 {
		if i == 16 {
			return text + " …"
		}
		text += fmt.Sprintf(" %g", math.Float32frombits(binary.LittleEndian.Uint32(b[i:])))
	}
	return text
}

func bodyText(b []byte) string {
	if len(b) > annotate.MostBytes {
		return fmt.Sprintf("%q …", b[:annotate.MostBytes])
	}
	return fmt.Sprintf("%q", b)
}

func (d dumper) index(r io.ReaderAt, head []byte, size int64) error {
	if len(head) < indexEntry {
		return fmt.Errorf("%w: an index of %d bytes", ErrCorrupt, len(head))
	}
	if v := binary.LittleEndian.Uint32(head[8:]); v != indexVersion {
		return fmt.Errorf("%w %d of an index: this program reads version %d", ErrVersion, v, indexVersion)
	}
	d.At(0, head[:indexEntry])
	d.Title("index header")
	d.Field(8, "magic of an index")
	d.U32("version: %d")
	d.U32("file id: %d")
	d.Field(16, "hash of the header of the segment")
	d.Field(20, "zero")
	var err error
	if got := checksum(head[:indexEntry-4]); got != binary.LittleEndian.Uint32(head[indexEntry-4:]) {
		err = fmt.Errorf("%w: the checksum of the header is wrong", ErrCorrupt)
	}
	d.Checksum("bytes 0 to 51", err == nil)
	b := make([]byte, indexEntry)
	at := int64(indexEntry)
	for ; at+indexEntry <= size; at += indexEntry {
		if _, err := r.ReadAt(b, at); err != nil {
			return fmt.Errorf("reading an entry: %w", err)
		}
		d.At(at, b)
		if !d.entry() && err == nil {
			err = fmt.Errorf("%w: the checksum of the entry at %d is wrong", ErrCorrupt, at)
		}
	}
	if at < size && err == nil {
		err = fmt.Errorf("%w: there is half an entry at %d", ErrCorrupt, at)
	}
	return err
}

// entry prints an entry and tells whether its checksum is right.
func (d dumper) entry() bool {
	var e Entry
	right := parseEntry(d.Rest(), &e)
	d.Title("entry of %v", e.Kind)
	d.Checksum("bytes 4 to 55", right)
	d.Field(1, "kind: %v", e.Kind)
	d.Field(1, "encoding: %v", e.Encoding)
	d.Field(1, "first of its record: %t", e.first)
	d.Field(1, "zero")
	d.U32("space number: %d")
	if e.Kind == KindForget {
		d.U32("ids that follow in the record: %d")
	} else {
		d.U32("bytes of the vector: %d")
	}
	d.U64("sequence in the stream: %d")
	d.Time("expiry", "never")
	d.Field(8, "record: %v", e.Ref)
	if e.Kind == KindCheckpoint {
		d.Field(16, "it vouches for all before: file %d, offset %d", e.Key[0], e.Key[1])
	} else {
		d.Field(16, "hash of the id")
	}
	return right
}
