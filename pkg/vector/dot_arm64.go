//go:build !purego

package vector

//go:noescape
func dotNEON(a, b *float32, n int) float32

//go:noescape
func l2NEON(a, b *float32, n int) float32
