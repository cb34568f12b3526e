package columns

import (
	"math"
	"unsafe"
)

// Info is what goes with the codes of a row.
type Info struct {
	// Sketch and Code are by what the signs, and the levels, of a code are to be multiplied for its vector.
	Sketch, Code float32
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
	// Heads has where the heads of each chunk begin, for a kernel that takes Shift and HeadStride too. The heads are the first
	// column of a chunk, so these are also where the chunks begin.
	Heads []*byte
	// Rest has where the rest of the codes begins in each chunk.
	Rest []*byte

	shift     uint8
	slotShift uint8
	rowMask   uint32
	slotMask  uint32

	headStride  uintptr
	restStride  uintptr
	sketch      uintptr
	linkBytes   uintptr
	upperBytes  uintptr
	restAt      uintptr
	sequencesAt uintptr
	linksAt     uintptr
	indexAt     uintptr
	upperAt     uintptr
}

func newChunks(l Layout) *Chunks {
	return &Chunks{
		shift: uint8(l.ChunkShift), slotShift: uint8(l.SlotShift),
		rowMask: 1<<l.ChunkShift - 1, slotMask: 1<<l.SlotShift - 1,
		headStride: uintptr(l.HeadStride()), restStride: uintptr(l.Rest), sketch: uintptr(l.Sketch),
		linkBytes: uintptr(l.Links) * wordBytes, upperBytes: uintptr(l.UpperLinks) * wordBytes,
		restAt: uintptr(l.columnOffset(ColumnRest)), sequencesAt: uintptr(l.columnOffset(ColumnSequences)),
		linksAt: uintptr(l.columnOffset(ColumnLinks)), indexAt: uintptr(l.columnOffset(ColumnUpperIndex)),
		upperAt: uintptr(l.columnOffset(ColumnUpper)),
	}
}

// with returns a snapshot that has one chunk more.
func (c *Chunks) with(chunk []byte) *Chunks {
	next := *c
	// The snapshot before has the length it had; what append writes is behind it.
	first := unsafe.SliceData(chunk)
	next.Heads = append(c.Heads, first)
	next.Rest = append(c.Rest, (*byte)(unsafe.Add(unsafe.Pointer(first), c.restAt)))
	return &next
}

// Shift returns the logarithm of the rows of a chunk: it has 1<<Shift.
func (c *Chunks) Shift() uint { return uint(c.shift) }

// HeadStride is the distance of heads, in bytes.
func (c *Chunks) HeadStride() int { return int(c.headStride) }

// RestStride is the distance of the rests of codes, in bytes.
func (c *Chunks) RestStride() int { return int(c.restStride) }

// Rows is how many rows there is room for.
func (c *Chunks) Rows() uint32 { return uint32(len(c.Heads)) << c.shift }

// Slots is how many slots for upper lists there is room for.
func (c *Chunks) Slots() uint32 {
	if c.upperBytes == 0 {
		return 0
	}
	return uint32(len(c.Heads)) << c.slotShift
}

// at returns where the bytes of a row are in a column that begins at an offset of the chunk.
func (c *Chunks) at(row uint32, column, stride uintptr) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(c.Heads[row>>(c.shift&31)]), column+uintptr(row&c.rowMask)*stride)
}

// Sketch returns the first bit planes of a row.
func (c *Chunks) Sketch(row uint32) []byte {
	return unsafe.Slice((*byte)(c.at(row, 0, c.headStride)), c.sketch)
}

// RestOf returns the bit planes of a row that follow the sketch.
func (c *Chunks) RestOf(row uint32) []byte {
	return unsafe.Slice((*byte)(c.at(row, c.restAt, c.restStride)), c.restStride)
}

// Info returns what goes with the code of a row. It stands behind the sketch, so that both are on the same cache lines.
func (c *Chunks) Info(row uint32) *Info { return (*Info)(c.at(row, c.sketch, c.headStride)) }

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
	base := unsafe.Pointer(c.Heads[slot>>(c.slotShift&31)])
	return unsafe.Slice((*uint32)(unsafe.Add(base, c.upperAt+uintptr(slot&c.slotMask)*c.upperBytes)), c.upperBytes/wordBytes)
}
