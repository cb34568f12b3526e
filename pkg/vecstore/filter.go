package vecstore

import (
	"slices"
	"sync"
)

// filterCache remembers which rows filters match, for the filters of a space that were used last. What a row holds never
// changes, so a row is asked about once.
type filterCache struct {
	mu   sync.Mutex
	last []*filterMemo // the one used last comes last
}

// maxFilters is how many filters of a space are remembered: each costs a bit a row.
const maxFilters = 8

// filterMemo is what is known about one filter in one generation.
type filterMemo struct {
	key string
	gen *generation

	mu      sync.Mutex
	matches bitmap
	count   int
	done    uint32 // rows below it have been asked about
}

func (c *filterCache) memo(key string, g *generation) *filterMemo {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.last, func(m *filterMemo) bool { return m.key == key && m.gen == g })
	var m *filterMemo
	if i >= 0 {
		m = c.last[i]
		c.last = slices.Delete(c.last, i, i+1)
	} else {
		m = &filterMemo{key: key, gen: g}
		if len(c.last) == maxFilters {
			c.last = slices.Delete(c.last, 0, 1)
		}
	}
	c.last = append(c.last, m)
	return m
}

// matches returns which of the rows below high a filter matches, and how many there are. Rows that were never asked about
// are read from the row log, the first time all of them.
func (s *Shard) matches(sp *space, g *generation, f *Filter, high uint32) (marks, int, error) {
	m := sp.filters.memo(f.Key, g)
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.done < high {
		born := g.meta.at(m.done).born.Load()
		if born == 0 {
			break // on its way; those behind it are asked about now and once more
		}
		if err := s.ask(sp, m, f, m.done); err != nil {
			return marks{}, 0, err
		}
		m.done++
	}
	for row := m.done; row < high; row++ {
		if born := g.meta.at(row).born.Load(); born != 0 && born != void && !m.matches.load().has(row) {
			if err := s.ask(sp, m, f, row); err != nil {
				return marks{}, 0, err
			}
		}
	}
	return m.matches.load(), m.count, nil
}

func (s *Shard) ask(sp *space, m *filterMemo, f *Filter, n uint32) error {
	meta := m.gen.meta.at(n)
	if meta.born.Load() == void || meta.ref.Load() == 0 || m.matches.load().has(n) {
		return nil
	}
	row, err := s.load(sp, m.gen, n)
	if err != nil {
		return err
	}
	if f.Match(&row) {
		m.matches.set(n)
		m.count++
	}
	return nil
}

// clear forgets everything, and with it the generations that it was known of.
func (c *filterCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = nil
}
