package vecstore

import (
	"cmp"
	"slices"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

// warm makes the codes of a space's tail be there: after an open, and after the space had to give them up, they are made
// again from the row log.
func (s *Shard) warm(sp *space) error {
	if sp.gen.Load().tail.loaded.Load() {
		return nil
	}
	sp.applying.Lock()
	defer sp.applying.Unlock()
	g := sp.gen.Load()
	if g.tail.loaded.Load() {
		return nil
	}
	if err := s.fill(sp, g, g.linked(), g.high.Load()); err != nil {
		g.tail.evict()
		return err
	}
	g.tail.loaded.Store(true)
	return nil
}

// fill makes the codes of rows of the tail; applying is held.
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
		if !c.sp.linking.TryLock() {
			continue // its tail is needed
		}
		if !c.sp.applying.TryLock() {
			c.sp.linking.Unlock()
			continue
		}
		if g := c.sp.gen.Load(); g.engine.Load() == nil {
			g.tail.evict()
			total -= c.bytes
		}
		c.sp.applying.Unlock()
		c.sp.linking.Unlock()
	}
}
