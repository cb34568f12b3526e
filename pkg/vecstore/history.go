package vecstore

import "github.com/engram-memory/engram/pkg/vecstore/rows"

// history is what happened to an id lately. Events of a space are applied nearly in the order of the log, but not quite:
// those of high priority overtake others. One that comes late must find out which event it had been ended by, and which
// version it ends itself.
type history struct {
	forgets []uint64 // their sequences
	rows    []uint32 // versions that do not hold any more
	newest  uint64   // sequence of the newest event that ended something
}

// remember returns the history of an id, in which an event of a sequence ends something; nil where nothing can come late.
func (s *space) remember(key rows.Key, sequence uint64) *history {
	if s.inOrder {
		return nil
	}
	h := s.past[key]
	if h == nil {
		h = new(history)
		s.past[key] = h
	}
	h.newest = max(h.newest, sequence)
	s.newestPast = max(s.newestPast, sequence)
	return h
}

func (h *history) add(row uint32) {
	if h != nil {
		h.rows = append(h.rows, row)
	}
}

// after returns the lowest sequence in the history that is above one, 0 when there is none.
func (h *history) after(g *generation, sequence uint64) (lowest uint64) {
	if h == nil {
		return 0
	}
	offer := func(at uint64) {
		if at > sequence && (lowest == 0 || at < lowest) {
			lowest = at
		}
	}
	for _, at := range h.forgets {
		offer(at)
	}
	for _, row := range h.rows {
		offer(g.meta.at(row).sequence)
	}
	return lowest
}

// shorten lets versions before an event that came late end with it.
func (s *space) shorten(g *generation, h *history, sequence uint64) {
	if h == nil {
		return
	}
	for _, row := range h.rows {
		if m := g.meta.at(row); m.sequence < sequence && m.died.Load() > sequence {
			m.died.Store(sequence)
			if s.changes != nil {
				s.changes.rows = append(s.changes.rows, row)
			}
		}
	}
}

// pruneSome lets go of all histories once the newest event of them is applied, and before that only looks at them when
// there are twice as many as the last look left, so that a flood of them is not gone through for each one.
func (s *space) pruneSome(applied uint64) {
	switch {
	case len(s.past) == 0:
	case applied >= s.newestPast:
		clear(s.past)
		s.pruneAbove = 0
	case len(s.past) > max(s.pruneAbove, minPast):
		s.prune(applied)
		s.pruneAbove = 2 * len(s.past)
	}
}

// minPast is how many histories are not worth a look.
const minPast = 256

// prune lets go of the histories that nothing on its way can meet any more.
func (s *space) prune(applied uint64) {
	for key, h := range s.past {
		if h.newest <= applied {
			delete(s.past, key)
		}
	}
}

// renumber gives the rows of all histories the numbers that a compaction gave them.
func (s *space) renumber(number func(row uint32) uint32) {
	for _, h := range s.past {
		kept := h.rows[:0]
		for _, row := range h.rows {
			if to := number(row); to != gone {
				kept = append(kept, to)
			}
		}
		h.rows = kept
	}
}
