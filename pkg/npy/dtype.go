package npy

import "fmt"

// DType is the element type of an array.
type DType uint8

// The element types that are read and written.
const (
	Float32 DType = iota + 1 // IEEE 754 binary32, '<f4'
	Float16                  // IEEE 754 binary16, '<f2'
	Int32                    // two's complement, '<i4'
)

// Size is the number of bytes of one element, 0 for a DType that is not one of the constants.
func (d DType) Size() int {
	switch d {
	case Float32, Int32:
		return 4
	case Float16:
		return 2
	default:
		return 0
	}
}

// String is NumPy's name of the type: "float32", "float16", "int32".
func (d DType) String() string {
	switch d {
	case Float32:
		return "float32"
	case Float16:
		return "float16"
	case Int32:
		return "int32"
	default:
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
}

// descr is the type as it stands in a header.
func (d DType) descr() string {
	switch d {
	case Float32:
		return "<f4"
	case Float16:
		return "<f2"
	default:
		return "<i4"
	}
}

// parseDescr reads the value of 'descr' in a header.
func parseDescr(s string) (DType, error) {
	for _, d := range []DType{Float32, Float16, Int32} {
		if s == d.descr() {
			return d, nil
		}
	}
	if len(s) > 0 && s[0] == '>' {
		return 0, fmt.Errorf("the elements are big-endian (%q); save the array again with "+
			"a.astype(a.dtype.newbyteorder('<')): %w", s, ErrUnsupported)
	}
	return 0, fmt.Errorf("the element type is %q, and only '<f4' (float32), '<f2' (float16) and '<i4' (int32) are "+
		"read: %w", s, ErrUnsupported)
}
