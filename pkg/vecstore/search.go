package vecstore

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Query is what Search looks for.
type Query struct {
	// Vector is compared with the rows. When it is nil, the vector of the observation ID is, which is left out of the
	// answer.
	Vector []float32
	ID     string
	// K is the largest number of hits.
	K int
	// MinScore is the least score of a hit; -Inf for any.
	MinScore float32
	// Now decides what has expired.
	Now time.Time
}

// Row is one observation of an answer. Its memory is the caller's.
type Row struct {
	ID       string
	Score    float32
	Sequence uint64
	// ExpiresAt is Unix time in nanoseconds, 0 for never.
	ExpiresAt int64
	// Body is what the event carried.
	Body []byte
	// Vector is packed little-endian f32, as it was observed.
	Vector []byte
}

// Result is the answer to a Query.
type Result struct {
	// Rows are the hits, best first.
	Rows []Row
	// Searched is how many rows were compared with the query.
	Searched int
	// Exact tells that no nearer row was overlooked.
	Exact bool
}

// Search returns the nearest rows of a space. It fails with ErrUnknownSpace, ErrDimension, or ErrNotFound when the
// query names an observation that is not there.
func (s *Shard) Search(name string, q Query) (Result, error) {
	if s.closed.Load() {
		return Result{}, ErrClosed
	}
	sp, ok := s.space(name)
	if !ok {
		return Result{}, fmt.Errorf("%w %q", ErrUnknownSpace, name)
	}
	k, self := q.K, uint32(math.MaxUint32)
	query := q.Vector
	view := sp.view(q.Now.UnixNano())
	if query == nil {
		row, ok := sp.lookup(s.hasher.key(q.ID), view)
		if !ok {
			return Result{}, fmt.Errorf("%w: %q in space %q", ErrNotFound, q.ID, name)
		}
		query, self, k = sp.index.Vector(row, nil), row, max(k, k+1) // the larger one: k+1 may overflow
	}
	if len(query) != int(sp.def.Dimension) {
		return Result{}, fmt.Errorf("%w: space %q has dimension %d, the query has %d", ErrDimension, name, sp.def.Dimension, len(query))
	}
	best := NewTopK(k, q.MinScore)
	res := Result{Exact: sp.index.Exact()}
	res.Searched = sp.index.Search(query, view, best)
	for _, c := range best.sorted() {
		if c.row == self || len(res.Rows) == q.K {
			continue
		}
		row, err := s.load(sp, c.row)
		if err != nil {
			return Result{}, err
		}
		if self != math.MaxUint32 && row.ID == q.ID {
			continue // an older version than self, which was added since the view was taken
		}
		row.Score = c.score
		res.Rows = append(res.Rows, row)
	}
	return res, nil
}

// Get returns the observations of these ids that are there.
func (s *Shard) Get(name string, ids []string, now time.Time) ([]Row, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	sp, ok := s.space(name)
	if !ok {
		return nil, fmt.Errorf("%w %q", ErrUnknownSpace, name)
	}
	var rows []Row
	for _, id := range ids {
		n, ok := sp.lookup(s.hasher.key(id), sp.view(now.UnixNano()))
		if !ok {
			continue
		}
		row, err := s.load(sp, n)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// List returns the newest observations of a space whose sequence is below before (0 for any), newest first, and
// whether there are more.
func (s *Shard) List(name string, before uint64, limit int, now time.Time) (rows []Row, more bool, err error) {
	if s.closed.Load() {
		return nil, false, ErrClosed
	}
	sp, ok := s.space(name)
	if !ok {
		return nil, false, fmt.Errorf("%w %q", ErrUnknownSpace, name)
	}
	view := sp.view(now.UnixNano())
	type entry struct {
		sequence uint64
		row      uint32
	}
	// Rows stand nearly in the order of their sequences (priorities have shuffled them by no more than what the queue
	// holds), so from the end on nearly all of them are either the next one of the page or behind it.
	limit = max(limit, 0)
	var newest []entry
	for row := view.Rows(); row > 0; {
		row--
		q := sp.meta.at(row).sequence
		full := len(newest) > limit
		if before != 0 && q >= before || full && q < newest[limit].sequence || !view.Visible(row) {
			continue
		}
		if full {
			newest = newest[:limit]
		}
		at, _ := slices.BinarySearchFunc(newest, q, func(e entry, q uint64) int { return cmp.Compare(q, e.sequence) })
		newest = slices.Insert(newest, at, entry{q, row})
	}
	if more = len(newest) > limit; more {
		newest = newest[:limit]
	}
	for _, e := range newest {
		row, err := s.load(sp, e.row)
		if err != nil {
			return nil, false, err
		}
		rows = append(rows, row)
	}
	return rows, more, nil
}

// load reads what a row has beside its place in the index from the row log, into memory of its own.
func (s *Shard) load(sp *space, n uint32) (Row, error) {
	m := sp.meta.at(n)
	rec, _, err := s.log.read(m.ref, nil)
	if err != nil {
		return Row{}, err
	}
	return Row{
		ID: string(rec.id), Sequence: rec.sequence, ExpiresAt: rec.expires, Body: rec.body, Vector: rec.vector,
	}, nil
}

// SpaceStats is what a shard holds of one space.
type SpaceStats struct {
	Definition Definition
	// Observations can be returned by a recall; expired ones count until they are reclaimed.
	Observations uint64
	// Dead rows were replaced or forgotten and are not reclaimed yet.
	Dead uint64
	// Tail rows are searched by scanning, Graph rows through a graph; both include dead ones.
	Tail, Graph uint64
}

// Stats returns the numbers of one space.
func (s *Shard) Stats(name string) (SpaceStats, bool) {
	sp, ok := s.space(name)
	if !ok {
		return SpaceStats{}, false
	}
	return sp.stats(), true
}

// AllStats returns the numbers of every living space, by name.
func (s *Shard) AllStats() []SpaceStats {
	s.mu.RLock()
	spaces := make([]*space, 0, len(s.spaces))
	for _, sp := range s.spaces {
		spaces = append(spaces, sp)
	}
	s.mu.RUnlock()
	slices.SortFunc(spaces, func(a, b *space) int {
		if a.def.Name < b.def.Name {
			return -1
		}
		return 1
	})
	all := make([]SpaceStats, len(spaces))
	for i, sp := range spaces {
		all[i] = sp.stats()
	}
	return all
}

func (sp *space) stats() SpaceStats {
	tail, graph := sp.index.Tiers()
	sp.idsMu.RLock()
	living := len(sp.ids)
	sp.idsMu.RUnlock()
	return SpaceStats{
		Definition: sp.def, Observations: uint64(living), Dead: uint64(sp.dead.Load()),
		Tail: uint64(tail), Graph: uint64(graph),
	}
}

// LogBytes returns the size of the shard's row log on disk.
func (s *Shard) LogBytes() int64 { return s.log.bytes() }
