package vecstore

import (
	"fmt"
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/engram-memory/engram/pkg/vector"
)

// EngineExact is the name of the engine that scans every row.
const EngineExact = "exact"

func errEngine(name string) error {
	return fmt.Errorf("%w: no engine is called %q; this version has %q", ErrDefinition, name, EngineExact)
}

// exact is the index that compares the query with every row: always right, and in cost proportional to the space.
type exact struct {
	metric  Metric
	vectors column[float32] // normalised for cosine, so that a score is one inner product
	rows    atomic.Uint32
}

func newExact(dim int, metric Metric) *exact {
	return &exact{metric: metric, vectors: column[float32]{width: dim}}
}

func (x *exact) Add(row uint32, packed []byte) error {
	if dim := x.vectors.width; len(packed) != dim*4 {
		return fmt.Errorf("%w: %d bytes for %d components", ErrDimension, len(packed), dim)
	}
	x.vectors.grow(row)
	v := x.vectors.row(row)
	decodeInto(v, packed)
	if x.metric == Cosine {
		normalise(v)
	}
	x.rows.Store(row + 1)
	return nil
}

func (x *exact) Search(query []float32, view View, best *TopK) int {
	if x.metric == Cosine {
		query = append([]float32(nil), query...)
		normalise(query)
	}
	n := view.Rows()
	dim := x.vectors.width
	var scores [128]float32
	searched := 0
	row := uint32(0)
	for c, chunk := range x.vectors.load() {
		for first := 0; first < chunkRows(c) && row < n; first += len(scores) {
			count := min(len(scores), chunkRows(c)-first, int(n-row))
			block := chunk[first*dim : (first+count)*dim]
			if x.metric == L2 {
				vector.L2Rows(query, block, scores[:count])
			} else {
				vector.DotRows(query, block, scores[:count])
			}
			for i, s := range scores[:count] {
				if x.metric == L2 {
					s = -s
				}
				// The score first: it rejects nearly every row without a look at its metadata.
				if best.Wants(s) && view.Visible(row+uint32(i)) {
					best.Offer(row+uint32(i), s)
				}
			}
			row += uint32(count)
			searched += count
		}
	}
	return searched
}

func (x *exact) Vector(row uint32, dst []float32) []float32 {
	return append(dst, x.vectors.row(row)...)
}

func (x *exact) Tiers() (tail, graph uint32) { return x.rows.Load(), 0 }
func (x *exact) Exact() bool                 { return true }

// decodeInto fills v from packed little-endian f32.
func decodeInto(v []float32, packed []byte) {
	if len(v) == 0 {
		return
	}
	if littleEndian {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), len(v)*4), packed)
		return
	}
	for i := range v {
		b := packed[i*4:]
		v[i] = math.Float32frombits(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
	}
}

var littleEndian = func() bool {
	one := uint16(1)
	return *(*byte)(unsafe.Pointer(&one)) == 1
}()

// normalise scales v to length 1. The length is computed in float64, where no square of a float32 over- or underflows.
func normalise(v []float32) {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum == 0 {
		return
	}
	scale := 1 / math.Sqrt(sum)
	for i, x := range v {
		v[i] = float32(float64(x) * scale)
	}
}
