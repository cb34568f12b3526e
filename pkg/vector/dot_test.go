package vector

import (
	"math"
	"math/rand/v2"
	"testing"
)

// floats returns n floats between NaNs, so that a kernel which reads beyond them shows it.
func floats(rng *rand.Rand, n int) []float32 {
	nan := float32(math.NaN())
	f := make([]float32, n+34)
	for i := range f {
		f[i] = nan
	}
	f = f[17 : 17+n : 17+n]
	for i := range f {
		f[i] = float32(rng.NormFloat64())
	}
	return f
}

// gamma bounds the relative error of n roundings to float32, of which each is by 2^-24 at most (Higham, Accuracy and
// Stability of Numerical Algorithms, lemma 3.1). A sum of n products, fused or not and in whatever order, passes through
// no more than n of them, and thus is off by at most gamma(n) times the sum of the magnitudes.
func gamma(n int) float64 {
	nu := float64(n) * 0x1p-24
	return nu / (1 - nu)
}

func checkDot(t *testing.T, l level, a, b []float32) {
	t.Helper()
	var want, magnitude float64
	for i := range a {
		p := float64(a[i]) * float64(b[i])
		want += p
		magnitude += math.Abs(p)
	}
	got := float64(l.Dot(a, b))
	if bound := gamma(len(a)) * magnitude; !(math.Abs(got-want) <= bound) {
		t.Fatalf("length %d: Dot = %v, want %v within %v", len(a), got, want, bound)
	}
}

func checkL2(t *testing.T, l level, a, b []float32) {
	t.Helper()
	var want float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		want += d * d
	}
	got := float64(l.L2(a, b))
	// The difference is rounded too, before it is squared.
	if bound := gamma(len(a)+2) * want; !(math.Abs(got-want) <= bound) {
		t.Fatalf("length %d: L2 = %v, want %v within %v", len(a), got, want, bound)
	}
}

func TestDotAndL2(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(1, 1))
		for n := range 600 {
			a, b := floats(rng, n), floats(rng, n)
			checkDot(t, l, a, b)
			checkL2(t, l, a, b)
		}
	})
}

// TestDotTakesEachElementOnce has one element that is not zero, at each place of each length.
func TestDotTakesEachElementOnce(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		for n := range 200 {
			a, zero, ones := make([]float32, n), make([]float32, n), make([]float32, n)
			for i := range ones {
				ones[i] = 1
			}
			for i := range n {
				a[i] = 3
				if got := l.Dot(a, ones); got != 3 {
					t.Fatalf("length %d, element %d: Dot = %v", n, i, got)
				}
				if got := l.L2(a, zero); got != 9 {
					t.Fatalf("length %d, element %d: L2 = %v", n, i, got)
				}
				if got := l.L2(zero, a); got != 9 {
					t.Fatalf("length %d, element %d: L2 = %v", n, i, got)
				}
				if got := l.SumSquares(a); got != 9 {
					t.Fatalf("length %d, element %d: SumSquares = %v", n, i, got)
				}
				a[i] = 0
			}
		}
	})
}

func TestRowsAreWhatTheSingleKernelReturns(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(2, 2))
		for _, n := range []int{0, 1, 7, 8, 15, 16, 33, 100, 384, 768} {
			for count := range 10 {
				q, rows, out := floats(rng, n), floats(rng, n*count), make([]float32, count)
				l.DotRows(q, rows, out)
				for i, got := range out {
					if want := l.Dot(q, rows[i*n:][:n]); got != want {
						t.Fatalf("length %d, row %d of %d: DotRows = %v, Dot = %v", n, i, count, got, want)
					}
				}
				l.L2Rows(q, rows, out)
				for i, got := range out {
					if want := l.L2(q, rows[i*n:][:n]); got != want {
						t.Fatalf("length %d, row %d of %d: L2Rows = %v, L2 = %v", n, i, count, got, want)
					}
				}
			}
		}
	})
}

func TestSumSquaresIsTheSameOnAllLevels(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(3, 3))
		for n := range 300 {
			v := floats(rng, n)
			var plain float64
			for _, x := range v {
				plain += float64(x) * float64(x)
			}
			got := l.SumSquares(v)
			if want := generic.SumSquares(v); got != want || math.Abs(got-plain) > 1e-12*plain {
				t.Fatalf("length %d: SumSquares = %v, generic %v, plain sum %v", n, got, want, plain)
			}
		}
	})
}

func TestFloatKernelsRefuse(t *testing.T) {
	v := make([]float32, 64)
	for _, c := range []struct {
		name string
		call func(l level)
	}{
		{"Dot, b shorter", func(l level) { l.Dot(v, v[:63]) }},
		{"L2, b shorter", func(l level) { l.L2(v, v[:63]) }},
		{"DotRows, a row short", func(l level) { l.DotRows(v[:32], v, make([]float32, 3)) }},
		{"L2Rows, a row short", func(l level) { l.L2Rows(v[:32], v, make([]float32, 3)) }},
	} {
		forLevels(t, func(t *testing.T, l level) { mustPanic(t, c.name, func() { c.call(l) }) })
	}
}

func mustPanic(t *testing.T, name string, call func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", name)
		}
	}()
	call()
}

func FuzzDot(f *testing.F) {
	for _, n := range []uint16{0, 1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 300, 768} {
		f.Add(uint64(n), n)
	}
	f.Fuzz(func(t *testing.T, seed uint64, length uint16) {
		n := int(length % 4096)
		rng := rand.New(rand.NewPCG(seed, uint64(length)))
		a, b := floats(rng, n), floats(rng, n)
		for _, l := range levels() {
			checkDot(t, l, a, b)
			checkL2(t, l, a, b)
			if got, want := l.SumSquares(a), generic.SumSquares(a); got != want {
				t.Fatalf("%s, length %d: SumSquares = %v, generic %v", l, n, got, want)
			}
		}
	})
}
