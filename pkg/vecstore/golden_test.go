package vecstore

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/hnsw"
)

// A graph is the same on every processor, to the last bit of its file: two copies of a shard on different machines answer alike. The
// hashes are of the columns of fixed vectors, by all kernels that there are; .ci/run has those of other processors make them, too.
// Whoever changes how graphs are built, or the form of their files, changes them.
func TestGraphIsTheSameOnEveryProcessor(t *testing.T) {
	for name, c := range map[string]struct {
		d    Definition
		rows int
		want string
	}{
		"sketches and a centre": {Definition{Dimension: 768, Metric: Cosine}, 300, "304d61b432bea798c05959ad06adc4311ec727659c1066e35f760cddfbbba807"},
		"a centre":              {Definition{Dimension: 250, Metric: L2, Vectors: VectorsF16}, 300, "598b0c12c2d54b9736f2e74d6dcd40844906c3df47204298e8156a27882fee8d"},
		"codes alone":           {Definition{Dimension: 100, Metric: Dot, Vectors: VectorsNone}, 600, "9ea164a5802e49a559fd7eb55429758d1d86c413fd22ea7bb9e64ab66e84dc5b"},
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(5, uint64(c.d.Dimension)))
			s := rowsOf(t, c.d, rowVectors(c.rows, int(c.d.Dimension), func(v []float32, _ int) {
				for i := range v {
					// Whole numbers, which all processors draw alike, of nearly the normal distribution, and of a mean.
					v[i] = float32(rng.IntN(101)+rng.IntN(101)+rng.IntN(101)-100-i%50) / 77
				}
			}), c.rows)
			sp, _ := s.space("s")
			x, _ := sp.graph()
			if x.linked() != uint32(c.rows) || (x.centre != nil) != (c.d.Metric != Dot) {
				t.Fatalf("%d rows are linked, with a centre of length %v", x.linked(), x.reach)
			}
			f, err := s.opt.FS.Open(filepath.Join("shard", columnsName(sp.number, 1)))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			size, err := f.Size()
			if err != nil {
				t.Fatal(err)
			}
			h := sha256.New()
			if _, err := io.Copy(h, io.NewSectionReader(f, 0, size)); err != nil {
				t.Fatal(err)
			}
			// And what it was built by, since neighbours are seldom so alike that the last bit of it matters.
			var q hnsw.Query
			ids, out, scratch := make([]uint32, c.rows), make([]float32, c.rows), make([]int32, c.rows)
			for row := range ids {
				ids[row] = uint32(row)
			}
			for row := range uint32(20) {
				x.Load(row, &q)
				for _, compare := range []func(*hnsw.Query, []uint32, []float32, []int32){x.Estimates, x.Distances} {
					compare(&q, ids, out, scratch)
					h.Write(event.AppendF32(nil, out))
				}
			}
			if got := hex.EncodeToString(h.Sum(nil)); got != c.want {
				t.Errorf("the hash of the graph is %s, want %s", got, c.want)
			}
		})
	}
}
