//go:build !purego

package vector

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// The levels of amd64. Each has all that the one before it has.
const (
	avx2       level = 1 // AVX2, FMA and F16C: the processors since 2013
	avx512     level = 2 // AVX-512 F, BW and VL, for float32
	avx512vnni level = 3 // VNNI, for int8
)

// levels lists the levels that this processor, and its operating system, has; the best one is the last.
func levels() []level {
	x := &cpu.X86
	has := []level{generic}
	if !x.HasAVX2 || !x.HasFMA || !x.HasF16C {
		return has
	}
	has = append(has, avx2)
	if !x.HasAVX512F || !x.HasAVX512BW || !x.HasAVX512VL {
		return has
	}
	has = append(has, avx512)
	if x.HasAVX512VNNI {
		has = append(has, avx512vnni)
	}
	return has
}

func (l level) String() string {
	return [...]string{"generic", "avx2", "avx512", "avx512vnni"}[l]
}

func (l level) dotI8(a, b *int8, n int) int32 {
	switch {
	case l >= avx512vnni:
		return dotI8VNNI(a, b, n)
	case l >= avx2 && n >= 32:
		return dotI8AVX2(a, b, n)
	default:
		return dotI8Generic(unsafe.Slice(a, n), unsafe.Slice(b, n))
	}
}

func (l level) dotI8Gather(q *int8, n int, rows *unsafe.Pointer, out *int32, count int) {
	switch {
	case l >= avx512vnni:
		dotI8GatherVNNI(q, n, rows, out, count)
	case l >= avx2 && n >= 32:
		dotI8GatherAVX2(q, n, rows, out, count)
	default:
		dotI8GatherGeneric(q, n, rows, out, count)
	}
}

func (l level) dot(a, b []float32) float32 {
	switch {
	case l >= avx512:
		return dotAVX512(unsafe.SliceData(a), unsafe.SliceData(b), len(a))
	case l >= avx2:
		return dotAVX2(unsafe.SliceData(a), unsafe.SliceData(b), len(a))
	default:
		return dotGeneric(a, b)
	}
}

func (l level) l2(a, b []float32) float32 {
	switch {
	case l >= avx512:
		return l2AVX512(unsafe.SliceData(a), unsafe.SliceData(b), len(a))
	case l >= avx2:
		return l2AVX2(unsafe.SliceData(a), unsafe.SliceData(b), len(a))
	default:
		return l2Generic(a, b)
	}
}

func (l level) sumSquares(v []float32) float64 {
	if l >= avx2 {
		return sumSquaresAVX2(unsafe.SliceData(v), len(v))
	}
	return sumSquaresGeneric(v)
}

func (l level) maxAbs(v []float32) float32 {
	if l >= avx2 {
		return maxAbsAVX2(unsafe.SliceData(v), len(v))
	}
	return maxAbsGeneric(v)
}

func (l level) quantize(dst []int8, v []float32, scale float32) {
	if l >= avx2 {
		quantizeAVX2(unsafe.SliceData(dst), unsafe.SliceData(v), len(v), scale)
		return
	}
	quantizeGeneric(dst, v, scale)
}

func (l level) dequantize(dst []float32, code []int8, scale float32) {
	if l >= avx2 {
		dequantizeAVX2(unsafe.SliceData(dst), unsafe.SliceData(code), len(code), scale)
		return
	}
	dequantizeGeneric(dst, code, scale)
}

func (l level) decodeF16(dst []float32, src []byte) {
	if l >= avx2 {
		decodeF16C(unsafe.SliceData(dst), unsafe.SliceData(src), len(dst))
		return
	}
	decodeF16Generic(dst, src)
}

func (l level) encodeF16(dst []byte, src []float32) {
	if l >= avx2 {
		encodeF16C(unsafe.SliceData(dst), unsafe.SliceData(src), len(src))
		return
	}
	encodeF16Generic(dst, src)
}
