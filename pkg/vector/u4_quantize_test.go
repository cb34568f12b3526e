package vector

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// u4Code is a code with its factors and its sketch.
type u4Code struct {
	dim             int
	code, sketch    []byte
	bySign, byLevel float32
}

func (l level) u4Code(v []float32) u4Code {
	// What stood there before must not matter.
	c := u4Code{dim: len(v), code: bytes.Repeat([]byte{0x5a}, U4Width(len(v))), sketch: bytes.Repeat([]byte{0xa5}, SketchWidth(len(v)))}
	c.bySign, c.byLevel = l.QuantizeU4(c.code, v)
	SketchU4(c.sketch, c.code)
	return c
}

// estimates returns the two estimates of the inner product of q and the vector of c, as a search computes them.
func (c u4Code) estimates(l level, q []int8) (bySign, byLevel float64) {
	query, sum := make([]int8, U4QuerySize(c.dim)), plainDot(q, filled(c.dim, 1))
	U4Query(query, q)
	var dot [1]int32
	l.DotSketchList(query, len(c.sketch), []*byte{&c.sketch[0]}, 0, len(c.sketch), []uint32{0}, dot[:])
	bySign = float64(c.bySign) * float64(2*dot[0]-sum)
	l.DotU4List(query, len(c.code), []*byte{&c.code[0]}, 0, len(c.code), []uint32{0}, dot[:])
	return bySign, float64(c.byLevel) * float64(2*dot[0]-15*sum)
}

// number returns the number u of a component, by the definition of the layout.
func (c u4Code) number(i int) int {
	at, shift := u4Place(c.dim, i)
	return int(c.code[at]) >> shift & 15
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

func TestU4Quantize(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(1, 1))
		for _, dim := range u4Dims() {
			for kind, v := range vectors(rng, dim) {
				checkQuantized(t, l.u4Code(v), v, kind)
			}
		}
	})
}

// checkQuantized compares a code with the definition, in float64. A component that is next to a border may be on either
// side of it.
func checkQuantized(t *testing.T, c u4Code, v []float32, kind int) {
	t.Helper()
	var square, abs, leveled float64
	for _, x := range v {
		square += float64(x) * float64(x)
		abs += math.Abs(float64(x))
	}
	step := 0.335 * math.Sqrt(square/float64(len(v)))
	total := 0
	for i, x := range v {
		u := c.number(i)
		total += u
		w := float64(x) / step
		near := 1e-6 * math.Abs(w)
		if low, high := cell(w-near), cell(w+near); u < low || u > high {
			t.Fatalf("dimension %d, vector %d: component %d, %v steps, is %d, want %d", len(v), kind, i, w, u, low)
		}
		leveled += float64(x) * float64(2*u-15)
	}
	for _, f := range [][2]float64{{float64(c.bySign), square / abs}, {float64(c.byLevel), square / leveled}} {
		if math.Abs(f[0]-f[1]) > 1e-5*f[1] {
			t.Fatalf("dimension %d, vector %d: a factor is %v, want %v", len(v), kind, f[0], f[1])
		}
	}
	for _, x := range c.code {
		total -= int(x&15) + int(x>>4)
	}
	if total != 0 {
		t.Fatalf("dimension %d, vector %d: there are numbers where there are no components", len(v), kind)
	}
}

func cell(w float64) int {
	return int(max(0, min(15, math.Floor(w)+8)))
}

func TestU4QuantizeSameOnAllLevels(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, dim := range u4Dims() {
		for kind, v := range vectors(rng, dim) {
			want := generic.u4Code(v)
			for _, l := range levels() {
				checkSameCode(t, l, l.u4Code(v), want, kind)
			}
		}
	}
}

func checkSameCode(t *testing.T, l level, got, want u4Code, kind int) {
	t.Helper()
	if got.bySign != want.bySign || got.byLevel != want.byLevel {
		t.Fatalf("%s, dimension %d, vector %d: factors %v, %v, want %v, %v",
			l, want.dim, kind, got.bySign, got.byLevel, want.bySign, want.byLevel)
	}
	if !bytes.Equal(got.code, want.code) {
		t.Fatalf("%s, dimension %d, vector %d: codes differ", l, want.dim, kind)
	}
}

func TestU4QuantizeNothing(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	forLevels(t, func(t *testing.T, l level) {
		for _, dim := range []int{1, 40, 300} {
			for _, x := range []float32{0, float32(math.Copysign(0, -1)), inf, -inf, nan, 1e-45} {
				v := make([]float32, dim)
				v[dim/2] = x
				c := l.u4Code(v)
				if c.bySign != 0 || c.byLevel != 0 || slices.Max(c.code) != 0 {
					t.Errorf("dimension %d, a component of %v: the code is %v", dim, x, c)
				}
			}
		}
	})
}

func TestU4Unpack(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(3, 3))
		for _, dim := range u4Dims() {
			c := l.u4Code(gaussian(rng, dim))
			levels := make([]int8, dim)
			for i := range levels {
				levels[i] = int8(2*c.number(i) - 15)
			}
			want, got := make([]int8, U4QuerySize(dim)), codes(rng, U4QuerySize(dim))
			U4Query(want, levels)
			UnpackU4(got, c.code, dim)
			if !slices.Equal(got, want) {
				t.Fatalf("dimension %d: levels %v, want %v", dim, got, want)
			}
		}
	})
}

// TestU4Estimates compares estimates with the inner products, of unit vectors with a component in common. What a code
// loses is at a right angle to the vector and points anywhere, so that the error has a deviation of tan(a)*sin(b)/√dim, a
// being the angle of the vector and its code, and b that of the query and the vector. The square of tan(a) is π/2-1 for
// signs, and about 0.0117 for 16 levels, of which the mean squared error is 0.01154 (J. Max).
func TestU4Estimates(t *testing.T) {
	const pairs = 4000
	rng := rand.New(rand.NewPCG(4, 4))
	for _, dim := range []int{100, 384, 768} {
		rotation := NewRotation(dim, 1)
		var bySign, byLevel []float64
		for range pairs {
			v, q := sparsePair(rng, dim)
			rotation.Apply(v)
			rotation.Apply(q)
			query := make([]int8, dim)
			scale := float64(QuantizeI8(query, q))
			product := float64(Dot(q, v))
			sine := math.Sqrt(1-product*product) / math.Sqrt(float64(dim))
			e1, e4 := active.u4Code(v).estimates(active, query)
			bySign = append(bySign, (e1*scale-product)/sine)
			byLevel = append(byLevel, (e4*scale-product)/sine)
		}
		checkErrors(t, dim, bySign, math.Sqrt(math.Pi/2-1))
		checkErrors(t, dim, byLevel, math.Sqrt(0.0117))
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

func FuzzU4Quantize(f *testing.F) {
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
		want := generic.u4Code(v)
		for _, l := range levels() {
			checkSameCode(t, l, l.u4Code(v), want, 0)
		}
		got := make([]int8, U4QuerySize(len(v)))
		UnpackU4(got, want.code, len(v))
		levels := make([]int8, len(v))
		U4Components(levels, got)
		for i, level := range levels {
			if int(level) != 2*want.number(i)-15 {
				t.Fatalf("dimension %d: component %d has level %d", len(v), i, level)
			}
		}
	})
}
