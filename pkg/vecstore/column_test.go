package vecstore

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestColumnGivesEachRowItsPlace(t *testing.T) {
	chunk, index := uint32(0), uint32(0)
	for row := range uint32(5 * fullChunk) {
		if int(index) == chunkRows(int(chunk)) {
			chunk, index = chunk+1, 0
		}
		if c, i := locate(row); c != chunk || i != index {
			t.Fatalf("row %d is in chunk %d at %d, want chunk %d at %d", row, c, i, chunk, index)
		}
		index++
	}
	if chunk < smallChunks+2 {
		t.Fatalf("only %d chunks", chunk)
	}

	c := column[uint32]{}
	for row := range uint32(3 * fullChunk) {
		c.grow(row)
		*c.at(row) = row
	}
	for row := range uint32(3 * fullChunk) {
		if v := *c.at(row); v != row {
			t.Fatalf("row %d holds %v", row, v)
		}
	}
	// A row far off makes every chunk before it.
	far := column[byte]{}
	far.grow(2*fullChunk + 5)
	*far.at(0), *far.at(2*fullChunk + 5) = 1, 2
	if *far.at(0) != 1 || *far.at(2*fullChunk + 5) != 2 || *far.at(fullChunk) != 0 {
		t.Fatal("a column mixes its rows up")
	}
}

func TestTopK(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 1, 2, 10, 500} {
		for _, k := range []int{math.MinInt, -1, 0, 1, 2, 9, 10, 11, 1000, math.MaxInt} {
			for _, minScore := range []float32{float32(math.Inf(-1)), 0.5, 2} {
				best := NewTopK(k, minScore)
				var want []scored
				for row := range uint32(n) {
					score := rng.Float32()
					best.Offer(row, score)
					if score >= minScore {
						want = append(want, scored{row, score})
					}
				}
				best.Offer(uint32(n), float32(math.NaN()))
				slices.SortFunc(want, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
				want = want[:min(len(want), max(k, 0))]
				if got := best.sorted(); !slices.Equal(got, want) {
					t.Fatalf("the best %d of %d rows from %g on are %v, want %v", k, n, minScore, got, want)
				}
			}
		}
	}
	// Equal scores come by row.
	best := NewTopK(3, 0)
	for _, row := range []uint32{4, 2, 9} {
		best.Offer(row, 1)
	}
	if got := best.sorted(); got[0].row != 2 || got[1].row != 4 || got[2].row != 9 {
		t.Fatalf("equal scores come as %v", got)
	}
}
