package vecstore

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
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

	// asking holds a token while one search asks about rows. The others that need the same wait for what it finds out, as long
	// as they are waited for themselves; when it ends early, the next one goes on from there.
	asking  chan struct{}
	matches bitmap
	count   atomic.Int64
	done    atomic.Uint32 // rows below it have been asked about
}

// memo returns what is known about a filter in a generation of a space. That of one that has been replaced meanwhile is not kept.
func (s *space) memo(key string, g *generation) *filterMemo {
	c := &s.filters
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.gen.Load() != g {
		return newFilterMemo(key, g)
	}
	i := slices.IndexFunc(c.last, func(m *filterMemo) bool { return m.key == key && m.gen == g })
	var m *filterMemo
	if i >= 0 {
		m = c.last[i]
		c.last = slices.Delete(c.last, i, i+1)
	} else {
		m = newFilterMemo(key, g)
		if len(c.last) == maxFilters {
			c.last = slices.Delete(c.last, 0, 1)
		}
	}
	c.last = append(c.last, m)
	return m
}

func newFilterMemo(key string, g *generation) *filterMemo {
	return &filterMemo{key: key, gen: g, asking: make(chan struct{}, 1)}
}

// matches returns which of the rows below high a filter matches, and how many there are. Rows that were never asked about
// are read from the row log, the first time all of them, until ctx ends.
func (s *Shard) matches(ctx context.Context, sp *space, g *generation, f *Filter, high uint32) (marks, int, error) {
	m := sp.memo(f.Key, g)
	if m.done.Load() < high {
		select {
		case m.asking <- struct{}{}:
		case <-ctx.Done():
			return marks{}, 0, ctx.Err()
		}
		defer func() { <-m.asking }()
		if err := s.ask(ctx, sp, m, f, high); err != nil {
			return marks{}, 0, err
		}
	}
	return m.matches.load(), int(m.count.Load()), nil
}

// ask asks a filter about the rows below high; the token is held.
func (s *Shard) ask(ctx context.Context, sp *space, m *filterMemo, f *Filter, high uint32) (err error) {
	var buf []byte
	row := m.done.Load()
	for ; row < high && m.gen.meta.at(row).born.Load() != 0; row++ {
		if buf, err = s.askRow(ctx, sp, m, f, row, buf); err != nil {
			return err
		}
		m.done.Store(row + 1)
	}
	// Where one is on its way, those behind it are asked about now and once more.
	for ; row < high; row++ {
		if m.gen.meta.at(row).born.Load() == 0 {
			continue
		}
		if buf, err = s.askRow(ctx, sp, m, f, row, buf); err != nil {
			return err
		}
	}
	return nil
}

// askRow asks about one row, and reads it into buf, which it may replace.
func (s *Shard) askRow(ctx context.Context, sp *space, m *filterMemo, f *Filter, n uint32, buf []byte) ([]byte, error) {
	meta := m.gen.meta.at(n)
	if meta.born.Load() == void || meta.ref.Load() == 0 || m.matches.load().has(n) {
		return buf, nil
	}
	if err := ctx.Err(); err != nil {
		return buf, err
	}
	rec, buf, err := s.read(m.gen, n, buf)
	if err != nil {
		return buf, err
	}
	row, err := sp.row(&rec, false, false)
	if err != nil {
		return buf, err
	}
	matches, err := f.Match(&row)
	if err != nil {
		return buf, err
	}
	if matches {
		m.matches.set(n)
		m.count.Add(1)
	}
	return buf, nil
}

// clear forgets everything, and with it the generations that it was known of.
func (c *filterCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = nil
}
