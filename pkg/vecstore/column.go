package vecstore

import (
	"math/bits"
	"sync/atomic"
)

// A column holds one value for each row of a space. It grows by chunks that never move, so a reader that knows how
// many rows are published needs no lock: the writer fills a row before it publishes the row count, and a chunk is
// linked before any of its rows is filled.
//
// Chunks double from firstChunk rows to fullChunk rows, so that a space of a hundred rows is small, and stay at
// fullChunk from there on.
type column[T any] struct {
	chunks atomic.Pointer[[][]T]
}

const (
	firstChunkBits = 5
	firstChunk     = 1 << firstChunkBits
	fullChunkBits  = 12
	fullChunk      = 1 << fullChunkBits
	smallChunks    = fullChunkBits - firstChunkBits + 1 // chunks below row fullChunk
)

// locate returns the chunk of a row and the row's number in it.
func locate(row uint32) (chunk, index uint32) {
	if row < firstChunk {
		return 0, row
	}
	if row < fullChunk {
		c := uint32(bits.Len32(row)) - firstChunkBits
		return c, row - firstChunk<<(c-1)
	}
	return smallChunks + (row-fullChunk)>>fullChunkBits, row & (fullChunk - 1)
}

// chunkRows returns how many rows a chunk holds.
func chunkRows(chunk int) int {
	switch {
	case chunk == 0:
		return firstChunk
	case chunk < smallChunks:
		return firstChunk << (chunk - 1)
	default:
		return fullChunk
	}
}

// grow makes room for a row; the writer alone may call it.
func (c *column[T]) grow(row uint32) {
	chunk, _ := locate(row)
	old := c.load()
	if int(chunk) < len(old) {
		return
	}
	grown := make([][]T, chunk+1)
	copy(grown, old)
	for i := len(old); i < len(grown); i++ {
		grown[i] = make([]T, chunkRows(i))
	}
	c.chunks.Store(&grown)
}

func (c *column[T]) load() [][]T {
	if p := c.chunks.Load(); p != nil {
		return *p
	}
	return nil
}

// at returns the value of a row, which must be below the published row count (or be the writer's own).
func (c *column[T]) at(row uint32) *T {
	chunk, i := locate(row)
	return &c.load()[chunk][i]
}
