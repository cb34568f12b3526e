package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The ways in which the numbers of an embedding can be wrong.
var (
	// ErrNotFinite is wrapped when a component is NaN or infinite.
	ErrNotFinite = errors.New("embedding is not finite")
	// ErrZeroVector is wrapped when all components are zero where the metric is cosine.
	ErrZeroVector = errors.New("embedding is a zero vector")
	// ErrNotF16 is wrapped when half precision cannot hold it.
	ErrNotF16 = errors.New("embedding does not fit f16, in which the space keeps its vectors")
)

// CheckF32 checks a packed little-endian f32 vector: every component must be finite, and with nonzero at least one of
// them not zero. It does not allocate.
func CheckF32(packed []byte, nonzero bool) error {
	var any uint32
	for i := 0; i+4 <= len(packed); i += 4 {
		bits := binary.LittleEndian.Uint32(packed[i:]) &^ (1 << 31)
		// An exponent of all ones is an infinity or a NaN.
		if bits >= 0x7f800000 {
			return fmt.Errorf("%w: component %d is %v", ErrNotFinite, i/4, math.Float32frombits(binary.LittleEndian.Uint32(packed[i:])))
		}
		any |= bits
	}
	if nonzero && any == 0 {
		return fmt.Errorf("%w: it has no direction, so cosine similarity to it is undefined", ErrZeroVector)
	}
	return nil
}

// Where IEEE 754 binary16 ends, as the bits of a binary32 without its sign.
const (
	f16Infinite = 0x477ff000 // 65520: from here on a number rounds to infinity, below it to 65504 at most
	f16Zero     = 0x33000000 // 2^-25: up to here it rounds to zero
)

// CheckF16 checks that a packed little-endian f32 vector which CheckF32 has passed survives being rounded to f16: no
// component becomes infinite, and with nonzero at least one of them stays above zero. It does not allocate.
func CheckF16(packed []byte, nonzero bool) error {
	var most uint32
	for i := 0; i+4 <= len(packed); i += 4 {
		bits := binary.LittleEndian.Uint32(packed[i:]) &^ (1 << 31)
		if bits >= f16Infinite {
			return fmt.Errorf("%w: component %d is %v, and the largest number of f16 is 65504",
				ErrNotF16, i/4, math.Float32frombits(binary.LittleEndian.Uint32(packed[i:])))
		}
		most = max(most, bits)
	}
	if nonzero && most <= f16Zero {
		return fmt.Errorf("%w: all of its components are too small and become zero", ErrNotF16)
	}
	return nil
}

// AppendF32 appends the components of v to dst as packed little-endian f32.
func AppendF32(dst []byte, v []float32) []byte {
	for _, x := range v {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
	return dst
}

// DecodeF32 appends the components of a packed little-endian f32 vector to dst; trailing bytes that do not make a
// component are ignored.
func DecodeF32(dst []float32, packed []byte) []float32 {
	for i := 0; i+4 <= len(packed); i += 4 {
		dst = append(dst, math.Float32frombits(binary.LittleEndian.Uint32(packed[i:])))
	}
	return dst
}
