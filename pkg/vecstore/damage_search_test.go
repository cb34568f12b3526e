package vecstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore/columns"
)

// Columns that a killed process left are used without a look at their bytes. What cannot be followed in them ends a search
// with an error, and the shard is told to be opened again; it does not end the process.
func TestSearchOfDamagedColumns(t *testing.T) {
	const n, dim = 400, 16
	rng := rand.New(rand.NewPCG(3, 3))
	vectors := rowVectors(n, dim, func(v []float32, _ int) {
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
	})
	s := rowsOf(t, Definition{Dimension: dim, Metric: L2}, vectors, n)
	sp, _ := s.space("s")
	x, _ := sp.graph()
	for row := range uint32(n) {
		*x.file.Chunks().UpperIndex(row) = 0xffffff00 | *x.file.Chunks().UpperIndex(row)&0xff
	}
	_, err := s.Search("s", Query{Vector: vectors[0], K: 10})
	if !errors.Is(err, columns.ErrCorrupt) || s.Usable() == nil {
		t.Errorf("Search = %v, and then Usable = %v", err, s.Usable())
	}
	if _, err := s.Search("s", Query{Vector: vectors[0], K: 10, Effort: EffortExact, Context: context.Background()}); err != nil {
		t.Errorf("an exact search does not follow links: %v", err)
	}
}
