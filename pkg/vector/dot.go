package vector

// Dot returns the inner product of two vectors of the same length.
func Dot(a, b []float32) float32 {
	return active.Dot(a, b)
}

// L2 returns the squared Euclidean distance of two vectors of the same length.
func L2(a, b []float32) float32 {
	return active.L2(a, b)
}

// DotRows sets out[i] to the inner product of query and the i-th of len(out) vectors that stand back to back in rows. It
// is what Dot returns for the two, to the last bit.
func DotRows(query, rows, out []float32) {
	active.DotRows(query, rows, out)
}

// L2Rows is DotRows for the squared Euclidean distance.
func L2Rows(query, rows, out []float32) {
	active.L2Rows(query, rows, out)
}

// SumSquares returns the sum of the squares of v, computed in float64. It is the same on every processor, to the last
// bit.
func SumSquares(v []float32) float64 {
	return active.SumSquares(v)
}

// Dot is the function of the same name, by the kernels of l.
func (l level) Dot(a, b []float32) float32 {
	checkLength(len(b), len(a))
	return l.dot(a, b[:len(a)])
}

// L2 is the function of the same name, by the kernels of l.
func (l level) L2(a, b []float32) float32 {
	checkLength(len(b), len(a))
	return l.l2(a, b[:len(a)])
}

// DotRows is the function of the same name, by the kernels of l.
func (l level) DotRows(query, rows, out []float32) {
	for i := range out {
		out[i] = l.dot(query, rows[i*len(query):(i+1)*len(query)])
	}
}

// L2Rows is the function of the same name, by the kernels of l.
func (l level) L2Rows(query, rows, out []float32) {
	for i := range out {
		out[i] = l.l2(query, rows[i*len(query):(i+1)*len(query)])
	}
}

// SumSquares is the function of the same name, by the kernels of l.
func (l level) SumSquares(v []float32) float64 {
	whole := len(v) &^ (sumLanes - 1)
	sum := l.sumSquares(v[:whole])
	for _, x := range v[whole:] {
		sum += float64(x) * float64(x)
	}
	return sum
}
