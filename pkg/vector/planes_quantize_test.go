package vector

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// planeCode is a code with its factors.
type planeCode struct {
	dim          int
	sketch, rest []byte
	f1, f4       float32
}

func (l level) planeCode(v []float32) planeCode {
	// What stood there before must not matter.
	width := PlaneWidth(len(v))
	c := planeCode{dim: len(v), sketch: bytes.Repeat([]byte{0x5a}, width), rest: bytes.Repeat([]byte{0xa5}, 3*width)}
	c.f1, c.f4 = l.QuantizePlanes(c.sketch, c.rest, v)
	return c
}

// estimates returns the two estimates of the inner product of q and the vector of c, as a search computes them.
func (c planeCode) estimates(l level, q []int8) (e1, e4 float64) {
	query, width, sum := make([]int8, PlaneQuerySize(c.dim)), len(c.sketch), SumI8(q)
	PlaneQuery(query, q)
	var p0, r [1]int32
	l.DotPlanesList(query, width, 1, []*byte{&c.sketch[0]}, 0, width, []uint32{0}, p0[:])
	l.DotPlanesList(query, width, 3, []*byte{&c.rest[0]}, 0, 3*width, []uint32{0}, r[:])
	e1 = float64(c.f1) * float64(2*p0[0]-sum)
	e4 = float64(c.f4) * float64(2*(8*p0[0]+r[0])-15*sum)
	return e1, e4
}

// number returns the number u of a component, by the definition of the layout.
func (c planeCode) number(i int) int {
	u := planeBit(c.sketch, c.dim, i)
	for width := len(c.sketch); len(c.rest) > 0; c.rest = c.rest[width:] {
		u = 2*u + planeBit(c.rest[:width], c.dim, i)
	}
	return u
}

// vectors are vectors of all shapes: spread as they should be, not at all, and far from each other in magnitude.
func vectors(rng *rand.Rand, dim int) [][]float32 {
	oneHot, constant, wide := make([]float32, dim), make([]float32, dim), gaussian(rng, dim)
	oneHot[rng.IntN(dim)] = -3
	for i := range constant {
		constant[i] = 1e-3
		wide[i] *= float32(math.Exp(10 * rng.NormFloat64()))
	}
	zeros := gaussian(rng, dim)
	for i := range zeros {
		if i%3 == 1 {
			zeros[i] = float32(math.Copysign(0, float64(zeros[i])))
		}
	}
	scaled := func(by float32) []float32 {
		v := gaussian(rng, dim)
		for i := range v {
			v[i] *= by
		}
		return v
	}
	return [][]float32{gaussian(rng, dim), oneHot, constant, wide, zeros, scaled(1e-20), scaled(1e-36), scaled(1e37)}
}

func TestPlanesQuantize(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(1, 1))
		for _, dim := range planeDims() {
			for kind, v := range vectors(rng, dim) {
				checkQuantized(t, l.planeCode(v), v, kind)
			}
		}
	})
}

// checkQuantized compares a code with the definition, in float64. A component that is next to a border may be on either
// side of it.
func checkQuantized(t *testing.T, c planeCode, v []float32, kind int) {
	t.Helper()
	var square, abs, leveled float64
	for _, x := range v {
		square += float64(x) * float64(x)
		abs += math.Abs(float64(x))
	}
	step := 0.335 * math.Sqrt(square/float64(len(v)))
	ones := 0
	for i, x := range v {
		u := c.number(i)
		ones += u & 1
		w := float64(x) / step
		near := 1e-6 * math.Abs(w)
		if low, high := cell(w-near), cell(w+near); u < low || u > high {
			t.Fatalf("dimension %d, vector %d: component %d, %v steps, is %d, want %d", len(v), kind, i, w, u, low)
		}
		if (u >= 8) != (x >= 0) {
			t.Fatalf("dimension %d, vector %d: component %d, %v, is %d", len(v), kind, i, x, u)
		}
		leveled += float64(x) * float64(2*u-15)
	}
	for _, f := range [][2]float64{{float64(c.f1), square / abs}, {float64(c.f4), square / leveled}} {
		if math.Abs(f[0]-f[1]) > 1e-5*f[1] {
			t.Fatalf("dimension %d, vector %d: a factor is %v, want %v", len(v), kind, f[0], f[1])
		}
	}
	set := 0
	for _, x := range c.rest[2*len(c.sketch):] {
		for ; x != 0; x &= x - 1 {
			set++
		}
	}
	if set != ones {
		t.Fatalf("dimension %d, vector %d: %d bits of a plane are set, and components have %d", len(v), kind, set, ones)
	}
}

func cell(w float64) int {
	return int(max(0, min(15, math.Floor(w)+8)))
}

func TestPlanesQuantizeSameOnAllLevels(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, dim := range planeDims() {
		for kind, v := range vectors(rng, dim) {
			want := generic.planeCode(v)
			for _, l := range levels() {
				checkSameCode(t, l, l.planeCode(v), want, kind)
			}
		}
	}
}

func checkSameCode(t *testing.T, l level, got, want planeCode, kind int) {
	t.Helper()
	if got.f1 != want.f1 || got.f4 != want.f4 {
		t.Fatalf("%s, dimension %d, vector %d: factors %v, %v, want %v, %v", l, want.dim, kind, got.f1, got.f4, want.f1, want.f4)
	}
	if !bytes.Equal(got.sketch, want.sketch) || !bytes.Equal(got.rest, want.rest) {
		t.Fatalf("%s, dimension %d, vector %d: codes differ", l, want.dim, kind)
	}
}

func TestPlanesQuantizeNothing(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	forLevels(t, func(t *testing.T, l level) {
		for _, dim := range []int{1, 40, 300} {
			for _, x := range []float32{0, float32(math.Copysign(0, -1)), inf, -inf, nan, 1e-45} {
				v := make([]float32, dim)
				v[dim/2] = x
				c := l.planeCode(v)
				if c.f1 != 0 || c.f4 != 0 || slices.Max(c.sketch) != 0 || slices.Max(c.rest) != 0 {
					t.Errorf("dimension %d, a component of %v: the code is %v", dim, x, c)
				}
			}
		}
	})
}

func TestPlanesUnpack(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(3, 3))
		for _, dim := range planeDims() {
			c := l.planeCode(gaussian(rng, dim))
			levels := make([]int8, dim)
			for i := range levels {
				levels[i] = int8(2*c.number(i) - 15)
			}
			want, got := make([]int8, PlaneQuerySize(dim)), codes(rng, PlaneQuerySize(dim))
			PlaneQuery(want, levels)
			l.UnpackPlanes(got, c.sketch, c.rest, dim)
			if !slices.Equal(got, want) {
				t.Fatalf("dimension %d: levels %v, want %v", dim, got, want)
			}
		}
	})
}

// TestPlanesEstimates compares estimates with the inner products, of unit vectors with a component in common. What a code
// loses is at a right angle to the vector and points anywhere, so that the error has a deviation of tan(a)*sin(b)/√dim, a
// being the angle of the vector and its code, and b that of the query and the vector. The square of tan(a) is π/2-1 for
// signs, and about 0.0117 for 16 levels, of which the mean squared error is 0.01154 (J. Max).
func TestPlanesEstimates(t *testing.T) {
	const pairs = 4000
	rng := rand.New(rand.NewPCG(4, 4))
	for _, dim := range []int{100, 384, 768} {
		rotation := NewRotation(dim, 1)
		var errors1, errors4 []float64
		for range pairs {
			v, q := sparsePair(rng, dim)
			rotation.Apply(v)
			rotation.Apply(q)
			code := active.planeCode(v)
			query := make([]int8, dim)
			scale := float64(QuantizeI8(query, q))
			e1, e4 := code.estimates(active, query)
			product := float64(Dot(q, v))
			sine := math.Sqrt(1-product*product) / math.Sqrt(float64(dim))
			errors1 = append(errors1, (e1*scale-product)/sine)
			errors4 = append(errors4, (e4*scale-product)/sine)
		}
		checkErrors(t, dim, errors1, math.Sqrt(math.Pi/2-1))
		checkErrors(t, dim, errors4, math.Sqrt(0.0117))
	}
}

// sparsePair returns two unit vectors of few components, some of which they have both.
func sparsePair(rng *rand.Rand, dim int) (v, q []float32) {
	v, q = make([]float32, dim), make([]float32, dim)
	for range 10 {
		v[rng.IntN(dim)], q[rng.IntN(dim)] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
	}
	common := rng.IntN(dim)
	v[common], q[common] = float32(3*rng.NormFloat64()), float32(3*rng.NormFloat64())
	for _, x := range [][]float32{v, q} {
		norm := float32(math.Sqrt(SumSquares(x)))
		for i := range x {
			x[i] /= norm
		}
	}
	return v, q
}

func checkErrors(t *testing.T, dim int, errors []float64, deviation float64) {
	t.Helper()
	var sum, squares, largest float64
	for _, e := range errors {
		sum += e
		squares += e * e
		largest = max(largest, math.Abs(e))
	}
	n := float64(len(errors))
	t.Logf("dimension %d: mean %.4f, deviation %.4f of %.4f, largest %.2f", dim, sum/n, math.Sqrt(squares/n), deviation, largest)
	if mean := sum / n; math.Abs(mean) > 4*deviation/math.Sqrt(n) {
		t.Errorf("dimension %d: the mean error is %v, of a deviation of %v", dim, mean, deviation)
	}
	if got := math.Sqrt(squares / n); got < 0.85*deviation || got > 1.15*deviation {
		t.Errorf("dimension %d: the deviation of errors is %v, want %v", dim, got, deviation)
	}
	if largest > 6*deviation {
		t.Errorf("dimension %d: an error of %v, where the deviation is %v", dim, largest, deviation)
	}
}

func FuzzPlanesQuantize(f *testing.F) {
	f.Add([]byte{0, 0, 128, 63, 0, 0, 0, 64})
	f.Add(bytes.Repeat([]byte{1, 2, 3, 64, 5, 6, 7, 192}, 40))
	f.Add([]byte{0, 0, 128, 127, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		v := make([]float32, len(data)/4)
		if len(v) == 0 {
			return
		}
		for i := range v {
			v[i] = math.Float32frombits(uint32(data[4*i]) | uint32(data[4*i+1])<<8 | uint32(data[4*i+2])<<16 | uint32(data[4*i+3])<<24)
		}
		want := generic.planeCode(v)
		levelsOf := make([]int8, PlaneQuerySize(len(v)))
		generic.UnpackPlanes(levelsOf, want.sketch, want.rest, len(v))
		for _, l := range levels() {
			checkSameCode(t, l, l.planeCode(v), want, 0)
			got := make([]int8, len(levelsOf))
			l.UnpackPlanes(got, want.sketch, want.rest, len(v))
			if !slices.Equal(got, levelsOf) {
				t.Fatalf("%s, dimension %d: levels differ", l, len(v))
			}
		}
	})
}
