//go:build purego || !amd64

package vector

func (level) turn(low, high []float32) {
	turnGeneric(low, high)
}

func (level) hadamard(v, factors []float32) {
	hadamardGeneric(v, factors)
}
