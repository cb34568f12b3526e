package vecstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
	"github.com/engram-memory/engram/pkg/vector"
)

// rotationSeed is that of the rotation of every space, so that codes can be compared between the copies of a shard and
// the generations of a space.
const rotationSeed = 0x656e6772616d

// codec turns the vectors of a space into what the row log keeps of them, and into the codes that they are searched by.
type codec struct {
	dim      int
	metric   Metric
	vectors  Vectors
	rotation *vector.Rotation
	// width is that of a code of four bits, in bytes, and sketch that of its signs, 0 where there are none; codeSize is that
	// of an int8 code in the order of their kernels.
	width, sketch, codeSize int
	ones                    []int8 // as many as a code has
}

func newCodec(d *Definition) *codec {
	dim := int(d.Dimension)
	size := vector.U4QuerySize(dim)
	return &codec{
		dim: dim, metric: d.Metric, vectors: d.Vectors, rotation: vector.NewRotation(dim, rotationSeed),
		width: vector.U4Width(dim), sketch: sketchWidth(dim), codeSize: size, ones: slices.Repeat([]int8{1}, size),
	}
}

// sketchWidth is the bytes of a sketch: the signs of a code, by which a search finds its way. The error of an estimate by them
// falls with the square root of the dimension; for short vectors it is no good, and reading the whole code costs little.
func sketchWidth(dim int) int {
	if dim < 640 {
		return 0
	}
	return vector.SketchWidth(dim)
}

// encoding is the form of the vectors of the space in the row log.
func (c *codec) encoding() rows.Encoding {
	switch c.vectors {
	case VectorsF16:
		return rows.F16
	case VectorsNone:
		return rows.I8
	}
	return rows.F32
}

// store returns what the row log keeps of a vector, packed little-endian f32. It is the vector itself where the space
// keeps f32.
func (c *codec) store(packed []byte) []byte {
	switch c.vectors {
	case VectorsF16:
		v := decodeF32(make([]float32, c.dim), packed)
		b := make([]byte, 2*c.dim)
		vector.EncodeF16(b, v)
		return b
	case VectorsNone:
		v := decodeF32(make([]float32, c.dim), packed)
		b := make([]byte, 4+c.dim)
		code := unsafe.Slice((*int8)(unsafe.Pointer(&b[4])), c.dim)
		scale := vector.QuantizeI8(code, v)
		putF32(b, scale)
		return b
	}
	return packed
}

// holds tells why a vector is lost in the form that the space keeps it in: half precision has no number above 65,504.
func (c *codec) holds(stored []byte) error {
	if c.vectors != VectorsF16 {
		return nil
	}
	v := make([]float32, c.dim)
	vector.DecodeF16(v, stored)
	if sum := vector.SumSquares(v); math.IsInf(sum, 1) || math.IsNaN(sum) {
		return errors.New("has a component that is too large for f16")
	}
	return nil
}

// load decodes a vector as the row log keeps it.
func (c *codec) load(dst []float32, enc rows.Encoding, stored []byte) ([]float32, error) {
	if enc.Size(c.dim) != len(stored) {
		return nil, fmt.Errorf("%w: a vector of %d bytes in a space of dimension %d", ErrCorrupt, len(stored), c.dim)
	}
	dst = resize(dst, c.dim)
	switch enc {
	case rows.F16:
		vector.DecodeF16(dst, stored)
	case rows.I8:
		code := unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(stored[4:]))), c.dim)
		vector.DequantizeI8(dst, code, getF32(stored))
	default:
		decodeF32(dst, stored)
	}
	return dst, nil
}

// view returns a stored vector: as it stands there, where it can be used so, and otherwise in the memory of buf.
func (c *codec) view(buf *[]float32, enc rows.Encoding, stored []byte) (v []float32, err error) {
	p := unsafe.Pointer(unsafe.SliceData(stored))
	if enc == rows.F32 && littleEndian && uintptr(p)%4 == 0 && len(stored) == 4*c.dim {
		return unsafe.Slice((*float32)(p), c.dim), nil
	}
	if v, err = c.load(*buf, enc, stored); err == nil {
		*buf = v
	}
	return v, err
}

// tailInfo goes with an int8 code: an element is about code·scale, and norm is the squared length of the vector.
type tailInfo struct{ scale, norm float32 }

// code turns a vector into its int8 code, in the order of the kernels: of unit length where the metric is cosine, and
// rotated. v is scratch afterwards.
func (c *codec) code(dst []int8, v []float32, natural []int8) tailInfo {
	norm := c.turn(v)
	scale := vector.QuantizeI8(natural, v)
	vector.U4Query(dst, natural)
	return tailInfo{scale: scale, norm: norm}
}

// turn brings a vector, in place, to the length that the metric wants and rotates it. It returns its squared length.
func (c *codec) turn(v []float32) (norm float32) {
	if c.metric == Cosine {
		normalise(v)
	}
	c.rotation.Apply(v)
	return float32(vector.SumSquares(v))
}

// query is a vector to look for.
type query struct {
	hnsw.Query           // its int8 code, as those of the tail are
	raw        []float32 // as it was given, for the final scores
	norm       float64   // length of raw
	turned     []float32 // rotated, and of unit length where the metric is cosine
	err        float32   // bounds the length of what the int8 code of the query misses
	size       float32   // bounds the length of what it has
	near       relative  // to the centre of a graph
}

// relative is what a query is as seen from the centre of a graph.
type relative struct {
	hnsw.Query
	err, size float32 // as those of query
}

// query prepares a vector that is looked for, in the memory of a search.
func (c *codec) query(w *searcher, raw []float32) *query {
	q := &w.query
	q.raw, q.norm = raw, math.Sqrt(vector.SumSquares(raw))
	q.turned = append(q.turned[:0], raw...)
	norm := c.turn(q.turned)
	q.err, q.size = c.encode(&q.Query, q.turned, norm, w)
	return q
}

// encode makes q the query that is a rotated vector of a squared length. It returns bounds of the lengths of what the code
// misses and of what it has.
func (c *codec) encode(q *hnsw.Query, v []float32, norm float32, w *searcher) (missed, size float32) {
	w.natural = resize(w.natural, c.dim)
	q.Code = resize(q.Code, c.codeSize)
	q.Scale, q.Norm = vector.QuantizeI8(w.natural, v), norm
	vector.U4Query(q.Code, w.natural)
	q.Sum = vector.DotI8(q.Code, c.ones)
	missed = c.missedByInt8(q.Scale)
	return missed, float32(math.Sqrt(float64(norm))) + missed
}

// score is what a hit gets: of the query as it was given and a vector as it is stored.
func (c *codec) score(q *query, x []float32) float32 {
	square := float64(vector.Dot(x, x))
	n := math.Sqrt(square) * q.norm
	if !(square > 1e-20 && square < 1e30 && n > 1e-20 && n < 1e30) {
		// float32 may have no room for a sum or for its terms.
		return c.scoreSlowly(q, x, math.Sqrt(vector.SumSquares(x))*q.norm)
	}
	switch c.metric {
	case Dot:
		return vector.Dot(q.raw, x)
	case L2:
		return max(-vector.L2(q.raw, x), -math.MaxFloat32)
	}
	return float32(float64(vector.Dot(q.raw, x)) / n)
}

// scoreSlowly is score in float64, brought into the range of float32. n is the product of the lengths.
func (c *codec) scoreSlowly(q *query, x []float32, n float64) float32 {
	var dot, l2 float64
	for i, a := range q.raw {
		b := float64(x[i])
		dot += float64(a) * b
		l2 += (float64(a) - b) * (float64(a) - b)
	}
	score := dot
	switch {
	case c.metric == L2:
		score = -l2
	case c.metric == Cosine && n == 0:
		score = 0
	case c.metric == Cosine:
		score = dot / n
	}
	return float32(min(max(score, -math.MaxFloat32), math.MaxFloat32))
}

// distance turns the inner product of a query and a row into what the index orders by, the smaller the nearer.
func (c *codec) distance(dot, rowNorm float32) float32 {
	if c.metric == L2 {
		return rowNorm - 2*dot
	}
	return -dot
}

// asScore turns a distance into the score that it stands for.
func (c *codec) asScore(q *query, distance float32) float32 {
	if c.metric == L2 {
		return -(distance + q.Norm)
	}
	return -distance
}

// best is the best score that a row can have whose int8 code is at a distance: by the Cauchy–Schwarz inequality, from what the
// codes of the query and of the row miss, and from the length of the row.
func (c *codec) best(q *query, distance float32, row tailInfo) float32 {
	length := float32(math.Sqrt(float64(row.norm)))
	e := q.err*length + q.size*c.missedByInt8(row.scale)
	e += 1e-5 * (q.size + 1) * length // of the arithmetic in float32
	if c.metric == L2 {
		e = 2*e + 1e-5*(q.Norm+row.norm)
	}
	return orBest(c.asScore(q, distance) + e)
}

// orBest is the bound of a row of which nothing is known, for vectors too long for the arithmetic of a bound.
func orBest(score float32) float32 {
	if math.IsNaN(float64(score)) {
		return float32(math.Inf(1))
	}
	return score
}

// missedByInt8 bounds the length of what an int8 code misses: half a step in each component.
func (c *codec) missedByInt8(scale float32) float32 {
	return scale * float32(0.5*math.Sqrt(float64(c.dim)))
}

func resize[T any](v []T, n int) []T {
	if cap(v) < n {
		return make([]T, n)
	}
	return v[:n]
}

// decodeF32 fills v from packed little-endian f32.
func decodeF32(v []float32, packed []byte) []float32 {
	if littleEndian && len(v) > 0 {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), 4*len(v)), packed)
		return v
	}
	return event.DecodeF32(v[:0], packed)
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

func putF32(b []byte, f float32) {
	u := math.Float32bits(f)
	b[0], b[1], b[2], b[3] = byte(u), byte(u>>8), byte(u>>16), byte(u>>24)
}

func getF32(b []byte) float32 {
	return math.Float32frombits(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
}

// normalise scales v to length 1. The length is computed in float64, where no square of a float32 over- or underflows.
func normalise(v []float32) {
	sum := vector.SumSquares(v)
	if sum == 0 {
		return
	}
	scale := 1 / math.Sqrt(sum)
	for i, x := range v {
		v[i] = float32(float64(x) * scale)
	}
}
