package hnsw

import (
	"slices"
	"sync/atomic"
)

// block is the memory of one Insert.
type block struct {
	from, to uint32
	levels   []int
	// chosen has the neighbours that row from+i chose in the layer l at chosen[i*stride+l]; nil above the row's level.
	chosen [][]uint32
	store  []uint32
	stride int
}

// Insert links the rows [Len(), to) and returns when all of them can be found. Rows that skip says true of have no
// vector and get no links. The work is spread over threads goroutines; the graph does not depend on their number, but
// does on how the rows are cut into calls. One goroutine inserts at a time.
//
// It may be called again for rows whose links were written in part by a process that died.
func (g *Graph) Insert(to uint32, threads int, skip func(row uint32) bool) {
	from := g.len.Load()
	if to <= from {
		return
	}
	for len(g.inserters) < threads {
		g.inserters = append(g.inserters, NewSearcher())
	}
	b := &g.block
	b.prepare(g, from, to, skip)
	// Each row searches the graph as it is, and writes its own lists; no search finds the row before the next phase.
	ep, top, ok := g.entry()
	Spread(threads, int(to-from), func(thread, i int) {
		if row := from + uint32(i); b.levels[i] >= 0 {
			g.connect(g.inserters[thread], row, ep, top, ok)
		}
	})
	// Then the links back. Lists are dealt out by their row's number: each is changed by one thread, in the order of the
	// rows that link to it.
	parts := 1
	if threads > 1 {
		parts = 8 * threads
	}
	Spread(threads, parts, func(thread, part int) {
		g.linkBack(g.inserters[thread], uint32(part), uint32(parts))
	})
	g.len.Store(to)
	for i, level := range b.levels {
		if level >= 0 && (!ok || level > top) {
			ep, top, ok = from+uint32(i), level, true
			g.setEntry(ep, top)
		}
	}
}

func (b *block) prepare(g *Graph, from, to uint32, skip func(uint32) bool) {
	n := int(to - from)
	b.from, b.to, b.stride = from, to, MaxLevel+1
	b.levels = slices.Grow(b.levels[:0], n)[:n]
	b.chosen = slices.Grow(b.chosen[:0], n*b.stride)[:n*b.stride]
	clear(b.chosen)
	words := 0
	for i := range n {
		row := from + uint32(i)
		b.levels[i] = g.mem.Level(row)
		if skip != nil && skip(row) {
			b.levels[i] = -1
			atomic.StoreUint32(&g.mem.Links(row)[0], 0)
			continue
		}
		words += (b.levels[i] + 1) * g.cfg.M
	}
	b.store = slices.Grow(b.store[:0], words)[:words]
	rest := b.store
	for i, level := range b.levels {
		for l := range level + 1 {
			b.chosen[i*b.stride+l], rest = rest[:0:g.cfg.M], rest[g.cfg.M:]
		}
	}
}

// chooseFrom times M are the candidates, by their estimates, that neighbours are chosen from; hardly one beyond is.
const chooseFrom = 3

// connect finds and writes the neighbours of a row in all its layers.
func (g *Graph) connect(s *Searcher, row, ep uint32, top int, ok bool) {
	b := &g.block
	i := int(row - b.from)
	level := b.levels[i]
	q := &s.row
	g.rows.Load(row, q)
	s.room(max(g.cfg.LinkWords(), int(b.to-b.from)))
	var d float32
	if ok {
		d = s.one(g.rows, q, ep)
		for l := top; l > level; l-- {
			ep, d, _ = g.descend(s, q, ep, d, l, b.from)
		}
	}
	for l := level; l >= 0; l-- {
		s.begin(b.to)
		s.beam.reset(g.cfg.EfConstruction)
		if ok && l <= top {
			s.enter(ep, d, nil)
			g.searchLayer(s, q, l, b.from, nil)
			ep, d = s.beam.entries[0].marked&rowMask, s.beam.entries[0].distance
		}
		g.among(s, q, row, l)
		s.collect(chooseFrom * g.cfg.M)
		if g.rows.Sketched() {
			g.refine(s, q)
		}
		chosen := b.chosen[i*b.stride+l]
		list := g.list(row, l)
		for n, c := range s.choose(g.rows, s.pool, g.cfg.M) {
			chosen = append(chosen, c.Row)
			atomic.StoreUint32(&list[n+1], c.Row)
		}
		atomic.StoreUint32(&list[0], uint32(len(chosen)))
		b.chosen[i*b.stride+l] = chosen
	}
}

// among offers the rows of the block before row, as far as they are in the layer, to the beam.
func (g *Graph) among(s *Searcher, q *Query, row uint32, level int) {
	b := &g.block
	ids := s.ids[:0]
	for r := b.from; r < row; r++ {
		if b.levels[r-b.from] >= level {
			ids = append(ids, r)
		}
	}
	dist := s.dist[:len(ids)]
	g.rows.Estimates(q, ids, dist, s.scratch)
	bound := s.beam.bound()
	for i, d := range dist {
		if d < bound {
			s.beam.insert(d, ids[i])
			bound = s.beam.bound()
		}
	}
}

// linkBack adds the links to the rows of the block to the lists of one part of all rows.
func (g *Graph) linkBack(s *Searcher, part, parts uint32) {
	b := &g.block
	for i := range int(b.to - b.from) {
		row := b.from + uint32(i)
		for l := range b.levels[i] + 1 {
			for _, neighbour := range b.chosen[i*b.stride+l] {
				if neighbour%parts == part {
					g.addLink(s, neighbour, row, l)
				}
			}
		}
	}
}

// addLink adds row to the list of another one, and prunes that when it is full.
func (g *Graph) addLink(s *Searcher, to, row uint32, level int) {
	list := g.list(to, level)
	count := min(int(list[0]), len(list)-1)
	if slices.Contains(list[1:1+count], row) {
		return // written by a process that died before the block was done
	}
	if count < len(list)-1 {
		atomic.StoreUint32(&list[count+1], row)
		atomic.StoreUint32(&list[0], uint32(count+1))
		return
	}
	s.pool = s.pool[:0]
	for _, id := range list[1 : 1+count] {
		if id < g.block.to { // others are of a block that a process died over
			s.pool = append(s.pool, Candidate{Row: id})
		}
	}
	s.pool = append(s.pool, Candidate{Row: row})
	g.rows.Load(to, &s.row)
	g.refine(s, &s.row)
	keep := g.cfg.M
	if level == 0 {
		keep = 2 * g.cfg.M
	}
	chosen := s.choose(g.rows, s.pool, keep)
	// The count goes down first: a search beside this sees no more ids than are there.
	if len(chosen) < count {
		atomic.StoreUint32(&list[0], uint32(len(chosen)))
	}
	for i, c := range chosen {
		atomic.StoreUint32(&list[i+1], c.Row)
	}
	atomic.StoreUint32(&list[0], uint32(len(chosen)))
}
