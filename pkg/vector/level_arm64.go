//go:build !purego

package vector

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// The levels of arm64.
const (
	neon     level = 1 // what every processor of arm64 has
	neonSDOT level = 2 // the dot product instructions, for int8
)

// levels lists the levels that this processor has; the best one is the last.
func levels() []level {
	if cpu.ARM64.HasASIMDDP {
		return []level{generic, neon, neonSDOT}
	}
	return []level{generic, neon}
}

func (l level) String() string {
	return [...]string{"generic", "neon", "neon-sdot"}[l]
}

func (l level) dotI8(a, b *int8, n int) int32 {
	switch {
	case l >= neonSDOT && n >= 16:
		return dotI8SDOT(a, b, n)
	case l >= neon && n >= 16:
		return dotI8NEON(a, b, n)
	default:
		return dotI8Generic(unsafe.Slice(a, n), unsafe.Slice(b, n))
	}
}

func (l level) dotI8Gather(q *int8, n int, rows *unsafe.Pointer, out *int32, count int) {
	switch {
	case l >= neonSDOT && n >= 16:
		dotI8GatherSDOT(q, n, rows, out, count)
	case l >= neon && n >= 16:
		dotI8GatherNEON(q, n, rows, out, count)
	default:
		dotI8GatherGeneric(q, n, rows, out, count)
	}
}

func (l level) dot(a, b []float32) float32 {
	if l >= neon {
		return dotNEON(unsafe.SliceData(a), unsafe.SliceData(b), len(a))
	}
	return dotGeneric(a, b)
}

func (l level) l2(a, b []float32) float32 {
	if l >= neon {
		return l2NEON(unsafe.SliceData(a), unsafe.SliceData(b), len(a))
	}
	return l2Generic(a, b)
}

// The rest is as the compiler makes it.

func (level) sumSquares(v []float32) float64 {
	return sumSquaresGeneric(v)
}

func (level) maxAbs(v []float32) float32 {
	return maxAbsGeneric(v)
}

func (level) quantize(dst []int8, v []float32, scale float32) {
	quantizeGeneric(dst, v, scale)
}

func (level) dequantize(dst []float32, code []int8, scale float32) {
	dequantizeGeneric(dst, code, scale)
}

func (level) decodeF16(dst []float32, src []byte) {
	decodeF16Generic(dst, src)
}

func (level) encodeF16(dst []byte, src []float32) {
	encodeF16Generic(dst, src)
}
