package hnsw

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// points are rows of int8 vectors, compared by the squared Euclidean distance, which they have exactly.
type points struct {
	vectors [][]int8
	// coarse has estimates of five bits a component.
	coarse bool
	// called, if it is set, is called before each comparison.
	called func()
}

func (p *points) Load(row uint32, q *Query) {
	q.Code, q.Linking = append(q.Code[:0], p.vectors[row]...), true
}

func (p *points) compare(q *Query, ids []uint32, out []float32, round func(int8) int32) {
	if p.called != nil {
		p.called()
	}
	for i, id := range ids {
		sum := int32(0)
		for j, x := range p.vectors[id] {
			d := int32(q.Code[j]) - round(x)
			sum += d * d
		}
		out[i] = float32(sum)
	}
}

func (p *points) Estimates(q *Query, ids []uint32, out []float32, _ []int32) {
	if p.coarse {
		p.compare(q, ids, out, func(x int8) int32 { return int32(x)>>3<<3 + 4 })
		return
	}
	p.Distances(q, ids, out, nil)
}

// Sketched implements Rows.
func (p *points) Sketched() bool { return p.coarse }

func (p *points) Distances(q *Query, ids []uint32, out []float32, _ []int32) {
	p.compare(q, ids, out, func(x int8) int32 { return int32(x) })
}

// scattered are vectors without structure, clustered lie around centres.
func scattered(rng *rand.Rand, n, dim int) *points {
	p := &points{}
	for range n {
		v := make([]int8, dim)
		for i := range v {
			v[i] = int8(rng.IntN(255) - 127)
		}
		p.vectors = append(p.vectors, v)
	}
	return p
}

func clustered(rng *rand.Rand, n, dim, clusters int) *points {
	centres := scattered(rng, clusters, dim)
	p := &points{}
	for range n {
		v := slices.Clone(centres.vectors[rng.IntN(clusters)])
		for i := range v {
			v[i] = int8(max(-127, min(127, int(v[i])+rng.IntN(41)-20)))
		}
		p.vectors = append(p.vectors, v)
	}
	return p
}

// memory keeps the links on the heap.
type memory struct {
	cfg   Config
	links []uint32
	upper map[uint32][][]uint32
	level []int
	entry uint64
}

func newMemory(cfg Config, rows int) *memory {
	m := &memory{cfg: cfg, links: make([]uint32, rows*cfg.LinkWords()), upper: map[uint32][][]uint32{}}
	rng := rand.New(rand.NewPCG(6, 6))
	for row := range rows {
		level := cfg.LevelOf(rng.Uint64())
		m.level = append(m.level, level)
		for range level {
			m.upper[uint32(row)] = append(m.upper[uint32(row)], make([]uint32, cfg.UpperWords()))
		}
	}
	return m
}

func (m *memory) Links(row uint32) []uint32 {
	n := uint32(m.cfg.LinkWords())
	return m.links[row*n : (row+1)*n : (row+1)*n]
}

func (m *memory) Upper(row uint32, level int) []uint32 { return m.upper[row][level-1] }
func (m *memory) Level(row uint32) int                 { return m.level[row] }
func (m *memory) Entry() *uint64                       { return &m.entry }

func (m *memory) clone() *memory {
	c := &memory{cfg: m.cfg, links: slices.Clone(m.links), upper: map[uint32][][]uint32{}, level: m.level, entry: m.entry}
	for row, lists := range m.upper {
		for _, list := range lists {
			c.upper[row] = append(c.upper[row], slices.Clone(list))
		}
	}
	return c
}

// lists calls visit with every list of the first n rows, as far as it counts.
func (m *memory) lists(n int, visit func(row uint32, level int, list []uint32)) {
	for row := range uint32(n) {
		for level := range m.level[row] + 1 {
			list := m.Links(row)
			if level > 0 {
				list = m.Upper(row, level)
			}
			visit(row, level, list[1:1+min(int(list[0]), len(list)-1)])
		}
	}
}

// same tells whether two graphs of n rows have the same links.
func (m *memory) same(o *memory, n int) bool {
	var all [2][]uint32
	for i, m := range []*memory{m, o} {
		m.lists(n, func(row uint32, level int, list []uint32) {
			all[i] = append(append(all[i], row, uint32(level), uint32(len(list))), list...)
		})
	}
	return m.entry == o.entry && slices.Equal(all[0], all[1])
}

// check looks for what no graph may have. hollow are rows that have no vector.
func (m *memory) check(t *testing.T, n int, hollow func(uint32) bool) {
	t.Helper()
	m.lists(n, func(row uint32, level int, list []uint32) {
		seen := map[uint32]bool{row: true}
		for _, id := range list {
			if int(id) >= n || seen[id] || m.level[id] < level || hollow != nil && hollow(id) {
				t.Fatalf("row %d of %d links to %d in layer %d, in %v", row, n, id, level, list)
			}
			seen[id] = true
		}
		if hollow != nil && hollow(row) && len(list) > 0 {
			t.Fatalf("row %d, which has no vector, has links", row)
		}
	})
}

// build inserts all rows in blocks.
func build(cfg Config, p *points, mem *memory, block, threads int) *Graph {
	g := New(cfg, p, mem, 0)
	for n := 0; n < len(p.vectors); {
		n = min(n+block, len(p.vectors))
		g.Insert(uint32(n), threads, nil)
	}
	return g
}

func (p *points) query(v []int8) *Query { return &Query{Code: v} }

// nearest returns the distance of the kth nearest of the rows below n that want says true of.
func (p *points) nearest(q *Query, n, k int, want func(uint32) bool) float32 {
	var all []float32
	out := make([]float32, 1)
	for row := range uint32(n) {
		if want(row) {
			p.compare(q, []uint32{row}, out, func(x int8) int32 { return int32(x) })
			all = append(all, out[0])
		}
	}
	slices.Sort(all)
	if len(all) == 0 {
		return inf
	}
	return all[min(k, len(all))-1]
}

// recall searches for k rows near to each of the queries, and returns which part of the true ones is found among those
// that hide does not say true of.
func recall(t *testing.T, g *Graph, p *points, queries [][]int8, k, ef int, hide func(uint32) bool) float64 {
	t.Helper()
	s := NewSearcher()
	found, wanted := 0, 0
	shown := func(row uint32) bool { return hide == nil || !hide(row) }
	for _, v := range queries {
		q := p.query(v)
		hits, visited := g.Search(s, q, ef, ef, hide)
		hits = hits[:min(k, len(hits))]
		last := p.nearest(q, int(g.Len()), k, shown)
		seen := map[uint32]bool{}
		for i, c := range hits {
			out := make([]float32, 1)
			p.Distances(q, []uint32{c.Row}, out, nil)
			if seen[c.Row] || !shown(c.Row) || c.Row >= g.Len() || c.Distance != out[0] || i > 0 && c.Distance < hits[i-1].Distance {
				t.Fatalf("hit %d of %v is wrong", i, hits)
			}
			seen[c.Row] = true
			if c.Distance <= last {
				found++
			}
		}
		if visited < len(hits) {
			t.Fatalf("%d hits, and %d rows were visited", len(hits), visited)
		}
		there := 0
		for row := range g.Len() {
			if shown(row) {
				there++
			}
		}
		wanted += min(there, k)
	}
	return float64(found) / float64(wanted)
}
