//go:build purego || !(amd64 || arm64)

package vector

import "unsafe"

func levels() []level {
	return []level{generic}
}

func (level) String() string {
	return "generic"
}

func (level) dotI8(a, b *int8, n int) int32 {
	return dotI8Generic(unsafe.Slice(a, n), unsafe.Slice(b, n))
}

func (level) dotI8Gather(q *int8, n int, rows *unsafe.Pointer, out *int32, count int) {
	dotI8GatherGeneric(q, n, rows, out, count)
}

func (level) dot(a, b []float32) float32 {
	return dotGeneric(a, b)
}

func (level) l2(a, b []float32) float32 {
	return l2Generic(a, b)
}

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
