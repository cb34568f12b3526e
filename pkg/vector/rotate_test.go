package vector

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func gaussian(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

func oneHot(dim, at int) []float32 {
	v := make([]float32, dim)
	v[at] = 1
	return v
}

func TestRotateSameOnAllLevels(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(1, 1))
		for _, dim := range append(u4Dims(), 8192) {
			r := NewRotation(dim, uint64(dim))
			// At an address that is not that of a whole register.
			want, got := gaussian(rng, dim), make([]float32, dim+2)[1:dim+1]
			copy(got, want)
			generic.rotate(r, want)
			l.rotate(r, got)
			for i := range want {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
					t.Fatalf("dimension %d: component %d is %v, want %v", dim, i, got[i], want[i])
				}
			}
		}
	})
}

// TestRotateOrthogonal compares the inner products of the columns of a rotation with those of the unit matrix.
func TestRotateOrthogonal(t *testing.T) {
	for dim := 1; dim <= 70; dim++ {
		r := NewRotation(dim, 7)
		columns := make([][]float32, dim)
		for i := range columns {
			columns[i] = oneHot(dim, i)
			r.Apply(columns[i])
		}
		for i, a := range columns {
			for j, b := range columns {
				want := 0.0
				if i == j {
					want = 1
				}
				if got := float64(Dot(a, b)); math.Abs(got-want) > 1e-6 {
					t.Fatalf("dimension %d: the product of columns %d and %d is %v", dim, i, j, got)
				}
			}
		}
	}
}

func TestRotateKeepsProducts(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, dim := range u4Dims() {
		r := NewRotation(dim, 3)
		if r.Dim() != dim {
			t.Fatalf("a rotation in %d dimensions has %d", dim, r.Dim())
		}
		for range 5 {
			a, b := gaussian(rng, dim), gaussian(rng, dim)
			normA, normB, product := SumSquares(a), SumSquares(b), product64(a, b)
			r.Apply(a)
			r.Apply(b)
			if got := SumSquares(a); math.Abs(got-normA) > 1e-6*normA {
				t.Fatalf("dimension %d: the norm was %v and is %v", dim, normA, got)
			}
			if got := product64(a, b); math.Abs(got-product) > 1e-6*math.Sqrt(normA*normB) {
				t.Fatalf("dimension %d: the inner product was %v and is %v", dim, product, got)
			}
		}
	}
}

func product64(a, b []float32) (sum float64) {
	for i, x := range a {
		sum += float64(x) * float64(b[i])
	}
	return sum
}

// TestRotateSpreads rotates vectors that are as far from a Gaussian as there are. The bounds are what Gaussian components
// themselves keep: a fourth moment of 3, with a deviation of √(24/dim), and none of more than five standard deviations.
func TestRotateSpreads(t *testing.T) {
	for _, dim := range []int{24, 64, 100, 255, 384, 511, 512, 513, 768, 784, 1000, 1023, 1025, 1536, 2047} {
		var sum float64
		var count int
		for seed := range uint64(4) {
			r := NewRotation(dim, seed)
			inputs := [][]float32{slices.Repeat([]float32{float32(1 / math.Sqrt(float64(dim)))}, dim)}
			for at := 0; at < dim; at += 1 + dim/100 {
				inputs = append(inputs, oneHot(dim, at))
			}
			for i, v := range inputs {
				r.Apply(v)
				moment, largest := spread(v)
				if bound := 3 + 6*math.Sqrt(24/float64(dim)); moment > bound || largest > 5.5 {
					t.Errorf("dimension %d, seed %d, vector %d: a fourth moment of %.2f, and a component of %.2f deviations", dim, seed, i, moment, largest)
				}
				sum += moment
				count++
			}
		}
		if mean := sum / float64(count); mean < 2.6 || mean > 3.3 {
			t.Errorf("dimension %d: the mean of fourth moments is %.2f", dim, mean)
		}
	}
}

// spread returns the fourth moment and the largest magnitude of a unit vector's components, in standard deviations.
func spread(v []float32) (moment, largest float64) {
	for _, x := range v {
		y := float64(x) * math.Sqrt(float64(len(v)))
		moment += y * y * y * y / float64(len(v))
		largest = max(largest, math.Abs(y))
	}
	return moment, largest
}

// TestRotateNeverChanges holds rotations to what they were when the first codes of rotated vectors were written.
func TestRotateNeverChanges(t *testing.T) {
	state := uint64(1234567)
	// The first numbers that the authors' implementation returns for this seed.
	for _, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} {
		if got := splitMix(&state); got != want {
			t.Errorf("a number of SplitMix64 is %d, want %d", got, want)
		}
	}
	for _, c := range []struct {
		dim  int
		want []float32
	}{
		{4, []float32{3, 1, 4, -2}},
		{6, []float32{6.894291, -1.5909903, -1.0606601, 2.2980976, -2.1213202, 5.4800777}},
	} {
		v := make([]float32, c.dim)
		for i := range v {
			v[i] = float32(i + 1)
		}
		NewRotation(c.dim, 42).Apply(v)
		if !slices.Equal(v, c.want) {
			t.Errorf("in %d dimensions: %v, want %v", c.dim, v, c.want)
		}
	}
}

func TestRotateDependsOnSeed(t *testing.T) {
	a, b, c := oneHot(100, 5), oneHot(100, 5), oneHot(100, 5)
	NewRotation(100, 1).Apply(a)
	NewRotation(100, 1).Apply(b)
	NewRotation(100, 2).Apply(c)
	if !slices.Equal(a, b) || slices.Equal(a, c) {
		t.Error("rotations of a seed differ, or those of two do not")
	}
}

func TestRotateRefuses(t *testing.T) {
	for name, call := range map[string]func(){
		"no dimension":        func() { NewRotation(0, 1) },
		"a negative one":      func() { NewRotation(-1, 1) },
		"vector that is long": func() { NewRotation(8, 1).Apply(make([]float32, 9)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call()
		}()
	}
}

func BenchmarkRotate(b *testing.B) {
	for _, dim := range []int{384, 768, 1024, 1536} {
		r := NewRotation(dim, 1)
		v := gaussian(rand.New(rand.NewPCG(1, 1)), dim)
		b.Run(fmt.Sprintf("dim=%d", dim), func(b *testing.B) {
			forLevelsBench(b, func(b *testing.B, l level) {
				for b.Loop() {
					l.rotate(r, v)
				}
			})
		})
	}
}
