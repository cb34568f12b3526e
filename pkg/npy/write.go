package npy

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/engram-memory/engram/pkg/vector"
)

// maxWriteCols bounds the allocations of [Write] and [WriteInt32] that depend on an argument.
const maxWriteCols = 1 << 20

// Write writes a two-dimensional array of rows × cols elements to w in format version 1.0. It calls row once for each
// i in 0..rows-1, in order, to fill dst, which has length cols and is reused: row must not keep it. Memory is one row
// and a buffer, whatever rows is.
//
// dtype is Float32, or Float16, to which values are rounded (to nearest, ties to even); a finite value of 65520 or more
// has no half and is an error that names its place rather than an infinity in the file. An error of row or of w is
// returned wrapped; what reached w until then is not a valid file.
func Write(w io.Writer, dtype DType, rows, cols int, row func(i int, dst []float32) error) error {
	if dtype != Float32 && dtype != Float16 {
		return fmt.Errorf("writing an .npy array of %s: only float32 and float16 are written: %w", dtype, ErrUnsupported)
	}
	bw, err := begin(w, dtype, rows, cols)
	if err != nil {
		return err
	}
	dst := make([]float32, cols)
	for i := range rows {
		if err := row(i, dst); err != nil {
			return fmt.Errorf("row %d of an .npy array: %w", i, err)
		}
		if err := writeRow(bw, dtype, dst); err != nil {
			return fmt.Errorf("writing row %d of an .npy array: %w", i, err)
		}
	}
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("writing an .npy array: %w", err)
	}
	return nil
}

// WriteInt32 is [Write] for an array of int32.
func WriteInt32(w io.Writer, rows, cols int, row func(i int, dst []int32) error) error {
	bw, err := begin(w, Int32, rows, cols)
	if err != nil {
		return err
	}
	dst, packed := make([]int32, cols), make([]byte, 4*cols)
	for i := range rows {
		if err := row(i, dst); err != nil {
			return fmt.Errorf("row %d of an .npy array: %w", i, err)
		}
		for j, v := range dst {
			binary.LittleEndian.PutUint32(packed[4*j:], uint32(v))
		}
		if _, err := bw.Write(packed); err != nil {
			return fmt.Errorf("writing row %d of an .npy array: %w", i, err)
		}
	}
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("writing an .npy array: %w", err)
	}
	return nil
}

// begin checks the shape of an array and writes what comes before its rows.
func begin(w io.Writer, dtype DType, rows, cols int) (*bufio.Writer, error) {
	if rows < 0 || cols < 0 || cols > maxWriteCols {
		return nil, fmt.Errorf("writing an .npy array of %d rows and %d columns: rows must be at least 0, columns 0..%d: %w",
			rows, cols, maxWriteCols, ErrUnsupported)
	}
	size, err := dataSize(dtype, uint64(rows), uint64(cols))
	if err != nil {
		return nil, fmt.Errorf("writing an .npy array: %w", err)
	}
	bw := bufio.NewWriterSize(w, 1<<16)
	// bufio keeps the first error and Flush returns it, but a full disk should not cost the rest of the rows.
	if _, err := bw.Write(appendHeader(nil, header{dtype: dtype, rows: rows, cols: cols, dataSize: size})); err != nil {
		return nil, fmt.Errorf("writing the header of an .npy array: %w", err)
	}
	return bw, nil
}

func writeRow(bw *bufio.Writer, dtype DType, row []float32) error {
	var b [4]byte
	n := dtype.Size()
	for j, v := range row {
		if dtype == Float32 {
			binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
		} else {
			h := vector.F32ToF16(v)
			if h&0x7fff == 0x7c00 && !math.IsInf(float64(v), 0) {
				return fmt.Errorf("the value %v in column %d is too large for float16, whose largest is 65504", v, j)
			}
			binary.LittleEndian.PutUint16(b[:], h)
		}
		if _, err := bw.Write(b[:n]); err != nil {
			return err
		}
	}
	return nil
}
