//go:build !purego

package vector

//go:noescape
func dotAVX2(a, b *float32, n int) float32

//go:noescape
func l2AVX2(a, b *float32, n int) float32

// sumSquaresAVX2 takes an n that is a multiple of sumLanes.
//
//go:noescape
func sumSquaresAVX2(v *float32, n int) float64

//go:noescape
func dotAVX512(a, b *float32, n int) float32

//go:noescape
func l2AVX512(a, b *float32, n int) float32
