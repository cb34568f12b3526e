package npy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
)

const (
	magic = "\x93NUMPY"

	// maxHeader bounds the header text. Versions 2 and 3 allow 4 GiB, for structured types with many field names; the
	// arrays read here need about 70 bytes, and NumPy pads to a multiple of 64.
	maxHeader = 1<<16 - 1

	// headerAlign is what NumPy pads the start of the data to, so that a map of it is aligned for any kernel.
	headerAlign = 64
)

// header is what a file says of its array. A one-dimensional array of n elements is n rows of one column.
type header struct {
	dtype      DType
	dims       int // of the shape, 1 or 2
	rows, cols int
	offset     int64 // where the array starts in the file
	dataSize   int64 // rows × cols × size of an element; offset+dataSize does not overflow
}

// readHeader reads and checks everything before the array, and no byte more.
func readHeader(r io.Reader) (header, error) {
	var pre [12]byte
	if err := readFull(r, pre[:8], "the magic and version"); err != nil {
		return header{}, err
	}
	if string(pre[:6]) != magic {
		return header{}, fmt.Errorf("it starts with %q instead of %q: %w", pre[:6], magic, ErrFormat)
	}
	major, minor := pre[6], pre[7]
	if major < 1 || major > 3 || minor != 0 {
		return header{}, fmt.Errorf("format version %d.%d is not 1.0, 2.0 or 3.0: %w", major, minor, ErrUnsupported)
	}
	n, offset := uint32(0), int64(10)
	if major == 1 {
		if err := readFull(r, pre[8:10], "the header length"); err != nil {
			return header{}, err
		}
		n = uint32(binary.LittleEndian.Uint16(pre[8:]))
	} else {
		if err := readFull(r, pre[8:12], "the header length"); err != nil {
			return header{}, err
		}
		n, offset = binary.LittleEndian.Uint32(pre[8:]), 12
	}
	if n > maxHeader {
		return header{}, fmt.Errorf("the header is %d bytes long, more than the %d that a plain array can need: %w",
			n, maxHeader, ErrUnsupported)
	}
	text := make([]byte, n)
	if err := readFull(r, text, "the header"); err != nil {
		return header{}, err
	}
	h, err := parseHeaderText(string(text))
	if err != nil {
		return header{}, err
	}
	h.offset = offset + int64(n)
	return h, nil
}

func readFull(r io.Reader, p []byte, what string) error {
	_, err := io.ReadFull(r, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the file ends within %s: %w", what, ErrFormat)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	return nil
}

// parseHeaderText turns the dict of a header into a header without its offset.
func parseHeaderText(text string) (header, error) {
	d, err := parseDict(text)
	if err != nil {
		return header{}, err
	}
	dtype, err := parseDescr(d.descr)
	if err != nil {
		return header{}, err
	}
	if d.fortran {
		return header{}, fmt.Errorf("the array is in Fortran (column) order; save it again with "+
			"numpy.ascontiguousarray(a): %w", ErrUnsupported)
	}
	var rows, cols uint64
	switch len(d.shape) {
	case 1:
		rows, cols = d.shape[0], 1
	case 2:
		rows, cols = d.shape[0], d.shape[1]
	default:
		return header{}, fmt.Errorf("the array has %d dimensions instead of 1 or 2: %w", len(d.shape), ErrUnsupported)
	}
	size, err := dataSize(dtype, rows, cols)
	if err != nil {
		return header{}, err
	}
	return header{dtype: dtype, dims: len(d.shape), rows: int(rows), cols: int(cols), dataSize: size}, nil
}

// dataSize is the number of bytes of the array, or an error when that, or either side, is more than an int holds.
func dataSize(dtype DType, rows, cols uint64) (int64, error) {
	if cols == 0 && rows != 0 {
		return 0, fmt.Errorf("the shape is %d rows of no columns: %w", rows, ErrUnsupported)
	}
	// The room left below MaxInt is for the header, so that sizes can be added without a further check.
	const limit = math.MaxInt - maxHeader - 12
	hi, n := bits.Mul64(rows, cols)
	hi2, n := bits.Mul64(n, uint64(dtype.Size()))
	if hi != 0 || hi2 != 0 || n > limit || rows > limit || cols > limit {
		return 0, fmt.Errorf("%d rows of %d %s values do not fit in memory or in any file: %w", rows, cols, dtype, ErrFormat)
	}
	return int64(n), nil
}

// appendHeader appends everything before the array, as NumPy 1.14 and later write it. Version 1.0 always has the room.
func appendHeader(b []byte, h header) []byte {
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%d, %d), }", h.dtype.descr(), h.rows, h.cols)
	pad := (headerAlign - (10+len(text)+1)%headerAlign) % headerAlign
	b = append(b, magic...)
	b = append(b, 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)+pad+1))
	b = append(b, text...)
	for range pad {
		b = append(b, ' ')
	}
	return append(b, '\n')
}
