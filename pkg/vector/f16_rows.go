package vector

import "encoding/binary"

// f16Step is the number of elements of which the lengths that the kernels here take are multiples. Go does the rest.
const f16Step = 8

// DecodeF16 converts len(dst) halves, each in two bytes of src with the low one first, as F16ToF32 does.
func DecodeF16(dst []float32, src []byte) {
	active.DecodeF16(dst, src)
}

// EncodeF16 converts src to halves in the first 2*len(src) bytes of dst, as F32ToF16 does, with the low byte first.
func EncodeF16(dst []byte, src []float32) {
	active.EncodeF16(dst, src)
}

// DecodeF16 is the function of the same name, by the kernels of l.
func (l level) DecodeF16(dst []float32, src []byte) {
	checkLength(len(src)/2, len(dst))
	whole := len(dst) &^ (f16Step - 1)
	l.decodeF16(dst[:whole], src)
	decodeF16Generic(dst[whole:], src[2*whole:])
}

// EncodeF16 is the function of the same name, by the kernels of l.
func (l level) EncodeF16(dst []byte, src []float32) {
	checkLength(len(dst)/2, len(src))
	whole := len(src) &^ (f16Step - 1)
	l.encodeF16(dst, src[:whole])
	encodeF16Generic(dst[2*whole:], src[whole:])
}

func decodeF16Generic(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = F16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

func encodeF16Generic(dst []byte, src []float32) {
	for i, f := range src {
		binary.LittleEndian.PutUint16(dst[2*i:], F32ToF16(f))
	}
}
