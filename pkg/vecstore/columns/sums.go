package columns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"

	"github.com/engram-memory/engram/pkg/vfs"
)

// The file of checksums is written when a column file is closed cleanly.
//
//	 0   8  magic "ENGCSUM\n"
//	 8   4  version, 2
//	12   4  bytes of a block, 262144
//	16   8  bytes of the column file
//	24   4  number of checksums
//	28   4  zero
//	32   …  CRC-32C of each block, u32
//	 …   4  CRC-32C of all bytes before
//
// The blocks are the header block, and each column of each chunk (with the padding behind it) cut into pieces, the last of
// which may be shorter.
const (
	sumsMagic   = "ENGCSUM\n"
	sumsVersion = 3
	sumsHeader  = 32
	blockBytes  = 256 << 10
)

// checksums is the decoded file.
type checksums struct {
	fileBytes int64
	sums      []uint32
}

// block is a piece of a file that has a checksum.
type block struct {
	chunk  int // -1 for the header block
	column Column
	index  int // within the column of the chunk
	offset int64
	length int64
}

func (b block) String() string {
	if b.chunk < 0 {
		return "the header block"
	}
	return fmt.Sprintf("block %d of the %s of chunk %d (%d bytes at %d)", b.index, b.column, b.chunk, b.length, b.offset)
}

// columnEnd is where the padding behind a column ends in a chunk.
func (l Layout) columnEnd(c Column) int64 {
	if c == columns-1 {
		return l.chunkBytes()
	}
	return l.columnOffset(c + 1)
}

// chunkBlocks are the blocks of the columns of a chunk that come before another one, in the order of the file.
func (l Layout) chunkBlocks(dst []block, chunk int, before Column) []block {
	for c := range before {
		at, end := l.columnOffset(c), l.columnEnd(c)
		for i := 0; at < end; i++ {
			n := min(end-at, blockBytes)
			dst = append(dst, block{chunk, c, i, l.chunkOffset(chunk) + at, n})
			at += n
		}
	}
	return dst
}

// chunkBlockCount is the number of these blocks.
func (l Layout) chunkBlockCount(before Column) int {
	n := int64(0)
	for c := range before {
		n += (l.columnEnd(c) - l.columnOffset(c) + blockBytes - 1) / blockBytes
	}
	return int(n)
}

// blockCount is the number of blocks of a file.
func (l Layout) blockCount(chunks int) int { return 1 + chunks*l.chunkBlockCount(columns) }

// blocks are all blocks of a file, in order. The number of chunks has been compared with the length of the file.
func (l Layout) blocks(chunks int) []block {
	dst := append(make([]block, 0, l.blockCount(chunks)), block{chunk: -1, length: headerBytes})
	for i := range chunks {
		dst = l.chunkBlocks(dst, i, columns)
	}
	return dst
}

func appendSums(dst []byte, c checksums) []byte {
	start := len(dst)
	dst = append(dst, sumsMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, sumsVersion)
	dst = binary.LittleEndian.AppendUint32(dst, blockBytes)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c.fileBytes))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(c.sums)))
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	for _, sum := range c.sums {
		dst = binary.LittleEndian.AppendUint32(dst, sum)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func parseSums(b []byte) (checksums, error) {
	if len(b) < sumsHeader+4 || string(b[:8]) != sumsMagic {
		return checksums{}, fmt.Errorf("%w: the checksums do not begin with a header", ErrCorrupt)
	}
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	if v := word(8); v != sumsVersion {
		return checksums{}, fmt.Errorf("%w: the checksums have %d; this program reads %d", ErrVersion, v, sumsVersion)
	}
	if crc32.Checksum(b[:len(b)-4], castagnoli) != word(len(b)-4) {
		return checksums{}, fmt.Errorf("%w: the checksum of the checksums is wrong", ErrCorrupt)
	}
	if word(12) != blockBytes || int64(word(24)) != int64(len(b)-sumsHeader-4)/4 || len(b)%4 != 0 {
		return checksums{}, fmt.Errorf("%w: %d bytes of checksums are said to hold %d, of blocks of %d", ErrCorrupt, len(b), word(24), word(12))
	}
	c := checksums{fileBytes: int64(binary.LittleEndian.Uint64(b[16:]))}
	for at := sumsHeader; at < len(b)-4; at += 4 {
		c.sums = append(c.sums, word(at))
	}
	return c, nil
}

// loadSums reads the checksums of a file that is being opened, and keeps the error for Verify.
func (f *File) loadSums(chunks int, size int64) {
	c, err := readSums(f.fs, SumsPath(f.path), sumsBytes(f.header.Layout, chunks))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		f.sealErr = err
	case c.fileBytes != size || len(c.sums) != f.header.Layout.blockCount(chunks):
		f.sealErr = fmt.Errorf("%w: the checksums are those of %d bytes in %d blocks, and the file has %d bytes", ErrCorrupt, c.fileBytes, len(c.sums), size)
	default:
		f.sealed = &c
	}
	f.stale = true
}

func sumsBytes(l Layout, chunks int) int64 { return sumsHeader + 4*int64(l.blockCount(chunks)) + 4 }

// readSums reads a file of checksums that must have a given length.
func readSums(fsys vfs.FS, path string, want int64) (c checksums, err error) {
	file, err := fsys.Open(path)
	if err != nil {
		return checksums{}, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	size, err := file.Size()
	if err != nil {
		return checksums{}, err
	}
	// One of another length is looked at for its version alone.
	b := make([]byte, min(size, want))
	if _, err := file.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return checksums{}, err
	}
	c, err = parseSums(b)
	if size != want && !errors.Is(err, ErrVersion) {
		err = fmt.Errorf("%w: there are %d bytes of checksums, and %d for a file of this length", ErrCorrupt, size, want)
	}
	return c, err
}

// writeSums replaces the checksums of a file, durably.
func (f *File) writeSums(c checksums) (err error) {
	path := SumsPath(f.path)
	if err := removeIfThere(f.fs, path); err != nil {
		return err
	}
	file, err := f.fs.Create(path)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(appendSums(nil, c), 0)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// hot is the first of the columns that change after a row has been written; those before it are cold.
const hot = ColumnLinks

// settledChunk has the checksums of the cold blocks of a chunk.
type settledChunk struct {
	chunk int
	sums  []uint32
}

func (f *File) settledAt(chunk int) (int, bool) {
	return slices.BinarySearchFunc(f.settled, chunk, func(s settledChunk, chunk int) int { return s.chunk - chunk })
}
