package hnsw

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSortByDistance compares with a sort by a function.
func TestSortByDistance(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	special := []float32{0, -1, 1, math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, inf, -inf}
	s := NewSearcher()
	for n := range 200 {
		got := make([]Candidate, n)
		for i := range got {
			got[i] = Candidate{Distance: float32(rng.NormFloat64()), Row: rng.Uint32()}
			if rng.IntN(3) == 0 {
				got[i].Distance = special[rng.IntN(len(special))]
			}
		}
		want := slices.Clone(got)
		slices.SortFunc(want, func(a, b Candidate) int {
			return cmp.Or(cmp.Compare(a.Distance, b.Distance), cmp.Compare(a.Row, b.Row))
		})
		s.SortByDistance(got)
		if !slices.Equal(got, want) {
			t.Fatalf("%d candidates are sorted\n%v\nnot\n%v", n, got, want)
		}
	}
	zeros := []Candidate{{Distance: 0, Row: 1}, {Distance: float32(math.Copysign(0, -1)), Row: 2}, {Distance: 0, Row: 0}}
	s.SortByDistance(zeros)
	if zeros[0].Row != 0 || zeros[1].Row != 1 || zeros[2].Row != 2 {
		t.Fatalf("zeros of both signs are sorted %v, not by row", zeros)
	}
}
