package vector

// Dot returns the inner product of two vectors of the same length.
func Dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + s2 + s3
}

// L2 returns the squared Euclidean distance of two vectors of the same length.
func L2(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		d0, d1, d2, d3 := a[i]-b[i], a[i+1]-b[i+1], a[i+2]-b[i+2], a[i+3]-b[i+3]
		s0 += d0 * d0
		s1 += d1 * d1
		s2 += d2 * d2
		s3 += d3 * d3
	}
	for ; i < len(a); i++ {
		d := a[i] - b[i]
		s0 += d * d
	}
	return s0 + s1 + s2 + s3
}

// DotRows sets out[i] to the inner product of query and the i-th of len(out) vectors that stand back to back in rows.
func DotRows(query, rows, out []float32) {
	for i := range out {
		out[i] = Dot(query, rows[i*len(query):(i+1)*len(query)])
	}
}

// L2Rows is DotRows for the squared Euclidean distance.
func L2Rows(query, rows, out []float32) {
	for i := range out {
		out[i] = L2(query, rows[i*len(query):(i+1)*len(query)])
	}
}
