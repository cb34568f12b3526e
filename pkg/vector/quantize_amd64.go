//go:build !purego

package vector

// The kernels take an n that is a multiple of quantizeStep.

//go:noescape
func maxAbsAVX2(v *float32, n int) float32

//go:noescape
func quantizeAVX2(dst *int8, v *float32, n int, scale float32)

//go:noescape
func dequantizeAVX2(dst *float32, code *int8, n int, scale float32)
