package bench

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/engram-memory/engram/pkg/event"
)

// IDX is the format of the MNIST sets and of what came after them, fashion-mnist in the first place: an array of bytes of
// up to 255 dimensions, big-endian. As a file of vectors its first dimension counts the rows, and the others together are
// the components, each 0 to 255. It may be compressed by gzip.
//
//	offset  size  field
//	0       2     zero
//	2       1     type of the elements: 8 for unsigned bytes
//	3       1     number of dimensions, n
//	4       4n    length of each dimension
//	        ...   the array, in C order
const (
	idxBytes      = 8
	maxDimensions = 8
)

// errIDX is wrapped by the errors of files that are no whole IDX file of bytes.
var errIDX = errors.New("not an IDX file of vectors")

// idxFile is an IDX file that is read from its beginning to its end.
type idxFile struct {
	f          *os.File
	r          io.Reader
	rows, cols int
	buf        []byte // one row
}

// openIDX opens an IDX file; it returns nil when the file is not one, by its first bytes.
func openIDX(path string) (*idxFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a file of vectors: %w", err)
	}
	x, err := readIDX(f)
	if x == nil || err != nil {
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return nil, errors.Join(err, f.Close())
	}
	x.f = f
	return x, nil
}

// readIDX reads what comes before the array. It returns nil for what neither begins as IDX nor is compressed.
func readIDX(f io.Reader) (*idxFile, error) {
	r := bufio.NewReaderSize(f, 1<<16)
	start, err := r.Peek(2)
	if err != nil {
		return nil, nil // too short for either, or unreadable, which the next reader says better
	}
	switch {
	case start[0] == 0x1f && start[1] == 0x8b:
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("it begins as a gzip file does, and is none: %w: %w", err, errIDX)
		}
		r = bufio.NewReaderSize(z, 1<<16)
	case start[0] != 0 || start[1] != 0:
		return nil, nil
	}
	return parseIDX(r)
}

func parseIDX(r io.Reader) (*idxFile, error) {
	var head [4 + 4*maxDimensions]byte
	if err := readAll(r, head[:4], "the magic"); err != nil {
		return nil, err
	}
	dims := int(head[3])
	switch {
	case head[0] != 0 || head[1] != 0:
		return nil, fmt.Errorf("it begins with %x: %w", head[:2], errIDX)
	case head[2] != idxBytes:
		return nil, fmt.Errorf("its elements are of type %#02x, and only unsigned bytes, %#02x, are read: %w", head[2], idxBytes, errIDX)
	case dims < 2 || dims > maxDimensions:
		return nil, fmt.Errorf("it has %d dimensions; want 2 to %d: %w", dims, maxDimensions, errIDX)
	}
	if err := readAll(r, head[4:4+4*dims], "the lengths of its dimensions"); err != nil {
		return nil, err
	}
	rows, cols := int64(binary.BigEndian.Uint32(head[4:])), int64(1)
	for d := 1; d < dims; d++ {
		cols *= int64(binary.BigEndian.Uint32(head[4+4*d:]))
		if cols == 0 || cols > event.MaxDimension {
			return nil, fmt.Errorf("its rows have %d components or more; want 1 to %d: %w", cols, event.MaxDimension, errIDX)
		}
	}
	return &idxFile{r: r, rows: int(rows), cols: int(cols), buf: make([]byte, cols)}, nil
}

func readAll(r io.Reader, p []byte, what string) error {
	_, err := io.ReadFull(r, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it ends within %s: %w", what, errIDX)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	return nil
}

// next reads row i, which follows the one before it.
func (x *idxFile) next(i int, dst []float32) error {
	if err := readAll(x.r, x.buf, fmt.Sprintf("row %d of %d", i, x.rows)); err != nil {
		return err
	}
	for j, b := range x.buf {
		dst[j] = float32(b)
	}
	return nil
}

// end checks that nothing follows the last row; for a compressed file it also checks the sum.
func (x *idxFile) end() error {
	switch _, err := io.ReadFull(x.r, x.buf[:1]); {
	case err == nil:
		return fmt.Errorf("something follows its last row: %w", errIDX)
	case errors.Is(err, io.EOF):
		return nil
	default:
		return fmt.Errorf("reading its end: %w", err)
	}
}

// close closes the file; it was only read, so there is nothing to say.
func (x *idxFile) close() { x.f.Close() }
