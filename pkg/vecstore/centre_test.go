package vecstore

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Vectors that are nearly all the same are told apart by what they have of their own, by the cosine as well.
func TestRecallOfVectorsThatAreMuchAlike(t *testing.T) {
	const n, dim, queries = 3000, 256, 40
	rng := rand.New(rand.NewPCG(21, 21))
	alike := func(v []float32, _ int) { // their mean is 0.995 long
		for i := range v {
			v[i] = float32(1 + 0.1*rng.NormFloat64())
		}
	}
	s := rowsOf(t, Definition{Dimension: dim, Metric: Cosine}, rowVectors(n, dim, alike), n)
	sp, _ := s.space("s")
	if x, _ := sp.graph(); x.reach < 0.99 {
		t.Fatalf("the mean is %v long", x.reach)
	}
	found := 0
	for _, v := range rowVectors(queries, dim, alike) {
		q := Query{Vector: v, K: 10, MinScore: float32(math.Inf(-1)), Now: time.Now(), Ef: 400}
		got, err := s.Search("s", q)
		if err != nil {
			t.Fatal(err)
		}
		q.Effort = EffortExact
		want, err := s.Search("s", q)
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]bool{}
		for _, row := range want.Rows {
			there[row.ID] = true
		}
		for _, row := range got.Rows {
			if there[row.ID] {
				found++
			}
		}
	}
	if recall := float64(found) / (10 * queries); recall < 0.8 { // of a graph with few links
		t.Errorf("recall is %.3f", recall)
	}
}

// Whether a row is nearer to a point than to the origin does not depend on how a processor rounds sums.
func TestNearerIsExact(t *testing.T) {
	const n, dim = 40, 700
	rng := rand.New(rand.NewPCG(22, 22))
	s := rowsOf(t, Definition{Dimension: dim, Metric: L2}, rowVectors(n, dim, func(v []float32, _ int) {
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
	}), 0)
	sp, _ := s.space("s")
	g := sp.gen.Load()
	var rows [][]float32
	for v := range g.sample(sp.codec, n) {
		rows = append(rows, slices.Clone(v))
	}
	for i, v := range rows {
		point := make([]float32, dim) // twice as far as the row, but for a hair
		for j, x := range v {
			point[j] = 2 * x
		}
		longest := 0
		for j, x := range point {
			if math.Abs(float64(x)) > math.Abs(float64(point[longest])) {
				longest = j
			}
		}
		towards := float32(0)
		if i%2 == 1 {
			towards = 2 * point[longest]
		}
		point[longest] = math.Nextafter32(point[longest], towards)
		want := 0
		for _, w := range rows {
			if 2*bookScore(Dot, w, point) > bookScore(Dot, point, point) {
				want++
			}
		}
		if got := g.nearer(sp.codec, n, point); got != want {
			t.Errorf("%d rows are nearer to point %d, want %d", got, i, want)
		}
	}
}
