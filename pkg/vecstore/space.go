package vecstore

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// space is one generation of a space in memory: which row holds which observation, and the index over the rows.
//
// One goroutine at a time writes (Shard.Apply). Readers take no lock: rows is stored after a row is complete, and a
// row's dead mark carries the row count at which it begins to hold, so that a reader sees an observation exactly once
// while it is being replaced (View.Visible). ids is written before rows, and a reader takes its view before it looks an
// id up, so that the row it finds is never one that its view already hides.
type space struct {
	def    Definition
	number uint32
	index  Index
	meta   column[rowMeta]
	rows   atomic.Uint32 // published rows
	dead   atomic.Uint32 // of those, replaced or forgotten
	gone   atomic.Bool   // dropped: no search finds it, rows still on their way are let go

	// idsMu guards ids alone, which holds what is living: its readers look an id up or count.
	idsMu sync.RWMutex
	ids   map[idKey]uint32

	// Of the writer.
	tombs      map[idKey]uint64
	newestTomb uint64
	pruneAbove int
}

// rowMeta is what a row has beside its vector. dead is 0 for a living row, else the number of published rows from
// which on it is hidden.
type rowMeta struct {
	sequence uint64
	expires  int64
	ref      ref
	dead     atomic.Uint32
}

// idKey stands for an id: 128 bits of two hashes keyed at process start, so that the ids themselves need not be kept in
// memory. Two ids of a space of 2^30 rows share a key with a probability of about 2^-69, and nobody can aim for it
// without the keys.
type idKey [2]uint64

type idHasher [2]maphash.Seed

func newIDHasher() idHasher { return idHasher{maphash.MakeSeed(), maphash.MakeSeed()} }

func (h *idHasher) key(id string) idKey {
	return idKey{maphash.String(h[0], id), maphash.String(h[1], id)}
}

func newSpace(def Definition, number uint32) (*space, error) {
	index, err := newIndex(&def)
	if err != nil {
		return nil, err
	}
	return &space{
		def:    def,
		number: number,
		index:  index,
		meta:   column[rowMeta]{width: 1},
		ids:    map[idKey]uint32{},
		tombs:  map[idKey]uint64{},
	}, nil
}

// insert makes one observation searchable. What a higher sequence has replaced or forgotten already is let go.
func (s *space) insert(key idKey, sequence uint64, expires int64, at ref, vector []byte) error {
	if sequence <= s.tombs[key] {
		return nil
	}
	old, replaces := s.ids[key] // only the writer writes the map, so it may read it without the lock
	if replaces && s.meta.at(old).sequence >= sequence {
		return nil
	}
	row := s.rows.Load()
	if err := s.index.Add(row, vector); err != nil {
		return err
	}
	s.meta.grow(row)
	m := s.meta.at(row)
	m.sequence, m.expires, m.ref = sequence, expires, at
	m.dead.Store(0)
	if replaces {
		s.meta.at(old).dead.Store(row + 1)
		s.dead.Add(1)
	}
	s.idsMu.Lock()
	s.ids[key] = row
	s.idsMu.Unlock()
	s.rows.Store(row + 1)
	return nil
}

// forget hides an observation of a sequence below that of the forget, and any such that is still on its way.
func (s *space) forget(key idKey, sequence uint64) {
	if s.tombs[key] < sequence {
		s.tombs[key] = sequence
	}
	s.newestTomb = max(s.newestTomb, sequence)
	row, ok := s.ids[key]
	if !ok || s.meta.at(row).sequence > sequence {
		return
	}
	s.meta.at(row).dead.Store(1)
	s.dead.Add(1)
	s.idsMu.Lock()
	delete(s.ids, key)
	s.idsMu.Unlock()
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

// lookup returns the row of an id that is visible in view, or one that was added since the view was taken.
func (s *space) lookup(key idKey, view View) (row uint32, ok bool) {
	s.idsMu.RLock()
	row, ok = s.ids[key]
	s.idsMu.RUnlock()
	return row, ok && view.Visible(row)
}

func (s *space) view(now int64) View {
	return View{space: s, rows: s.rows.Load(), now: now}
}
