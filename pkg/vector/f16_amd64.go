//go:build !purego

package vector

// The kernels take an n that is a multiple of f16Step.

//go:noescape
func decodeF16C(dst *float32, src *byte, n int)

//go:noescape
func encodeF16C(dst *byte, src *float32, n int)
