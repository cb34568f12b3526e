package vecstore

import (
	"sync"
	"sync/atomic"

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

	// numbering is held while rows are numbered, applying while they are applied, linking while they are linked, each
	// of them by one at a time; who replaces the generation holds the three, taken in the order linking, applying, numbering.
	numbering sync.Mutex
	applying  sync.Mutex
	linking   sync.Mutex

	// Of who applies. tombs are forgets that observations on their way may come after.
	tombs      map[rows.Key]uint64
	newestTomb uint64
	pruneAbove int
	appliedTo  uint64 // everything up to here is applied, as far as is known
	// changes, while a compaction copies rows, are the rows that ceased to hold meanwhile.
	changes *[]uint32
}

func newSpace(def Definition, number uint32, codec *codec) *space {
	s := &space{def: def, number: number, codec: codec, tombs: map[rows.Key]uint64{}}
	g := newGeneration(s, 0)
	g.tail.loaded.Store(true)
	s.gen.Store(g)
	return s
}

// number gives the next row to an observation that the row log holds, and returns its ordinal.
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
	return g.base + uint64(row)
}

// apply makes one observation hold at a moment, unless that was done before. What a higher sequence has replaced or
// forgotten already holds for reads of the past alone.
func (s *space) apply(key rows.Key, ordinal uint64, stored []byte, moment uint64) error {
	g := s.gen.Load()
	row := uint32(ordinal - g.base)
	m := g.meta.at(row)
	if born := m.born.Load(); born != 0 && born != void {
		return nil
	}
	if err := g.tail.put(row, s.codec, stored); err != nil {
		m.born.Store(void)
		g.settle()
		return err
	}
	if m.expires != 0 {
		g.suspects.set(row)
	}
	m.born.Store(moment)        // before its id leads to it
	old, replaces := g.ids[key] // only who applies writes the map, so it may read it without the lock
	switch {
	case m.sequence <= s.tombs[key]:
		s.hide(g, row, s.tombs[key], moment)
	case replaces && g.meta.at(old).sequence >= m.sequence:
		s.hide(g, row, g.meta.at(old).sequence, moment)
	default:
		if replaces {
			s.hide(g, old, m.sequence, moment)
		}
		g.setID(key, row)
	}
	g.settle()
	if g.high.Load() <= row {
		g.high.Store(row + 1)
	}
	return nil
}

// giveUp makes a row that cannot be applied one that never was.
func (s *space) giveUp(ordinal uint64) {
	g := s.gen.Load()
	m := g.meta.at(uint32(ordinal - g.base))
	if m.born.Load() == 0 {
		m.born.Store(void)
		g.settle()
	}
}

// hide lets a row cease to hold: for reads of the past at a sequence, for others at a moment.
func (s *space) hide(g *generation, row uint32, sequence, moment uint64) {
	m := g.meta.at(row)
	m.died.Store(sequence)
	m.dead.Store(moment)
	g.suspects.set(row)
	g.dead.Add(1)
	if s.changes != nil {
		*s.changes = append(*s.changes, row)
	}
}

// forget hides an observation of a sequence below that of the forget, and any such that is still on its way.
func (s *space) forget(key rows.Key, sequence, moment uint64) {
	if s.tombs[key] < sequence {
		s.tombs[key] = sequence
	}
	s.newestTomb = max(s.newestTomb, sequence)
	g := s.gen.Load()
	row, ok := g.ids[key]
	if !ok || g.meta.at(row).sequence > sequence {
		return
	}
	s.hide(g, row, sequence, moment)
	g.dropID(key)
}

// pruneSome lets go of all tombstones once the newest one is applied, and before that only looks at them when there are
// twice as many as the last look left, so that a flood of forgets is not gone through for each of them.
func (s *space) pruneSome(applied uint64) {
	switch {
	case len(s.tombs) == 0:
	case applied >= s.newestTomb:
		clear(s.tombs)
		s.pruneAbove = 0
	case len(s.tombs) > max(s.pruneAbove, minTombs):
		s.prune(applied)
		s.pruneAbove = 2 * len(s.tombs)
	}
}

// minTombs is how many tombstones are not worth a look.
const minTombs = 256

// prune lets go of the tombstones that nothing on its way can meet any more.
func (s *space) prune(applied uint64) {
	for key, sequence := range s.tombs {
		if sequence <= applied {
			delete(s.tombs, key)
		}
	}
}
