package columns

import (
	"fmt"

	"github.com/engram-memory/engram/pkg/vfs"
)

// Layout is the shape of a file: what a row has, and how many rows a chunk.
type Layout struct {
	// Dim is the dimension of the space.
	Dim int
	// Sketch is the bytes of the sketch of a row, in front of its SketchInfo: a multiple of 16, or 0 when there are none.
	Sketch int
	// Code is the bytes of the code of a row, in front of its Info: a multiple of 16.
	Code int
	// Links is the words of a base-layer list, its count included; 0 when there is no graph.
	Links int
	// UpperLinks is the words of a list in an upper layer, which takes one slot; 0 when there are none.
	UpperLinks int
	// ChunkShift: a chunk has 1<<ChunkShift rows.
	ChunkShift uint
	// SlotShift: a chunk has 1<<SlotShift slots, when there are any.
	SlotShift uint
}

const (
	minChunkShift = 10
	maxChunkShift = 16
	minSlotShift  = 4
	maxSlotShift  = maxChunkShift + 1
	maxDim        = 1 << 20
	maxLinks      = 1 << 12

	chunkTarget = 16 << 20 // bytes of a chunk, to within a factor of the square root of two
	codeAlign   = 16
	columnAlign = 64

	sketchInfoBytes = 8
	infoBytes       = 12
	sequenceBytes   = 8
	wordBytes       = 4
)

// LayoutFor chooses the layout of a space: chunks of about 16 MiB, of 1,024 to 65,536 rows. The arguments are as in
// Layout. A list of upperLinks words is taken for M links and their count, and a row for one that is in 1/(M-1) upper
// layers on average; a chunk has slots for half as many again.
func LayoutFor(dim, sketch, code, links, upperLinks int) Layout {
	l := Layout{Dim: dim, Sketch: sketch, Code: code, Links: links, UpperLinks: upperLinks}
	for l.ChunkShift = minChunkShift; l.ChunkShift < maxChunkShift; l.ChunkShift++ {
		l.SlotShift = slotShift(l.ChunkShift, upperLinks)
		// Twice the size is nearer to the target while this one is below 1/√2 of it.
		if size := l.chunkBytes(); size > chunkTarget*7/10 {
			break
		}
	}
	l.SlotShift = slotShift(l.ChunkShift, upperLinks)
	return l
}

func slotShift(chunkShift uint, upperLinks int) uint {
	if upperLinks == 0 {
		return 0
	}
	per := max(upperLinks-2, 1) // M-1
	shift := uint(minSlotShift)
	for shift < chunkShift+1 && 2*per<<shift < 3<<chunkShift {
		shift++
	}
	return shift
}

func (l Layout) validate() error {
	switch {
	case l.Dim < 1 || l.Dim > maxDim:
		return fmt.Errorf("a dimension of %d; it can be 1 to %d", l.Dim, maxDim)
	case l.Sketch != 0 && !isCode(l.Sketch):
		return fmt.Errorf("sketches of %d bytes; they can be 0 and multiples of %d up to %d", l.Sketch, codeAlign, maxDim)
	case !isCode(l.Code):
		return fmt.Errorf("codes of %d bytes; they can be multiples of %d up to %d", l.Code, codeAlign, maxDim)
	case l.Links < 0 || l.Links > maxLinks || l.UpperLinks < 0 || l.UpperLinks > maxLinks:
		return fmt.Errorf("lists of %d and %d words; they can have 0 to %d", l.Links, l.UpperLinks, maxLinks)
	case l.ChunkShift < minChunkShift || l.ChunkShift > maxChunkShift:
		return fmt.Errorf("chunks of 2^%d rows; it can be 2^%d to 2^%d", l.ChunkShift, minChunkShift, maxChunkShift)
	case l.UpperLinks == 0 && l.SlotShift != 0 || l.UpperLinks > 0 && (l.SlotShift < minSlotShift || l.SlotShift > maxSlotShift):
		return fmt.Errorf("2^%d slots of %d words", l.SlotShift, l.UpperLinks)
	}
	return nil
}

func isCode(n int) bool { return n >= codeAlign && n%codeAlign == 0 && n <= maxDim }

// SketchStride is the bytes of the sketch of a row and its SketchInfo, on as few cache lines as hold them; 0 when there are
// no sketches.
func (l Layout) SketchStride() int {
	if l.Sketch == 0 {
		return 0
	}
	return int(alignUp(int64(l.Sketch)+sketchInfoBytes, columnAlign))
}

// CodeStride is the bytes of the code of a row and its Info, with what is left free behind them.
func (l Layout) CodeStride() int { return int(alignUp(int64(l.Code)+infoBytes, codeAlign)) }

// ChunkRows is the number of rows of a chunk.
func (l Layout) ChunkRows() uint32 { return 1 << l.ChunkShift }

// Column is one of the columns of a chunk.
type Column int

// The columns, in the order in which they are in a chunk.
const (
	ColumnSketches Column = iota
	ColumnCodes
	ColumnSequences
	ColumnLinks
	ColumnUpperIndex
	ColumnUpper
	columns
)

var columnNames = [columns]string{"sketches", "codes", "sequences", "links", "upper index", "upper lists"}

func (c Column) String() string { return columnNames[c] }

// columnBytes is the length of a column in a chunk; 0 when the layout does not have it.
func (l Layout) columnBytes(c Column) int64 {
	rows := int64(1) << l.ChunkShift
	switch c {
	case ColumnSketches:
		return rows * int64(l.SketchStride())
	case ColumnCodes:
		return rows * int64(l.CodeStride())
	case ColumnSequences:
		return rows * sequenceBytes
	case ColumnLinks:
		return rows * int64(l.Links) * wordBytes
	case ColumnUpperIndex:
		if l.UpperLinks == 0 {
			return 0
		}
		return rows * wordBytes
	default:
		return int64(l.UpperLinks) * wordBytes << l.SlotShift
	}
}

func alignUp(n, to int64) int64 { return (n + to - 1) / to * to }

// columnOffset is where a column begins in a chunk; that of the number of columns is where the last one ends.
func (l Layout) columnOffset(c Column) int64 {
	at := int64(0)
	for before := range c {
		at = alignUp(at+l.columnBytes(before), columnAlign)
	}
	return at
}

// chunkBytes is the length of a chunk in the file.
func (l Layout) chunkBytes() int64 { return alignUp(l.columnOffset(columns), vfs.PageSize) }

// chunkOffset is where a chunk begins in the file; that of the number of chunks is the length of the file.
func (l Layout) chunkOffset(chunk int) int64 { return headerBytes + int64(chunk)*l.chunkBytes() }

// FileBytes is the length of a file with room for rows, whole chunks of them and the header.
func (l Layout) FileBytes(rows int64) int64 {
	chunks := (rows + int64(l.ChunkRows()) - 1) / int64(l.ChunkRows())
	return headerBytes + chunks*l.chunkBytes()
}
