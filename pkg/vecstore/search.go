package vecstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore/columns"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
	"github.com/engram-memory/engram/pkg/vfs"
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
	// Effort says how hard to look.
	Effort Effort
	// Ef is the length of the candidate list of a graph search; 0 takes the one of Effort.
	Ef int
	// Now decides what has expired.
	Now time.Time
	// AsOf answers from what held at this sequence of the log, which must have been applied; 0 means now.
	AsOf uint64
	// Filter, if it is set, decides which rows may be hits.
	Filter *Filter
	// OmitVectors leaves Row.Vector out of the hits.
	OmitVectors bool
	// Context ends a search that nobody waits for any more: one that reads many rows then fails with its error. Nil is for
	// one that never ends.
	Context context.Context
}

// Effort says how hard a search looks for the true nearest rows.
type Effort uint8

// The efforts. A space that is small enough to be scanned is always answered exactly.
const (
	// EffortBalanced finds at least 95 of 100 of the ten nearest rows of text embeddings.
	EffortBalanced Effort = 0
	// EffortFast looks at fewer rows.
	EffortFast Effort = 1
	// EffortExact compares the query with every row.
	EffortExact Effort = 2
)

// Filter decides which rows may be hits. What a row holds never changes, so the answers are remembered under the key:
// two filters with the same key must decide alike.
type Filter struct {
	Key string
	// Match is called with a row that has no Score, by several goroutines at once; it must not keep the row or its slices. An
	// error ends the search, and is not remembered.
	Match func(*Row) (bool, error)
}

// At is the moment that a read looks at.
type At struct {
	// Now decides what has expired.
	Now time.Time
	// AsOf is as in Query.
	AsOf uint64
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

// Search returns the nearest rows of a space. It fails with ErrUnknownSpace, ErrDimension, ErrGone, or ErrNotFound when the
// query names an observation that is not there, and with the error of its context.
func (s *Shard) Search(name string, q Query) (Result, error) {
	sp, err := s.readable(name)
	if err != nil {
		return Result{}, err
	}
	if q.Context == nil {
		q.Context = context.Background()
	}
	w := s.searchers.Get().(*searcher)
	defer s.searchers.Put(w)
	for {
		var res Result
		// The columns are mapped: a disk that fails is a fault there, and becomes an error.
		err := vfs.Guard(func() (err error) {
			defer recoverDamage(&err)
			res, err = s.search(sp, &q, w)
			return err
		})
		if !errors.Is(err, errMovedOn) {
			return res, s.inspectGraph(sp, sp.gen.Load(), err)
		}
		if sp, err = s.readable(name); err != nil {
			return Result{}, err
		}
	}
}

// recoverDamage makes an error of an index that is out of range: columns that are used as a killed process left them, without
// checksums, may hold numbers of what is not there. A fault of memory is for vfs.Guard.
func recoverDamage(err *error) {
	v := recover()
	if v == nil {
		return
	}
	damage, ok := v.(runtime.Error)
	if _, fault := v.(interface{ Addr() uintptr }); !ok || fault {
		panic(v)
	}
	*err = fmt.Errorf("%w: a search of them failed: %w", columns.ErrCorrupt, damage)
}

// errMovedOn: what a search was looking at went away under it, and it has to look again.
var errMovedOn = errors.New("rows have moved on")

// readable returns a space.
func (s *Shard) readable(name string) (*space, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	sp, ok := s.space(name)
	if !ok {
		return nil, fmt.Errorf("%w %q", ErrUnknownSpace, name)
	}
	return sp, nil
}

// pursuit is one search of one generation.
type pursuit struct {
	s     *Shard
	sp    *space
	w     *searcher
	q     *Query
	query *query
	view  view
	index index // nil where there is none
	// linked and high bound what is searched: [0, linked) through the index, [linked, high) by scanning.
	linked, high uint32
	match        marks // of the filter, when there is one
	chunks       *[]atomic.Pointer[tailChunk]
	cold         bool // the codes of the tail are in the row log alone
	self         uint32
	failed       error // why a scan could not be ended, when it is not that rows have moved on
}

func (s *Shard) search(sp *space, q *Query, w *searcher) (res Result, err error) {
	p := &pursuit{s: s, sp: sp, w: w, q: q, self: math.MaxUint32}
	sp.used.Store(time.Now().UnixNano())
	warm, err := s.warm(sp)
	if err != nil {
		return res, err
	}
	if p.view, err = sp.view(At{Now: q.Now, AsOf: q.AsOf}); err != nil {
		return res, err
	}
	g := p.view.g
	if e := g.engine.Load(); e != nil {
		if !e.acquire() {
			return res, errMovedOn
		}
		defer e.release()
		p.index, p.linked = e.index, e.linked()
	}
	p.high = g.high.Load()
	// The codes of the rows below high, as they are now: what is loaded anew after an eviction is not looked at half done.
	p.chunks = g.tail.chunks.Load()
	if p.cold = !g.tail.loaded.Load(); p.cold && warm {
		return res, errMovedOn
	}
	w.kept = w.kept[:0]
	raw := q.Vector
	if raw == nil {
		if raw, err = p.observed(); err != nil {
			return res, err
		}
	}
	if len(raw) != sp.codec.dim {
		return res, fmt.Errorf("%w: space %q has dimension %d, the query has %d", ErrDimension, sp.def.Name, sp.codec.dim, len(raw))
	}
	p.query = sp.codec.query(w, raw)
	if p.index != nil {
		p.index.prepare(w, p.query)
	}
	if q.K <= 0 {
		return Result{Exact: true}, nil
	}
	if res, err = p.run(); p.failed != nil {
		err = p.failed
	}
	return res, err
}

// observed returns the vector of the observation that the query names.
func (p *pursuit) observed() ([]float32, error) {
	row, ok, err := p.s.find(p.sp, &p.view, p.q.ID)
	if err == nil && !ok {
		err = fmt.Errorf("%w: %q in space %q", ErrNotFound, p.q.ID, p.sp.def.Name)
	}
	if err != nil {
		return nil, err
	}
	rec, buf, err := p.s.read(p.view.g, row, p.w.read)
	p.w.read = buf
	if err != nil {
		return nil, err
	}
	p.self = row
	return p.sp.codec.load(nil, rec.Encoding, rec.Vector)
}

func (p *pursuit) run() (Result, error) {
	var count int
	if f := p.q.Filter; f != nil {
		var err error
		if p.match, count, err = p.s.matches(p.q.Context, p.sp, p.view.g, f, p.high); err != nil {
			return Result{}, err
		}
	}
	switch {
	case p.index == nil || p.linked == 0 || p.q.Effort == EffortExact:
		return p.exact(p.everything())
	case p.q.Filter != nil && count <= scanMatches(p.high):
		// So few match that comparing all of them costs less than finding some among the others.
		return p.exact(p.matching(count))
	}
	return p.nearest()
}

// scanMatches is how many matching rows of n are compared one by one rather than looked for in the graph.
func scanMatches(n uint32) int { return max(20_000, int(n)/50) }

// visible tells whether a row may be a hit.
func (p *pursuit) visible(row uint32) bool {
	return row != p.self && (p.q.Filter == nil || p.match.has(row)) && p.view.visible(row)
}

// rate returns the score of a row by its vector as it is stored, and keeps its record.
func (p *pursuit) rate(row uint32) (float32, error) {
	k := &p.w.passing
	if len(p.w.kept) < maxKept {
		k = p.w.keep()
	}
	if err := p.q.Context.Err(); err != nil {
		return 0, err
	}
	var err error
	p.w.read, err = p.s.visit(p.view.g, row, p.w.read, func(rec rows.Record) error {
		v, err := p.sp.codec.view(&p.w.vector, rec.Encoding, rec.Vector)
		if err != nil {
			return err
		}
		k.row, k.score = row, p.sp.codec.score(p.query, v)
		if k != &p.w.passing { // which no hit is made of
			k.copy(rec, !p.q.OmitVectors)
		}
		return nil
	})
	return k.score, err
}

// maxKept is how many records a search keeps; those of more candidates are read again when they are hits.
const maxKept = 256

// hits returns the rows that were chosen, best first.
func (p *pursuit) hits(best []scored) ([]Row, error) {
	hits := make([]Row, 0, min(len(best), p.q.K))
	for _, c := range best {
		if len(hits) == p.q.K {
			break
		}
		row, err := p.hit(c.row)
		if err != nil {
			return nil, err
		}
		if p.self != math.MaxUint32 && row.ID == p.q.ID {
			continue // another version of the one that is asked for
		}
		row.Score = c.score
		hits = append(hits, row)
	}
	return hits, nil
}

func (p *pursuit) hit(row uint32) (Row, error) {
	for i := range p.w.kept {
		if k := &p.w.kept[i]; k.row == row {
			return p.sp.row(&k.rec, true, !p.q.OmitVectors)
		}
	}
	rec, _, err := p.s.read(p.view.g, row, nil)
	if err != nil {
		return Row{}, err
	}
	return p.sp.row(&rec, false, !p.q.OmitVectors)
}

func (p *pursuit) scan(from, to uint32, visit func(uint32, []float32, []tailInfo)) bool {
	if p.cold {
		p.failed = p.scanLog(from, to, visit)
		return p.failed == nil
	}
	g := p.view.g
	settled := g.settled.Load()
	applied := func(row uint32) bool {
		if row < settled {
			return true
		}
		born := g.meta.at(row).born.Load()
		return born != 0 && born != void
	}
	return from >= to || g.tail.scan(p.chunks, p.sp.codec, p.query, from, to, applied, visit)
}

// scanLog is scan where the codes are in the row log alone: those of the rows that may be hits are made, a block at a time.
func (p *pursuit) scanLog(from, to uint32, visit func(uint32, []float32, []tailInfo)) error {
	c := p.sp.codec
	t := tail{size: c.codeSize}
	block := &tailChunk{codes: make([]int8, blockRows*t.size), info: make([]tailInfo, blockRows)}
	var seen [blockRows]bool
	for from < to {
		if err := p.q.Context.Err(); err != nil {
			return err
		}
		end := min(to, (from|(blockRows-1))+1)
		for row := from; row < end; row++ {
			i := row % blockRows
			if seen[i] = p.visible(row); !seen[i] {
				continue
			}
			rec, buf, err := p.s.read(p.view.g, row, p.w.read)
			if p.w.read = buf; err == nil {
				err = t.encode(block, int(i), c, rec.Vector)
			}
			if err != nil {
				return err
			}
		}
		t.compare(block, c, p.query, from, end, func(row uint32) bool { return seen[row%blockRows] }, visit)
		from = end
	}
	return nil
}
