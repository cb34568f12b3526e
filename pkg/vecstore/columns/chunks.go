package columns

import "unsafe"

// Info is what goes with the codes of a row.
type Info struct {
	// Sketch and Code are by what the signs, and the levels, of a code are to be multiplied for its vector.
	Sketch, Code float32
	// Norm is the squared length of the vector, and Missed bounds the length of what the code misses of it.
	Norm, Missed float32
}

// Chunks is a snapshot of the rows that were there when it was taken. It never changes; rows that Grow adds are in
// later ones. Its slices point into the mapped file, with the lifetime that the package comment says.
//
// A row beyond Rows, or a slot beyond Slots, panics, or is a place without meaning within the last chunk.
type Chunks struct {
	// Codes has where the codes of each chunk begin, for a kernel that takes Shift and Stride too. The codes are the first
	// column of a chunk, so these are also where the chunks begin.
	Codes []*int8

	shift     uint8
	slotShift uint8
	rowMask   uint32
	slotMask  uint32

	stride      uintptr
	linkBytes   uintptr
	upperBytes  uintptr
	infoAt      uintptr
	sequencesAt uintptr
	linksAt     uintptr
	indexAt     uintptr
	upperAt     uintptr
}

func newChunks(l Layout) *Chunks {
	return &Chunks{
		shift: uint8(l.ChunkShift), slotShift: uint8(l.SlotShift),
		rowMask: 1<<l.ChunkShift - 1, slotMask: 1<<l.SlotShift - 1,
		stride: uintptr(l.Stride), linkBytes: uintptr(l.Links) * wordBytes, upperBytes: uintptr(l.UpperLinks) * wordBytes,
		infoAt: uintptr(l.columnOffset(ColumnInfo)), sequencesAt: uintptr(l.columnOffset(ColumnSequences)),
		linksAt: uintptr(l.columnOffset(ColumnLinks)), indexAt: uintptr(l.columnOffset(ColumnUpperIndex)),
		upperAt: uintptr(l.columnOffset(ColumnUpper)),
	}
}

// with returns a snapshot that has one chunk more.
func (c *Chunks) with(chunk []byte) *Chunks {
	next := *c
	// The snapshot before has the length it had; what append writes is behind it.
	next.Codes = append(c.Codes, (*int8)(unsafe.Pointer(unsafe.SliceData(chunk))))
	return &next
}

// Shift returns the logarithm of the rows of a chunk: it has 1<<Shift.
func (c *Chunks) Shift() uint { return uint(c.shift) }

// Stride is the bytes of a row of codes.
func (c *Chunks) Stride() int { return int(c.stride) }

// Rows is how many rows there is room for.
func (c *Chunks) Rows() uint32 { return uint32(len(c.Codes)) << c.shift }

// Slots is how many slots for upper lists there is room for.
func (c *Chunks) Slots() uint32 {
	if c.upperBytes == 0 {
		return 0
	}
	return uint32(len(c.Codes)) << c.slotShift
}

// at returns where the bytes of a row are in a column that begins at an offset of the chunk.
func (c *Chunks) at(row uint32, column, stride uintptr) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(c.Codes[row>>(c.shift&31)]), column+uintptr(row&c.rowMask)*stride)
}

// Code returns the code of a row, Stride bytes.
func (c *Chunks) Code(row uint32) []int8 {
	return unsafe.Slice((*int8)(c.at(row, 0, c.stride)), c.stride)
}

// Info returns what goes with the code of a row.
func (c *Chunks) Info(row uint32) *Info { return (*Info)(c.at(row, c.infoAt, infoBytes)) }

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
	base := unsafe.Pointer(c.Codes[slot>>(c.slotShift&31)])
	return unsafe.Slice((*uint32)(unsafe.Add(base, c.upperAt+uintptr(slot&c.slotMask)*c.upperBytes)), c.upperBytes/wordBytes)
}
