package columns

import (
	"fmt"
	"hash/crc32"
	"io"
)

// Compare compares the bytes of a column file, as they stand on the disk, with those of the file of its checksums. The error
// is ErrCorrupt when they do not match, and names the first block that differs, or what of either is of no use.
func Compare(r io.ReaderAt, size int64, sums []byte) error {
	c, err := parseSums(sums)
	if err != nil {
		return err
	}
	b := make([]byte, fixedBytes)
	if _, err := r.ReadAt(b, 0); err != nil {
		return fmt.Errorf("reading the header: %w", err)
	}
	h, err := parseHeader(b)
	if err != nil {
		return err
	}
	l := h.Layout
	chunks := int(max(size-headerBytes, 0) / l.chunkBytes())
	if size != c.fileBytes || size != l.chunkOffset(chunks) || len(c.sums) != l.blockCount(chunks) {
		return fmt.Errorf("%w: the checksums are those of %d bytes in %d blocks, and the file has %d bytes", ErrCorrupt, c.fileBytes, len(c.sums), size)
	}
	b = make([]byte, blockBytes)
	for i, block := range l.blocks(chunks) {
		part := b[:block.length]
		if _, err := r.ReadAt(part, block.offset); err != nil && err != io.EOF {
			return fmt.Errorf("reading %v: %w", block, err)
		}
		if crc32.Checksum(part, castagnoli) != c.sums[i] {
			return fmt.Errorf("%w: %v is not as it was when the file was closed", ErrCorrupt, block)
		}
	}
	return nil
}
