//go:build !purego

package vector

import "unsafe"

// hadamardStep is the number of elements of which the lengths that hadamardAVX2 takes are multiples, and turnStep that of
// turnAVX2.
const (
	hadamardStep = 64
	turnStep     = 8
)

//go:noescape
func hadamardAVX2(v, factors *float32, n int)

func (l level) hadamard(v, factors []float32) {
	if l >= avx2 && len(v) >= hadamardStep {
		hadamardAVX2(unsafe.SliceData(v), unsafe.SliceData(factors), len(v))
		return
	}
	hadamardGeneric(v, factors)
}

//go:noescape
func turnAVX2(low, high *float32, n int)

func (l level) turn(low, high []float32) {
	if l >= avx2 {
		whole := len(low) &^ (turnStep - 1)
		turnAVX2(unsafe.SliceData(low), unsafe.SliceData(high), whole)
		low, high = low[whole:], high[whole:]
	}
	turnGeneric(low, high)
}
