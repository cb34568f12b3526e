package npy

import (
	"fmt"
	"os"
)

// Reader is an open .npy file of floats whose rows are read, many at a time, into one buffer. Unlike a [File], which is
// mapped, nothing of it counts as memory of the process. Its methods are called by one goroutine at a time.
type Reader struct {
	path  string
	h     header
	f     *os.File
	first int    // row that buf begins with
	buf   []byte // whole rows
}

// readAhead is about how many bytes a Reader reads at a time.
const readAhead = 256 << 10

// OpenReader is [Open] for a [Reader]; an Int32 file is an error that wraps [ErrUnsupported].
func OpenReader(path string) (*Reader, error) {
	f, h, err := openChecked(path)
	if err != nil {
		return nil, err
	}
	if h.dtype == Int32 {
		f.Close() // nothing was written to it
		return nil, fmt.Errorf("%s: it holds int32 values, which are not embeddings: %w", path, ErrUnsupported)
	}
	return &Reader{path: path, h: h, f: f}, nil
}

// Rows is as in [File].
func (r *Reader) Rows() int { return r.h.rows }

// Cols is as in [File].
func (r *Reader) Cols() int { return r.h.cols }

// Row is as in [File].
func (r *Reader) Row(i int, dst []float32) ([]float32, error) {
	if i < 0 || i >= r.h.rows {
		return nil, fmt.Errorf("%s: there is no row %d; it has %d rows, counted from 0", r.path, i, r.h.rows)
	}
	stride := r.h.cols * r.h.dtype.Size() // at most dataSize, which is the length of the file
	if at := i - r.first; at < 0 || at >= len(r.buf)/stride {
		n := min(max(readAhead/stride, 1), r.h.rows-i)
		r.first, r.buf = i, sized(r.buf, n*stride)
		if _, err := r.f.ReadAt(r.buf, r.h.offset+int64(i)*int64(stride)); err != nil {
			r.buf = r.buf[:0]
			return nil, fmt.Errorf("%s: reading row %d: %w", r.path, i, err)
		}
	}
	dst = sized(dst, r.h.cols)
	decode(r.h.dtype, dst, r.buf[(i-r.first)*stride:])
	return dst, nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.f.Close() }
