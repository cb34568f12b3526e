// Package npy reads and writes the NumPy .npy format, the common file of the vector data sets: one array of float32,
// float16 or int32, little-endian, in C order, of one or two dimensions.
//
// A [File] maps the file into memory and decodes one row at a time, so a file may be larger than memory. A [Reader] reads it
// instead, for those whose resident memory must not show it. The writers stream.
//
// The format (NumPy's NEP 1, versions 1.0, 2.0 and 3.0):
//
//	offset  size  field
//	0       6     magic: \x93 N U M P Y
//	6       1     major version: 1, 2 or 3
//	7       1     minor version: 0
//	8       2     v1: length of the header text, little-endian
//	8       4     v2, v3: the same, in four bytes
//	10, 12  ...   header text: a Python dict literal, padded with spaces, ending in a newline
//	        ...   the array, row after row
//
// The header text of 100,000 rows of 768 halves is
//
//	{'descr': '<f2', 'fortran_order': False, 'shape': (100000, 768), }
package npy

import "errors"

var (
	// ErrFormat is wrapped by the error for a file that is not a whole .npy file: a wrong magic, a header that does
	// not parse, a length that disagrees with the header.
	ErrFormat = errors.New("not a valid .npy file")

	// ErrUnsupported is wrapped by the error for an array that is valid but that this package does not read or write:
	// Fortran order, big-endian, another element type, another number of dimensions.
	ErrUnsupported = errors.New("unsupported .npy array")

	// ErrClosed is wrapped by the error of a row read after [File.Close].
	ErrClosed = errors.New("the .npy file is closed")
)
