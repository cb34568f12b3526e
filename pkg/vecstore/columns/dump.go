package columns

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// dumper prints the bytes of a file, each line an offset, a length, the first bytes and what they mean.
type dumper struct {
	w *bufio.Writer
	r io.ReaderAt
}

const dumpedBytes = 16 // of a field that has more

// Dump prints a column file, or a file of its checksums, as annotated bytes. Of the rows of a chunk it prints the first
// two and the last one that were linked. What is damaged is printed as far as possible, and returned as the error.
func Dump(w io.Writer, r io.ReaderAt, size int64) error {
	d := dumper{w: bufio.NewWriter(w), r: r}
	b := make([]byte, 8)
	if _, err := r.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	dump := d.columns
	if string(b) == sumsMagic {
		dump = d.sums
	}
	return errors.Join(dump(size), d.w.Flush())
}

// IsDumpable tells whether a file that begins with these bytes is one for Dump.
func IsDumpable(head []byte) bool {
	return IsColumns(head) || len(head) >= 8 && string(head[:8]) == sumsMagic
}

// IsColumns tells whether it is a column file, which has its checksums beside it at SumsPath after a clean close.
func IsColumns(head []byte) bool { return len(head) >= 8 && string(head[:8]) == magic }

// field prints n bytes at an offset and returns them, those that are kept of them at least.
func (d dumper) field(at, n int64, meaning func(b []byte) string) error {
	b := make([]byte, min(n, max(dumpedBytes, maxEpoch)))
	if got, err := d.r.ReadAt(b, at); err != nil && (!errors.Is(err, io.EOF) || got < len(b)) {
		return fmt.Errorf("reading %d bytes at %d: %w", n, at, err)
	}
	shown := fmt.Sprintf("% x", b[:min(len(b), dumpedBytes)])
	if n > dumpedBytes {
		shown += " …"
	}
	_, err := fmt.Fprintf(d.w, "%12d %9d  %-50s %s\n", at, n, shown, meaning(b))
	return err
}

// u32Field has the meaning of a field that is a number.
func u32Field(name string) func([]byte) string {
	return func(b []byte) string { return fmt.Sprintf("%s: %d", name, binary.LittleEndian.Uint32(b)) }
}

func u64Field(name string) func([]byte) string {
	return func(b []byte) string { return fmt.Sprintf("%s: %d", name, binary.LittleEndian.Uint64(b)) }
}

func textField(name string) func([]byte) string {
	return func(b []byte) string { return fmt.Sprintf("%s: %q", name, b) }
}

func plain(name string) func([]byte) string { return func([]byte) string { return name } }

type dumpField struct {
	size    int64
	meaning func([]byte) string
}

// fields prints fields back to back.
func (d dumper) fields(at int64, fields []dumpField) error {
	for _, f := range fields {
		if f.size == 0 {
			continue
		}
		if err := d.field(at, f.size, f.meaning); err != nil {
			return err
		}
		at += f.size
	}
	return nil
}

func headerFields() []dumpField {
	return []dumpField{
		{8, textField("magic")},
		{4, u32Field("version")},
		{4, u32Field("shard")},
		{8, u64Field("creation time of the stream")},
		{4, u32Field("space number")},
		{4, u32Field("length of the epoch")},
		{maxEpoch, func(b []byte) string { return fmt.Sprintf("epoch: %q", trimZeros(b)) }},
		{4, u32Field("column generation")},
		{4, u32Field("dimension")},
		{4, u32Field("bytes of a sketch")},
		{4, u32Field("bytes of the rest")},
		{4, u32Field("words of a base-layer list")},
		{4, u32Field("words of an upper list")},
		{4, u32Field("log2 of the rows of a chunk")},
		{4, u32Field("log2 of the slots of a chunk")},
		{4, plain("CRC-32C of the centre")},
		{fixedBytes - 132 - 4, plain("zero")},
		{4, plain("CRC-32C")},
		{8, u64Field("chunks")},
		{8, plain("zero")},
		{8, u64Field("linked")},
		{8, u64Field("linking")},
		{8, u64Field("slots")},
		{8, u64Field("entry")},
		{stateBytes - 8*stateWords, plain("zero")},
		{headerBytes - centreOffset, plain("centre, and zero")},
	}
}

func trimZeros(b []byte) []byte {
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return b[:n]
}

func (d dumper) columns(size int64) error {
	fmt.Fprintf(d.w, "columns, %d bytes\n\nheader\n", size)
	if err := d.fields(0, headerFields()); err != nil {
		return err
	}
	b := make([]byte, headerBytes)
	if _, err := d.r.ReadAt(b, 0); err != nil {
		return err
	}
	h, err := parseHeader(b[:fixedBytes])
	if err != nil {
		return err
	}
	if _, err := parseCentre(b, h); err != nil {
		return err
	}
	l := h.Layout
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[stateOffset+8*i:]) }
	chunks, rows := word(0), word(3)
	there := (size - headerBytes) / l.chunkBytes()
	for i := range int(min(uint64(there), chunks)) {
		if err := d.chunk(l, i, rows); err != nil {
			return err
		}
	}
	if chunks > uint64(there) {
		return fmt.Errorf("%w: it is said to have %d chunks, and its %d bytes hold %d", ErrCorrupt, chunks, size, there)
	}
	if end := l.chunkOffset(int(chunks)); size > end {
		fmt.Fprintf(d.w, "\n%12d %9d  not part of a chunk\n", end, size-end)
	}
	return nil
}

func (d dumper) chunk(l Layout, chunk int, rows uint64) error {
	start := l.chunkOffset(chunk)
	first := uint64(chunk) << l.ChunkShift
	fmt.Fprintf(d.w, "\nchunk %d, rows %d to %d\n", chunk, first, first+uint64(l.ChunkRows())-1)
	for c := range columns {
		if n := l.columnBytes(c); n > 0 {
			if err := d.field(start+l.columnOffset(c), n, plain(c.String())); err != nil {
				return err
			}
		}
	}
	used := min(max(rows, first)-first, uint64(l.ChunkRows()))
	for i := range used {
		if i >= 2 && i < used-1 {
			continue
		}
		if i == used-1 && used > 3 {
			fmt.Fprintf(d.w, "%24s …\n", "")
		}
		if err := d.row(l, start, first+i, int64(i)); err != nil {
			return err
		}
	}
	return nil
}

func (d dumper) row(l Layout, start int64, row uint64, i int64) error {
	name := fmt.Sprintf("row %d ", row)
	if l.Sketch > 0 {
		sketch := start + l.columnOffset(ColumnSketches) + i*int64(l.SketchStride())
		padding := int64(l.SketchStride()) - int64(l.Sketch) - sketchInfoBytes
		err := d.fields(sketch, []dumpField{
			{int64(l.Sketch), plain(name + "sketch")}, {sketchInfoBytes, sketchInfoField(name)}, {padding, plain(name + "zero")},
		})
		if err != nil {
			return err
		}
	}
	code := start + l.columnOffset(ColumnCodes) + i*int64(l.CodeStride())
	padding := int64(l.CodeStride()) - int64(l.Code) - infoBytes
	err := d.fields(code, []dumpField{
		{int64(l.Code), plain(name + "code")}, {infoBytes, infoField(name)}, {padding, plain(name + "zero")},
	})
	if err != nil {
		return err
	}
	parts := []struct {
		column  Column
		size    int64
		meaning func([]byte) string
	}{
		{ColumnSequences, sequenceBytes, u64Field(name + "sequence")},
		{ColumnLinks, int64(l.Links) * wordBytes, u32Field(name + "links")},
		{ColumnUpperIndex, wordBytes, u32Field(name + "upper index")},
	}
	for _, p := range parts {
		if l.columnBytes(p.column) == 0 {
			continue
		}
		if err := d.field(start+l.columnOffset(p.column)+i*p.size, p.size, p.meaning); err != nil {
			return err
		}
	}
	return nil
}

func sketchInfoField(name string) func([]byte) string {
	return func(b []byte) string {
		float := func(at int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b[at:])) }
		return fmt.Sprintf("%ssketch factor: %g, norm: %g", name, float(0), float(4))
	}
}

func infoField(name string) func([]byte) string {
	return func(b []byte) string {
		float := func(at int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b[at:])) }
		bound := func(at int) float32 { return Bound(binary.LittleEndian.Uint16(b[at:])).Float32() }
		return fmt.Sprintf("%sfactor: %g, norm: %g, missed: %g, rounded: %g", name, float(0), float(4), bound(8), bound(10))
	}
}

func (d dumper) sums(size int64) error {
	fmt.Fprintf(d.w, "checksums of columns, %d bytes\n\n", size)
	header := []dumpField{
		{8, textField("magic")},
		{4, u32Field("version")},
		{4, u32Field("bytes of a block")},
		{8, u64Field("bytes of the column file")},
		{4, u32Field("number of checksums")},
		{4, plain("zero")},
	}
	if err := d.fields(0, header); err != nil {
		return err
	}
	// Checksums of a terabyte are 16 MiB.
	if size > 1<<30 {
		return fmt.Errorf("%w: %d bytes of checksums", ErrCorrupt, size)
	}
	b := make([]byte, size)
	if _, err := d.r.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	c, err := parseSums(b)
	if err != nil {
		return err
	}
	for i := range c.sums {
		if err := d.field(sumsHeader+4*int64(i), 4, plain(fmt.Sprintf("CRC-32C of block %d", i))); err != nil {
			return err
		}
	}
	return d.field(size-4, 4, plain("CRC-32C"))
}
