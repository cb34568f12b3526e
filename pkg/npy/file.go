package npy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/edsrzf/mmap-go"

	"github.com/engram-memory/engram/pkg/vector"
	"github.com/engram-memory/engram/pkg/vfs"
)

// File is an open .npy file, mapped read-only.
//
// What [File.Row] and [File.Int32Row] return is a copy in the caller's memory and stays valid for ever; no slice into
// the map leaves this package. The map itself lives from [Open] to [File.Close]. Rows may be read by any number of
// goroutines at once, each with its own dst. Close must not overlap with a read; a read after it returns [ErrClosed].
//
// The pages of the map are the page cache's: they count as resident memory while they are in use and are given back
// under pressure.
type File struct {
	path string
	h    header
	m    mmap.MMap // the whole file, nil after Close
	rows []byte    // the array within m
}

// Open maps the file at path after checking its header and that its length is exactly what the header says. The errors
// name the path and wrap [ErrFormat], [ErrUnsupported] or the cause from the operating system. The caller closes the
// File. Nothing guards against another process changing the file meanwhile: rows then show the change, and if it was
// shortened, reading what is gone is an error.
func Open(path string) (*File, error) {
	f, h, err := openChecked(path)
	if err != nil {
		return nil, err
	}
	// A map outlives its descriptor. Nothing was written, so the error of this Close has nothing to say.
	defer f.Close()
	m, err := mmap.MapRegion(f, int(h.offset+h.dataSize), mmap.RDONLY, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: mapping %d bytes: %w", path, h.offset+h.dataSize, err)
	}
	return &File{path: path, h: h, m: m, rows: m[h.offset:]}, nil
}

// openChecked opens a file and checks its header and its length.
func openChecked(path string) (*os.File, header, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, header{}, fmt.Errorf("opening an .npy file: %w", err)
	}
	h, err := check(path, f)
	if err != nil {
		return nil, header{}, errors.Join(err, f.Close())
	}
	return f, h, nil
}

func check(path string, f *os.File) (header, error) {
	info, err := f.Stat()
	if err != nil {
		return header{}, fmt.Errorf("opening an .npy file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return header{}, fmt.Errorf("%s: not a regular file: %w", path, ErrFormat)
	}
	h, err := readHeader(io.NewSectionReader(f, 0, info.Size()))
	if err != nil {
		return header{}, fmt.Errorf("%s: %w", path, err)
	}
	if got := info.Size() - h.offset; got != h.dataSize {
		reason := "it was cut short, or is still being written"
		if got > h.dataSize {
			reason = "something was appended to it, or its header is wrong"
		}
		return header{}, fmt.Errorf("%s: the header says %d × %d %s, %d bytes, and %d bytes follow it: %s: %w",
			path, h.rows, h.cols, h.dtype, h.dataSize, got, reason, ErrFormat)
	}
	return h, nil
}

// Rows is the number of rows; for an array of one dimension, the number of elements.
func (f *File) Rows() int { return f.h.rows }

// Cols is the number of elements in a row; 1 for an array of one dimension. It is 0 only when Rows is.
func (f *File) Cols() int { return f.h.cols }

// Dims is how many dimensions the array has, 1 or 2: shape (n,) or (n, 1) both are n rows of one column.
func (f *File) Dims() int { return f.h.dims }

// DType is the type of the elements as the file stores them.
func (f *File) DType() DType { return f.h.dtype }

// Row decodes row i (0-based) of a Float32 or Float16 file to float32, exactly. The row is written to dst when dst has
// the capacity, whatever its length, and to a new slice otherwise; the result has length Cols and belongs to the
// caller. An Int32 file is an error that wraps [ErrUnsupported].
func (f *File) Row(i int, dst []float32) ([]float32, error) {
	if f.h.dtype == Int32 {
		return nil, fmt.Errorf("%s: it holds int32 values, which are not embeddings: %w", f.path, ErrUnsupported)
	}
	b, err := f.row(i)
	if err != nil {
		return nil, err
	}
	dst = sized(dst, f.h.cols)
	err = guarded(func() { decode(f.h.dtype, dst, b) })
	if err != nil {
		return nil, fmt.Errorf("%s: row %d: %w", f.path, i, err)
	}
	return dst, nil
}

// errShortened is what reading behind the new end of a mapped file becomes.
var errShortened = errors.New("the file was shortened by someone else, or its disk failed, while it was open")

// guarded runs read, which touches mapped pages, and returns an error that wraps [errShortened] if the kernel could not supply one of
// them: the file being imported is somebody else's, and they may truncate it.
func guarded(read func()) error {
	err := vfs.Guard(func() error {
		read()
		return nil
	})
	if errors.Is(err, vfs.ErrFault) {
		return fmt.Errorf("%w: %w", errShortened, err)
	}
	return err
}

// decode turns the bytes of a row of Float32 or Float16 into dst.
func decode(dtype DType, dst []float32, b []byte) {
	if dtype == Float32 {
		for j := range dst {
			dst[j] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*j:]))
		}
		return
	}
	for j := range dst {
		dst[j] = vector.F16ToF32(binary.LittleEndian.Uint16(b[2*j:]))
	}
}

// Int32Row is [File.Row] for an Int32 file; a file of floats is an error that wraps [ErrUnsupported].
func (f *File) Int32Row(i int, dst []int32) ([]int32, error) {
	if f.h.dtype != Int32 {
		return nil, fmt.Errorf("%s: it holds %s values, not int32: %w", f.path, f.h.dtype, ErrUnsupported)
	}
	b, err := f.row(i)
	if err != nil {
		return nil, err
	}
	dst = sized(dst, f.h.cols)
	err = guarded(func() {
		for j := range dst {
			dst[j] = int32(binary.LittleEndian.Uint32(b[4*j:]))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%s: row %d: %w", f.path, i, err)
	}
	return dst, nil
}

// row is the bytes of row i within the map.
func (f *File) row(i int) ([]byte, error) {
	if f.m == nil {
		return nil, fmt.Errorf("%s: reading row %d: %w", f.path, i, ErrClosed)
	}
	if i < 0 || i >= f.h.rows {
		return nil, fmt.Errorf("%s: there is no row %d; it has %d rows, counted from 0", f.path, i, f.h.rows)
	}
	stride := f.h.cols * f.h.dtype.Size() // at most dataSize, which fits
	return f.rows[i*stride : (i+1)*stride], nil
}

// sized returns s with length n, in its own memory if that is large enough. n is bounded by the length of the file.
func sized[T any](s []T, n int) []T {
	if cap(s) >= n {
		return s[:n]
	}
	return make([]T, n)
}

// Close unmaps the file. It must not overlap with a read of a row. A second Close returns [ErrClosed].
func (f *File) Close() error {
	if f.m == nil {
		return fmt.Errorf("%s: closing it a second time: %w", f.path, ErrClosed)
	}
	f.rows = nil
	m := f.m
	f.m = nil
	if err := m.Unmap(); err != nil {
		return fmt.Errorf("%s: unmapping it: %w", f.path, err)
	}
	return nil
}
