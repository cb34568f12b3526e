package vecstore

import (
	"fmt"
	"math"

	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/vecstore/columns"
	"github.com/engram-memory/engram/pkg/vector"
)

// graph is the engine EngineHNSW: an HNSW graph over codes in mapped columns. A row has a code of four bits a component:
// half of an int8 code, in memory and on its way to the processor, and hardly less exact. Long vectors have a sketch besides,
// the signs of the code, which are a quarter of it. The way through the graph is found by sketches, so that a search is as
// fast as its cache misses, and what was found is put in order by codes.
type graph struct {
	gen   *generation
	codec *codec
	file  *columns.File
	hnsw  *hnsw.Graph
	// centre is what codes are relative to, rotated; nil for the origin. reach is its length.
	centre []float32
	reach  float32
	// Of who links. slots is the number of slots for upper lists that are given out.
	slots    uint32
	encoders []*encoder // one a thread
	fresh    fresh
}

// layout is that of the columns of a space.
func (c *codec) layout(cfg hnsw.Config) columns.Layout {
	return columns.LayoutFor(c.dim, c.sketch, c.width, cfg.LinkWords(), cfg.UpperWords())
}

// GraphBytes is the length of the column file of a space with so many rows of dim components in its graph, on the disk and,
// where it is searched, in memory.
func GraphBytes(dim int, rows int64) int64 {
	c := codec{dim: dim, width: vector.U4Width(dim), sketch: sketchWidth(dim)}
	return c.layout(hnsw.DefaultConfig()).FileBytes(rows)
}

func newGraph(g *generation, file *columns.File, cfg hnsw.Config) *graph {
	x := &graph{gen: g, codec: g.space.codec, file: file, slots: uint32(file.State().Slots.Load())}
	x.centre = file.Header().Centre
	x.reach = float32(math.Sqrt(vector.SumSquares(x.centre)))
	n := uint32(file.State().Linked.Load())
	x.hnsw = hnsw.New(cfg, x, x, n)
	if row, _, ok := x.hnsw.EntryPoint(); n > 0 && (!ok || row >= n) {
		// The process died after the entry point was replaced and before the block counted.
		x.hnsw.ChooseEntryPoint()
	}
	return x
}

func (x *graph) linked() uint32 { return x.hnsw.Len() }

func (x *graph) acquire() bool { return x.file.Acquire() }
func (x *graph) release()      { x.file.Release() }
func (x *graph) close() error  { return x.file.Close() }

// link writes the codes of the rows and links them. What it has done when it fails, or when the process dies, is done
// again by the next call.
func (x *graph) link(to uint32, threads int) error {
	from := x.hnsw.Len()
	if err := x.file.Grow(to); err != nil {
		return err
	}
	state := x.file.State()
	state.Linking.Store(uint64(to))
	b := x.file.Chunks()
	slots := x.slots
	for row := from; row < to; row++ {
		m := x.gen.meta.at(row)
		*b.Sequence(row) = m.sequence
		*b.UpperIndex(row), slots = x.place(b, row, m.sequence, slots)
	}
	x.encode(b, from, to, threads)
	x.hnsw.Insert(to, threads, func(row uint32) bool { return x.gen.meta.at(row).born.Load() == void })
	x.slots = slots
	state.Slots.Store(uint64(slots))
	state.Linked.Store(uint64(to))
	return nil
}

// place gives a row the slots of its upper lists, as many as its level, and returns the word that says so: the first slot
// above the level. The level comes from a hash of the sequence, so that it is the same in every copy of the shard.
func (x *graph) place(b *columns.Chunks, row uint32, sequence uint64, slots uint32) (word, next uint32) {
	level := uint32(x.hnsw.Config().LevelOf(mix(sequence)))
	if slots+level > b.Slots() {
		level = 0 // many more rows than usual drew a level; the base layer has it all the same
	}
	return slots<<levelBits | level, slots + level
}

const levelBits = 4

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// fresh are the rows that are being linked, relative to the centre, as queries of int8 codes in the order of the kernels.
type fresh struct {
	from  uint32
	codes []int8
	info  []tailInfo
}

// encode writes the codes of rows of the tail to the columns.
func (x *graph) encode(b *columns.Chunks, from, to uint32, threads int) {
	for len(x.encoders) < threads {
		x.encoders = append(x.encoders, newEncoder(x.codec))
	}
	n := int(to - from)
	x.fresh = fresh{from: from, codes: resize(x.fresh.codes, n*x.codec.codeSize), info: resize(x.fresh.info, n)}
	hnsw.Spread(threads, n, func(thread, i int) {
		row := from + uint32(i)
		if x.gen.meta.at(row).born.Load() == void {
			b.Info(row).Missed = columns.NoBound // so that it stays one after the process has died
			return
		}
		x.encodeRow(b, row, x.encoders[thread])
	})
}

// encoder is the memory of one goroutine that encodes rows.
type encoder struct {
	natural, levels []int8
	v               []float32
}

func newEncoder(c *codec) *encoder {
	return &encoder{natural: make([]int8, c.dim), levels: make([]int8, c.codeSize), v: make([]float32, c.dim)}
}

func (x *graph) encodeRow(b *columns.Chunks, row uint32, e *encoder) {
	c := x.codec
	code, info := x.gen.tail.code(row)
	vector.U4Components(e.natural, code)
	vector.DequantizeI8(e.v, e.natural, info.scale)
	norm := x.relate(e.v, info.norm)
	i := int(row - x.fresh.from)
	code = x.fresh.codes[i*c.codeSize : (i+1)*c.codeSize]
	scale := vector.QuantizeI8(e.natural, e.v)
	vector.U4Query(code, e.natural)
	x.fresh.info[i] = tailInfo{scale: scale, norm: norm}

	out := b.Info(row)
	bySign, byLevel := vector.QuantizeU4(b.Code(row), e.v)
	out.Factor, out.Norm = byLevel, norm
	if c.sketch > 0 {
		vector.SketchU4(b.Sketch(row), b.Code(row))
		*b.SketchInfo(row) = columns.SketchInfo{Factor: bySign, Norm: norm}
	}
	vector.UnpackU4(e.levels, b.Code(row), c.dim)
	squares := float64(vector.DotI8(e.levels, e.levels))
	// |x - f·l|² = |x|² - 2f<x,l> + f²|l|², and f is chosen so that f<x,l> = |x|².
	f := float64(out.Factor)
	out.Missed = columns.BoundOf(float32(math.Sqrt(max(0, float64(f*f*squares)-vector.SumSquares(e.v)))))
	out.Rounded = columns.BoundOf(c.missedByInt8(info.scale))
}

// relate makes a rotated vector of a squared length, in place, relative to the centre, and returns its squared length then.
//
// The length is that of what there is, its rounding included, so that a distance from another vector has little of that
// rounding in it. For the cosine a vector of length zero is as far from every other one as one at a right angle to it.
func (x *graph) relate(v []float32, norm float32) float32 {
	zero := x.codec.metric == Cosine && norm == 0
	if x.centre != nil {
		for i, c := range x.centre {
			v[i] -= c
		}
		norm = float32(vector.SumSquares(v))
	}
	if zero {
		norm++
	}
	return norm
}

// Load implements hnsw.Rows. A row that is being linked is known by an int8 code, one of the graph by its code of four bits.
func (x *graph) Load(row uint32, q *hnsw.Query) {
	n := x.codec.codeSize
	q.Code, q.Linking = resize(q.Code, n), true
	if i := int(row) - int(x.fresh.from); row >= x.hnsw.Len() {
		copy(q.Code, x.fresh.codes[i*n:(i+1)*n])
		q.Scale, q.Norm = x.fresh.info[i].scale, x.fresh.info[i].norm
	} else {
		b := x.file.Chunks()
		vector.UnpackU4(q.Code, b.Code(row), x.codec.dim)
		info := b.Info(row)
		q.Scale, q.Norm = info.Factor, info.Norm
	}
	q.Sum = vector.DotI8(q.Code, x.codec.ones)
}

// Sketched implements hnsw.Rows.
func (x *graph) Sketched() bool { return x.codec.sketch > 0 }

// Estimates implements hnsw.Rows by the sketches, where there are any.
//
// Here, in Distances and where rows are encoded, conversions keep a compiler from fusing a product and a sum, which rounds
// differently: graphs are the same on every processor.
func (x *graph) Estimates(q *hnsw.Query, ids []uint32, out []float32, scratch []int32) {
	b, c := x.file.Chunks(), x.codec
	if c.sketch == 0 {
		x.Distances(q, ids, out, scratch)
		return
	}
	scratch = scratch[:len(ids)]
	vector.DotSketchList(q.Code, c.sketch, b.Sketches, b.Shift(), b.SketchStride(), ids, scratch)
	if x.squared(q) {
		for i, id := range ids {
			info := b.SketchInfo(id)
			out[i] = q.Norm + info.Norm - float32(2*float32(2*scratch[i]-q.Sum)*info.Factor*q.Scale)
		}
		return
	}
	for i, id := range ids {
		out[i] = -float32(2*scratch[i]-q.Sum) * b.SketchInfo(id).Factor * q.Scale
	}
}

// Distances implements hnsw.Rows.
func (x *graph) Distances(q *hnsw.Query, ids []uint32, out []float32, scratch []int32) {
	b, c := x.file.Chunks(), x.codec
	scratch = scratch[:len(ids)]
	vector.DotU4List(q.Code, c.width, b.Codes, b.Shift(), b.CodeStride(), ids, scratch)
	middle := 15 * q.Sum // of the numbers 0..15, twice, times the query
	if x.squared(q) {
		for i, id := range ids {
			info := b.Info(id)
			out[i] = q.Norm + info.Norm - float32(2*float32(2*scratch[i]-middle)*info.Factor*q.Scale)
		}
		return
	}
	for i, id := range ids {
		out[i] = -float32(2*scratch[i]-middle) * b.Info(id).Factor * q.Scale
	}
}

// squared tells whether rows are compared by the squared Euclidean distance or by the inner product. From a centre, the cosine
// of unit vectors is by the former.
func (x *graph) squared(q *hnsw.Query) bool {
	return x.codec.metric != Dot || q.Linking
}

// prepare implements index.
func (x *graph) prepare(s *searcher, q *query) {
	s.vector = append(s.vector[:0], q.turned...)
	norm := x.relate(s.vector, q.Norm)
	q.near.err, q.near.size = x.codec.encode(&q.near.Query, s.vector, norm, s)
}

func (x *graph) search(s *searcher, q *query, k, ef int, hide func(uint32) bool) ([]hnsw.Candidate, int) {
	found, compared := x.hnsw.Search(s.graph, &q.near.Query, ef, k, hide)
	for i := range found {
		found[i].Distance = x.distance(q, found[i].Distance)
	}
	return found, compared
}

// distance turns one of the graph into one of codec.distance.
func (x *graph) distance(q *query, d float32) float32 {
	switch x.codec.metric {
	case Cosine:
		return d/2 - 1
	case L2:
		return d - q.Norm
	}
	return d
}

func (x *graph) bounds(s *searcher, q *query, ids []uint32, out []float32) {
	x.Distances(&q.near.Query, ids, out, s.scratch)
	b, near := x.file.Chunks(), &q.near
	for i, id := range ids {
		info := b.Info(id)
		length := float32(math.Sqrt(float64(info.Norm)))
		// As in codec.best. What the int8 code of the row missed is in the norm, too.
		e := near.err*length + near.size*info.Missed.Float32() + (near.size+length)*info.Rounded.Float32()
		e += 1e-5 * (near.size + 1) * (length + x.reach)
		switch x.codec.metric {
		case Cosine:
			out[i] = orBest(1 - out[i]/2 + e)
		case L2:
			out[i] = orBest(-out[i] + 2*e + 1e-5*(near.Norm+info.Norm))
		default:
			out[i] = orBest(-out[i] + e)
		}
	}
}

// margin is one and a half times the standard deviation of the inner product of a query and a code of four bits. A wider one
// reads records that hardly ever are hits: on real embeddings twice the deviation finds at most 4 of 10,000 neighbours more, and
// once finds 20 fewer. Those of few components are not spread evenly enough for it.
func (x *graph) margin(q *query, row uint32) float32 {
	if x.codec.dim < 64 {
		return float32(math.Inf(1))
	}
	lengths := float64(q.near.Norm) * float64(x.file.Chunks().Info(row).Norm)
	e := float32(1.5 * 0.107 * math.Sqrt(lengths/float64(x.codec.dim)))
	if x.codec.metric == L2 {
		return 2*e + 1e-5*q.near.Norm + 1e-6*q.Norm // of the arithmetic in float32, that of distance included
	}
	return e
}

// check looks for what nobody can follow: columns that are used as a killed process left them have no checksums, and may hold
// numbers of what is not there. Linking is held.
func (x *graph) check() error {
	b, n := x.file.Chunks(), x.hnsw.Len()
	for row := range n {
		if slot := *b.UpperIndex(row) >> levelBits; slot+uint32(x.Level(row)) > b.Slots() {
			return fmt.Errorf("%w: row %d has lists up to slot %d of %d", columns.ErrCorrupt, row, slot+uint32(x.Level(row)), b.Slots())
		}
	}
	if row, level, ok := x.hnsw.EntryPoint(); ok && n > 0 && (row >= n || level != x.Level(row)) {
		return fmt.Errorf("%w: the entry point is row %d of %d, in layer %d", columns.ErrCorrupt, row, n, level)
	}
	for row := range n {
		for level := range x.Level(row) {
			list := x.Upper(row, level+1)
			for _, id := range list[1:][:min(int(list[0]), len(list)-1)] {
				if id < n && x.Level(id) <= level {
					return fmt.Errorf("%w: row %d has a link to row %d, which is not in layer %d", columns.ErrCorrupt, row, id, level+1)
				}
			}
		}
	}
	return nil
}

// Links implements hnsw.Memory.
func (x *graph) Links(row uint32) []uint32 { return x.file.Chunks().Links(row) }

// Upper implements hnsw.Memory.
func (x *graph) Upper(row uint32, level int) []uint32 {
	b := x.file.Chunks()
	return b.Upper(*b.UpperIndex(row)>>levelBits + uint32(level) - 1)
}

// Level implements hnsw.Memory.
func (x *graph) Level(row uint32) int {
	return int(*x.file.Chunks().UpperIndex(row) & (1<<levelBits - 1))
}

// Entry implements hnsw.Memory.
func (x *graph) Entry() *uint64 { return &x.file.State().Entry }
