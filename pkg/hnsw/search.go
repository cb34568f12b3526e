package hnsw

import (
	"math"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/engram-memory/engram/pkg/vector"
)

var inf = float32(math.Inf(1))

// Searcher is the memory of one search at a time: candidates, visited marks, the distances of a list.
type Searcher struct {
	beam    beam
	visited []uint8 // row i was seen by the search whose number is visited[i]
	number  uint8
	ids     []uint32
	dist    []float32
	scratch []int32
	pool    []Candidate
	left    []Candidate
	chosen  []Candidate
	keys    []uint64
	row     Query // that is inserted, or whose list is pruned
	pick    Query
}

// NewSearcher returns one that can be used with any graph.
func NewSearcher() *Searcher { return &Searcher{} }

// begin makes all rows below n unseen.
func (s *Searcher) begin(n uint32) {
	if len(s.visited) < int(n) {
		// Room for what is linked meanwhile, so that this does not happen with every search of a growing graph.
		s.visited, s.number = make([]uint8, int(n)+int(n)/4+1024), 0
	}
	s.number++
	if s.number == 0 {
		clear(s.visited)
		s.number = 1
	}
}

func (s *Searcher) room(n int) {
	if cap(s.ids) < n {
		s.ids, s.dist, s.scratch = make([]uint32, n), make([]float32, n), make([]int32, n)
	}
}

// Search returns the rows nearest to q that the graph finds with a candidate list of ef, nearest first, at most keep of
// them. The way is found by estimates, the first keep of what was found are put in order by distances. Rows that hide says
// true of, when it is set, are passed through and not returned; where nearly all are, nothing is found. visited is how many
// rows were compared. The result is the searcher's, until its next search.
func (g *Graph) Search(s *Searcher, q *Query, ef, keep int, hide func(row uint32) bool) (found []Candidate, visited int) {
	n := g.len.Load()
	ep, top, ok := g.entry()
	if n == 0 || !ok || ep >= n {
		return nil, 0
	}
	s.room(g.cfg.LinkWords())
	d := s.one(g.rows, q, ep)
	visited = 1
	for level := top; level > 0; level-- {
		var more int
		ep, d, more = g.descend(s, q, ep, d, level, n)
		visited += more
	}
	s.begin(n)
	s.beam.reset(ef)
	s.enter(ep, d, hide)
	visited += g.searchLayer(s, q, 0, n, hide)
	s.collect(keep)
	if g.rows.Sketched() {
		g.refine(s, q)
	}
	return s.pool, visited
}

// collect makes the first candidates of the beam, less the hidden ones, the pool.
func (s *Searcher) collect(n int) {
	s.pool = s.pool[:0]
	for _, e := range s.beam.entries {
		if len(s.pool) == n {
			return
		}
		if e.marked&hidden == 0 {
			s.pool = append(s.pool, Candidate{e.distance, e.marked & rowMask})
		}
	}
}

// refine replaces the estimates of the pool by distances and sorts it by them.
func (g *Graph) refine(s *Searcher, q *Query) {
	s.room(len(s.pool))
	ids := s.ids[:len(s.pool)]
	for i, c := range s.pool {
		ids[i] = c.Row
	}
	dist := s.dist[:len(ids)]
	g.rows.Distances(q, ids, dist, s.scratch)
	for i, d := range dist {
		s.pool[i].Distance = d
	}
	s.SortByDistance(s.pool)
}

// SortByDistance sorts candidates, nearest first, equal ones by row: as whole numbers, which takes a third of the time of a
// function that compares them.
func (s *Searcher) SortByDistance(c []Candidate) {
	if cap(s.keys) < len(c) {
		s.keys = make([]uint64, len(c))
	}
	keys := s.keys[:len(c)]
	for i, x := range c {
		keys[i] = uint64(ordered(x.Distance))<<32 | uint64(x.Row)
	}
	slices.Sort(keys)
	for i, k := range keys {
		c[i] = Candidate{Distance: disordered(uint32(k >> 32)), Row: uint32(k)}
	}
}

// ordered turns a number into a whole one of the same order: a negative one, whose bits grow with its amount, is inverted, and
// the others come behind. There is one zero.
func ordered(x float32) uint32 {
	b := math.Float32bits(x + 0)
	return b ^ (uint32(int32(b)>>31) | 1<<31)
}

// disordered is the inverse of ordered.
func disordered(b uint32) float32 {
	return math.Float32frombits(b ^ (uint32(^int32(b)>>31) | 1<<31))
}

// one returns the estimate of one row.
func (s *Searcher) one(rows Rows, q *Query, row uint32) float32 {
	s.ids = append(s.ids[:0], row)
	rows.Estimates(q, s.ids, s.dist[:1], s.scratch)
	return s.dist[0]
}

// enter makes a row the first candidate.
func (s *Searcher) enter(row uint32, d float32, hide func(uint32) bool) {
	s.visited[row] = s.number
	if hide != nil && hide(row) {
		row |= hidden
	}
	s.beam.insert(d, row)
}

// descend walks to the nearest row of a layer, always to the best neighbour, from a row at distance d.
func (g *Graph) descend(s *Searcher, q *Query, row uint32, d float32, level int, n uint32) (uint32, float32, int) {
	visited := 0
	for {
		ids := appendList(s.ids[:0], g.list(row, level), n)
		if len(ids) == 0 {
			return row, d, visited
		}
		dist := s.dist[:len(ids)]
		g.rows.Estimates(q, ids, dist, s.scratch)
		visited += len(ids)
		best := row
		for i, x := range dist {
			if x < d {
				best, d = ids[i], x
			}
		}
		if best == row {
			return row, d, visited
		}
		row = best
	}
}

// together is how many rows are compared at once at least: the lists of so many candidates are followed. Comparing few at a
// time would leave the memory idle, and following many candidates before anything is known of the first looks at rows that
// are of no use.
const together = 32

// manyVisits times ef, and a sixteenth of the graph, is how many rows a search compares before it gives up, when most of
// those that it meets are hidden.
const manyVisits = 64

// searchLayer runs the beam until it has nothing to expand.
func (g *Graph) searchLayer(s *Searcher, q *Query, level int, n uint32, hide func(uint32) bool) (visited int) {
	s.room(together + g.cfg.LinkWords())
	for {
		ids, more := s.ids[:0], true
		for len(ids) < together {
			var row uint32
			if row, more = s.beam.pop(); !more {
				break
			}
			ids = s.unseen(ids, g.list(row, level), n)
		}
		if len(ids) == 0 {
			return visited
		}
		dist := s.dist[:len(ids)]
		g.rows.Estimates(q, ids, dist, s.scratch)
		if visited += len(ids); hide != nil && visited > s.beam.ef*manyVisits+int(n)/16 {
			s.beam.reset(s.beam.ef)
			return visited
		}
		bound := s.beam.bound()
		for i, d := range dist {
			if d >= bound {
				continue
			}
			id := ids[i]
			if hide != nil && hide(id) {
				id |= hidden
			}
			if s.beam.insert(d, id) < s.beam.next+together {
				// Its list may be one of the next, and is on its way to the cache while other rows are dealt with.
				vector.Prefetch(unsafe.Pointer(unsafe.SliceData(g.list(ids[i], level))))
			}
			bound = s.beam.bound()
		}
	}
}

// unseen appends the rows of a list that have no mark yet, and marks them. Every second one has, at random, so there is no
// branch on it.
func (s *Searcher) unseen(ids, list []uint32, rows uint32) []uint32 {
	count := min(int(atomic.LoadUint32(&list[0])), len(list)-1)
	marks, number, n := s.visited[:rows], s.number, len(ids)
	ids = ids[:n+count]
	for i := range list[1 : 1+count] {
		id := atomic.LoadUint32(&list[1+i])
		if int(id) >= len(marks) {
			continue // it is being linked
		}
		ids[n] = id
		if marks[id] != number {
			n++
		}
		marks[id] = number
	}
	return ids[:n]
}

// appendList appends the row numbers of a list that are below n.
func appendList(ids []uint32, list []uint32, n uint32) []uint32 {
	count := min(int(atomic.LoadUint32(&list[0])), len(list)-1)
	for i := 1; i <= count; i++ {
		if id := atomic.LoadUint32(&list[i]); id < n {
			ids = append(ids, id)
		}
	}
	return ids
}
