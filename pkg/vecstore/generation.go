package vecstore

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

// generation is a numbering of the rows of a space, and everything that is kept by row number. A compaction makes a new
// one; who reads the old one goes on with it.
//
// Rows are numbered in the order of their sequences and applied in any order. From the first on they are
//
//	[0, linked)           in the graph, all of them applied
//	[linked, settled)     in the tail, all of them applied
//	[settled, high)       in the tail, some of them applied
//	[high, numbered)      on their way
type generation struct {
	space *space
	// base + row is the ordinal of a row that is not applied yet: a number that outlives compactions.
	base     uint64
	meta     column[rowMeta]
	numbered atomic.Uint32
	high     atomic.Uint32
	settled  atomic.Uint32
	dead     atomic.Uint32 // rows that were replaced or forgotten
	expiring atomic.Uint32 // rows that have an expiry
	suspects bitmap        // rows that may not hold: without a mark one of the graph holds now
	tail     tail
	engine   atomic.Pointer[engine] // nil while the space is only scanned

	// idsMu guards ids alone, which holds the rows that hold: readers look an id up or count.
	idsMu sync.RWMutex
	ids   map[rows.Key]uint32
}

// rowMeta is what a row has beside its vector.
type rowMeta struct {
	sequence uint64
	expires  int64
	ref      atomic.Uint64 // a rows.Ref; 0 when its record is gone
	// born and dead are the moments of the clock from which on it holds, and does not any more: 0 for not yet.
	born, dead atomic.Uint64
	// died is the sequence that replaced or forgot it, 0 while none has.
	died atomic.Uint64
}

// void is the birth of a row that could not be applied.
const void = math.MaxUint64

func newGeneration(s *space, base uint64) *generation {
	return &generation{
		space: s, base: base, ids: map[rows.Key]uint32{}, tail: tail{size: s.codec.codeSize},
	}
}

// settle moves settled over the rows that are applied. Of who applies.
func (g *generation) settle() {
	n, numbered := g.settled.Load(), g.numbered.Load()
	for n < numbered && g.meta.at(n).born.Load() != 0 {
		n++
	}
	g.settled.Store(n)
	if g.high.Load() < n {
		g.high.Store(n)
	}
}

// linked is how many rows are in the graph.
func (g *generation) linked() uint32 {
	if e := g.engine.Load(); e != nil {
		return e.linked()
	}
	return 0
}

// engine is an index, so that one can be replaced atomically.
type engine struct{ index }

// view is what a read sees of a generation: what held at a moment of the clock, or as of a sequence.
type view struct {
	g     *generation
	clock uint64
	now   int64
	asOf  uint64 // 0 for the moment
}

// view returns the present, or what held as of a sequence. It fails with ErrGone when that is not known any more.
func (s *space) view(at At) (view, error) {
	g := s.gen.Load()
	// It is raised before a generation takes the place of another one, so what is missing from this one is below it.
	if horizon := s.horizon.Load(); at.AsOf != 0 && at.AsOf < horizon {
		return view{}, fmt.Errorf("%w: space %q can be read as of sequence %d and later, not as of %d", ErrGone, s.def.Name, horizon, at.AsOf)
	}
	return view{g: g, clock: s.clock.Load(), now: at.Now.UnixNano(), asOf: at.AsOf}, nil
}

// visible tells whether a row may be returned.
func (v *view) visible(row uint32) bool {
	m := v.g.meta.at(row)
	if born := m.born.Load(); born == 0 || born > v.clock {
		return false
	}
	if v.asOf != 0 {
		if died := m.died.Load(); m.sequence > v.asOf || died != 0 && died <= v.asOf {
			return false
		}
	} else if dead := m.dead.Load(); dead != 0 && dead <= v.clock {
		return false
	}
	return m.expires == 0 || m.expires > v.now
}

// hide returns what a graph search is to pass through: nothing but the rows that are not visible. Most rows are known to
// be from one bit.
func (v *view) hide() func(row uint32) bool {
	if v.asOf != 0 {
		return func(row uint32) bool { return !v.visible(row) }
	}
	marks := v.g.suspects.load()
	return func(row uint32) bool { return marks.has(row) && !v.visible(row) }
}

// lookup returns the row that has an id now, if the view sees it or it came after the view was taken.
func (v *view) lookup(key rows.Key) (row uint32, ok bool) {
	v.g.idsMu.RLock()
	row, ok = v.g.ids[key]
	v.g.idsMu.RUnlock()
	return row, ok && (v.visible(row) || v.asOf == 0 && v.newer(row))
}

func (v *view) newer(row uint32) bool {
	m := v.g.meta.at(row)
	return m.born.Load() > v.clock && (m.expires == 0 || m.expires > v.now)
}
