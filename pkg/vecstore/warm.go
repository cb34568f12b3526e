package vecstore

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

// warm makes the codes of a space's tail be there: after an open, and after the space had to give them up, they are made
// again from the row log. Where too many rows wait for a graph it returns false and leaves them where they are: they are
// linked block by block, and compared as they are read.
func (s *Shard) warm(sp *space) (warm bool, err error) {
	if g := sp.gen.Load(); g.tail.loaded.Load() {
		return true, nil
	} else if s.cold(sp, g) {
		return false, nil
	}
	sp.warming.Lock()
	defer sp.warming.Unlock()
	g := sp.gen.Load()
	if g.tail.loaded.Load() {
		return true, nil
	}
	// What is settled does not change any more, so that nobody has to wait meanwhile.
	from, settled := max(g.linked(), g.tail.staged), g.settled.Load()
	if err := s.fill(sp, g, from, settled); err != nil {
		return false, err
	}
	sp.applying.Lock()
	defer sp.applying.Unlock()
	if sp.gen.Load() != g {
		return true, nil // the caller finds out, and comes again
	}
	if err := s.fill(sp, g, max(from, settled), g.high.Load()); err != nil {
		return false, err
	}
	g.tail.loaded.Store(true)
	return true, nil
}

// cold tells whether so many rows wait for a graph that their codes are not to be in memory all at once.
func (s *Shard) cold(sp *space, g *generation) bool {
	return g.waiting() > s.opt.TailRows && s.linkable(sp, g)
}

// stage makes the codes of the rows up to one be there that are linked next; linking is held.
func (s *Shard) stage(sp *space, g *generation, to uint32) error {
	if warm, err := s.warm(sp); warm || err != nil {
		return err
	}
	sp.warming.Lock()
	defer sp.warming.Unlock()
	if from := max(g.linked(), g.tail.staged); !g.tail.loaded.Load() && from < to {
		if err := s.fill(sp, g, from, to); err != nil {
			return err
		}
		g.tail.staged = to
	}
	return nil
}

// fill makes the codes of rows of a tail that is not loaded; warming is held. Those that are not settled change unless
// applying is held, too.
func (s *Shard) fill(sp *space, g *generation, from, to uint32) error {
	var buf []byte
	for row := from; row < to; row++ {
		m := g.meta.at(row)
		g.tail.room(row)
		if born := m.born.Load(); born == 0 || born == void || m.ref.Load() == 0 {
			continue
		}
		var rec rows.Record
		var err error
		if rec, buf, err = s.read(g, row, buf); err != nil {
			return err
		}
		if err := g.tail.add(row, sp.codec, rec.Vector); err != nil {
			return err
		}
	}
	return nil
}

// coolAfter is for how long a space keeps its codes after a search, whatever memory they need.
const coolAfter = 2 * time.Second

// cool lets the tails of spaces that were not used for longest go when all tails together need more than the budget.
// Tails of spaces with a graph stay: they are short, and about to be linked.
func (s *Shard) cool(now time.Time) {
	type candidate struct {
		sp    *space
		used  int64
		bytes int64
	}
	var all []candidate
	total, recently := int64(0), now.Add(-coolAfter).UnixNano()
	s.mu.RLock()
	for _, sp := range s.spaces {
		g := sp.gen.Load()
		n := g.tail.bytes.Load()
		total += n
		if n > 0 && g.engine.Load() == nil && sp.used.Load() < recently {
			all = append(all, candidate{sp, sp.used.Load(), n})
		}
	}
	s.mu.RUnlock()
	if total <= s.opt.TailBytes {
		return
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(a.used, b.used) })
	for _, c := range all {
		if total <= s.opt.TailBytes*3/4 {
			return
		}
		if c.sp.cool() {
			total -= c.bytes
		}
	}
}

// cool lets the tail of a space without a graph go, unless it is needed just now.
func (sp *space) cool() bool {
	for _, mu := range []*sync.Mutex{&sp.linking, &sp.warming, &sp.applying} {
		if !mu.TryLock() {
			return false
		}
		defer mu.Unlock()
	}
	g := sp.gen.Load()
	if g.engine.Load() != nil {
		return false
	}
	g.tail.evict()
	return true
}
