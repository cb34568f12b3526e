package columns

import (
	"math"
	"unsafe"
)

// SketchInfo is what goes with the sketch of a row.
type SketchInfo struct {
	// Factor is by what the signs of a sketch are to be multiplied for its vector, and Norm the squared length of that, less
	// the centre.
	Factor, Norm float32
}

// Info is what goes with the code of a row.
type Info struct {
	// Factor is by what the levels of a code are to be multiplied for its vector.
	Factor float32
	// Norm is the squared length of the vector, less the centre.
	Norm float32
	// Missed bounds the length of what the code misses of what it was made from, and Rounded that of what that misses of the
	// vector.
	Missed, Rounded Bound
}

// Bound is the upper half of a float32: a number that is not below the one it stands for, and at most a 128th above.
type Bound uint16

// NoBound stands for a number that there is not.
const NoBound Bound = 0x7fc0

// BoundOf returns the bound of a number that is not negative.
func BoundOf(x float32) Bound {
	if x != x {
		return NoBound
	}
	return Bound((math.Float32bits(x) + 0xffff) >> 16)
}

// Float32 returns the number; that of NoBound is no number.
func (b Bound) Float32() float32 { return math.Float32frombits(uint32(b) << 16) }

// Chunks is a snapshot of the rows that were there when it was taken. It never changes; rows that Grow adds are in
// later ones. Its slices point into the mapped file, with the lifetime that the package comment says.
//
// A row beyond Rows, or a slot beyond Slots, panics, or is a place without meaning within the last chunk.
type Chunks struct {
	// Sketches has where the sketches of each chunk begin, for a kernel that takes Shift and SketchStride too. They are the
	// first column of a chunk, so these are also where the chunks begin, when there are no sketches, too.
	Sketches []*byte
	// Codes has where the codes of each chunk begin, for a kernel that takes Shift and CodeStride too.
	Codes []*byte

	shift     uint8
	slotShift uint8
	rowMask   uint32
	slotMask  uint32

	sketchStride uintptr
	sketch       uintptr
	codesAt      uintptr
	codeStride   uintptr
	code         uintptr
	linkBytes    uintptr
	upperBytes   uintptr
	sequencesAt  uintptr
	linksAt      uintptr
	indexAt      uintptr
	upperAt      uintptr
}

func newChunks(l Layout) *Chunks {
	return &Chunks{
		shift: uint8(l.ChunkShift), slotShift: uint8(l.SlotShift),
		rowMask: 1<<l.ChunkShift - 1, slotMask: 1<<l.SlotShift - 1,
		sketchStride: uintptr(l.SketchStride()), sketch: uintptr(l.Sketch),
		codesAt: uintptr(l.columnOffset(ColumnCodes)), codeStride: uintptr(l.CodeStride()), code: uintptr(l.Code),
		linkBytes: uintptr(l.Links) * wordBytes, upperBytes: uintptr(l.UpperLinks) * wordBytes,
		sequencesAt: uintptr(l.columnOffset(ColumnSequences)), linksAt: uintptr(l.columnOffset(ColumnLinks)),
		indexAt: uintptr(l.columnOffset(ColumnUpperIndex)), upperAt: uintptr(l.columnOffset(ColumnUpper)),
	}
}

// with returns a snapshot that has one chunk more.
func (c *Chunks) with(chunk []byte) *Chunks {
	next := *c
	// The snapshot before has the length it had; what append writes is behind it.
	first := unsafe.SliceData(chunk)
	next.Sketches = append(c.Sketches, first)
	next.Codes = append(c.Codes, (*byte)(unsafe.Add(unsafe.Pointer(first), c.codesAt)))
	return &next
}

// Shift returns the logarithm of the rows of a chunk: it has 1<<Shift.
func (c *Chunks) Shift() uint { return uint(c.shift) }

// SketchStride is the distance of sketches, in bytes.
func (c *Chunks) SketchStride() int { return int(c.sketchStride) }

// CodeStride is the distance of codes, in bytes.
func (c *Chunks) CodeStride() int { return int(c.codeStride) }

// Rows is how many rows there is room for.
func (c *Chunks) Rows() uint32 { return uint32(len(c.Sketches)) << c.shift }

// Slots is how many slots for upper lists there is room for.
func (c *Chunks) Slots() uint32 {
	if c.upperBytes == 0 {
		return 0
	}
	return uint32(len(c.Sketches)) << c.slotShift
}

// at returns where the bytes of a row are in a column that begins at an offset of the chunk.
func (c *Chunks) at(row uint32, column, stride uintptr) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(c.Sketches[row>>(c.shift&31)]), column+uintptr(row&c.rowMask)*stride)
}

// Sketch returns the sketch of a row.
func (c *Chunks) Sketch(row uint32) []byte {
	return unsafe.Slice((*byte)(c.at(row, 0, c.sketchStride)), c.sketch)
}

// SketchInfo returns what goes with the sketch of a row. It stands behind the sketch, so that both are on the same cache
// lines. The layout must have sketches.
func (c *Chunks) SketchInfo(row uint32) *SketchInfo {
	return (*SketchInfo)(c.at(row, c.sketch, c.sketchStride))
}

// Code returns the code of a row.
func (c *Chunks) Code(row uint32) []byte {
	return unsafe.Slice((*byte)(c.at(row, c.codesAt, c.codeStride)), c.code)
}

// Info returns what goes with the code of a row. It stands behind the code, so that both are on the same cache lines.
func (c *Chunks) Info(row uint32) *Info { return (*Info)(c.at(row, c.codesAt+c.code, c.codeStride)) }

// Sequence returns the sequence in the log of a row. It is zero until someone stores it, so the writer of a row that
// stores it last, atomically, marks the row complete by that.
func (c *Chunks) Sequence(row uint32) *uint64 {
	return (*uint64)(c.at(row, c.sequencesAt, sequenceBytes))
}

// Links returns the base-layer list of a row, Layout.Links words.
func (c *Chunks) Links(row uint32) []uint32 {
	return unsafe.Slice((*uint32)(c.at(row, c.linksAt, c.linkBytes)), c.linkBytes/wordBytes)
}

// UpperIndex returns where the owner keeps the first slot of a row's upper lists. The layout must have such lists.
func (c *Chunks) UpperIndex(row uint32) *uint32 { return (*uint32)(c.at(row, c.indexAt, wordBytes)) }

// Upper returns the words of a slot, Layout.UpperLinks of them. Slots are numbered through all chunks.
func (c *Chunks) Upper(slot uint32) []uint32 {
	base := unsafe.Pointer(c.Sketches[slot>>(c.slotShift&31)])
	return unsafe.Slice((*uint32)(unsafe.Add(base, c.upperAt+uintptr(slot&c.slotMask)*c.upperBytes)), c.upperBytes/wordBytes)
}
