package vecstore

import (
	"sync"
	"sync/atomic"

	"github.com/engram-memory/engram/pkg/vecstore/columns"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

// space is one life of a name. What it holds is in its current generation.
//
// Its writers are the appender, which numbers rows (Appender.Flush), who applies (Shard.Apply, one at a time), the linker,
// and who replaces the generation. Readers take no lock: they load the generation once and a moment of the clock, and see
// of the rows what was so at that moment.
type space struct {
	def    Definition
	number uint32
	codec  *codec
	gen    atomic.Pointer[generation]
	gone   atomic.Bool // dropped: no search finds it, rows still on their way are let go
	// clock counts the batches that were applied. A row begins and ceases to hold at a moment of it.
	clock atomic.Uint64
	// horizon is the lowest sequence as of which the space can be read.
	horizon     atomic.Uint64
	used        atomic.Int64 // when it was last searched, Unix time in nanoseconds: cold ones give up their codes
	filters     filterCache
	generations atomic.Uint32 // of its column files
	restUntil   atomic.Int64  // when maintenance may compact it again, Unix time in nanoseconds
	seen        atomic.Uint64 // the highest sequence of a row that was numbered, also one that was reclaimed

	// numbering is held while rows are numbered, applying while they are applied, warming while the codes of a tail that is
	// not loaded are made, linking while rows are linked, each of them by one at a time. They are taken in the order linking,
	// warming, applying, numbering; who replaces the generation holds all but warming.
	numbering sync.Mutex
	applying  sync.Mutex
	warming   sync.Mutex
	linking   sync.Mutex
	// backlog is how many rows waited for the graph when fewest did, where more do than TailRows: after an open. Who applies
	// does not let them become many more.
	backlog atomic.Uint32

	// Of who applies. past has what happened to ids lately, where events on their way may have come before that.
	past       map[rows.Key]*history
	newestPast uint64
	pruneAbove int
	inOrder    bool // nothing is on its way: the log is being replayed
	// changes, while a compaction copies the space, is what it has to copy once more.
	changes *changes
}

func newSpace(def Definition, number uint32, codec *codec) *space {
	s := &space{def: def, number: number, codec: codec, past: map[rows.Key]*history{}}
	g := newGeneration(s, 0)
	g.tail.loaded.Store(true)
	s.gen.Store(g)
	return s
}

// numberRow gives the next row to an observation that the row log holds, and returns its ordinal.
func (s *space) numberRow(sequence uint64, expires int64, at rows.Ref) uint64 {
	s.numbering.Lock()
	defer s.numbering.Unlock()
	g := s.gen.Load()
	row := g.numbered.Load()
	g.meta.grow(row)
	m := g.meta.at(row)
	m.sequence, m.expires = sequence, expires
	m.ref.Store(uint64(at))
	g.numbered.Store(row + 1)
	s.seen.Store(sequence)
	return g.base + uint64(row)
}

// apply makes one observation hold at a moment, unless that was done before. What a higher sequence has replaced or
// forgotten already holds for reads of the past alone.
func (s *space) apply(key rows.Key, row uint32, stored []byte, moment uint64) error {
	g := s.gen.Load()
	m := g.meta.at(row)
	if m.born.Load() != 0 {
		return nil
	}
	g.tail.reach(g.high.Load(), row)
	if err := g.tail.put(row, s.codec, stored); err != nil {
		m.born.Store(void)
		g.settle()
		return err
	}
	if m.expires != 0 {
		g.suspects.set(row)
		g.expiring.Add(1)
	}
	m.born.Store(moment)        // before its id leads to it
	latest, there := g.ids[key] // only who applies writes the map, so it may read it without the lock
	h := s.past[key]
	death := h.after(g, m.sequence)
	if there && g.meta.at(latest).sequence > m.sequence && (death == 0 || g.meta.at(latest).sequence < death) {
		death = g.meta.at(latest).sequence
	}
	s.shorten(g, h, m.sequence)
	switch {
	case death != 0:
		s.hide(g, row, death, moment)
		s.remember(key, death).add(row)
	case there:
		s.hide(g, latest, m.sequence, moment)
		s.remember(key, m.sequence).add(latest)
		s.setID(g, key, row)
	default:
		s.setID(g, key, row)
	}
	g.settle()
	if g.high.Load() <= row {
		g.high.Store(row + 1)
	}
	return nil
}

// gaveUp tells whether the columns have a row as one that was given up.
func (s *space) gaveUp(row uint32) bool {
	x, ok := s.graph()
	return ok && x.file.Chunks().Info(row).Missed == columns.NoBound
}

// giveUp makes a row that cannot be applied one that never was.
func (s *space) giveUp(e *Event) {
	g := s.gen.Load()
	row, there := s.rowOf(e)
	if !there {
		return
	}
	if m := g.meta.at(row); m.born.Load() == 0 {
		m.born.Store(void)
		g.settle()
	}
}

// rowOf returns the row of an observation; there is none when a compaction has reclaimed it. The ordinal says which it is for one that
// is not settled. Of who applies.
func (s *space) rowOf(e *Event) (row uint32, there bool) {
	g := s.gen.Load()
	n := g.numbered.Load()
	if at := e.ordinal - g.base; e.ordinal >= g.base && at < uint64(n) && g.meta.at(uint32(at)).sequence == e.Sequence {
		return uint32(at), true
	}
	row = g.below(e.Sequence)
	return row, row < n && g.meta.at(row).sequence == e.Sequence
}

// hide lets a row cease to hold: for reads of the past at a sequence, for others at a moment.
func (s *space) hide(g *generation, row uint32, sequence, moment uint64) {
	m := g.meta.at(row)
	m.died.Store(sequence)
	m.dead.Store(moment)
	g.suspects.set(row)
	g.dead.Add(1)
	if s.changes != nil {
		s.changes.rows = append(s.changes.rows, row)
	}
}

// forget hides an observation of a sequence below that of the forget, and any such that is still on its way.
func (s *space) forget(key rows.Key, sequence, moment uint64) {
	g := s.gen.Load()
	s.shorten(g, s.past[key], sequence)
	h := s.remember(key, sequence)
	if h != nil {
		h.forgets = append(h.forgets, sequence)
	}
	row, ok := g.ids[key]
	if !ok || g.meta.at(row).sequence > sequence {
		return
	}
	s.hide(g, row, sequence, moment)
	h.add(row)
	s.dropID(g, key)
}

func (s *space) setID(g *generation, key rows.Key, row uint32) {
	g.idsMu.Lock()
	g.ids[key] = row
	g.idsMu.Unlock()
	s.noteID(key)
}

func (s *space) dropID(g *generation, key rows.Key) {
	g.idsMu.Lock()
	delete(g.ids, key)
	g.idsMu.Unlock()
	s.noteID(key)
}

func (s *space) noteID(key rows.Key) {
	if s.changes != nil && s.changes.ids {
		s.changes.keys = append(s.changes.keys, key)
	}
}
