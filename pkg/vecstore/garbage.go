package vecstore

import (
	"context"
	"fmt"
	"sync"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

// garbage counts the bytes of records in each segment that no row has any more.
type garbage struct {
	mu    sync.Mutex
	bytes map[uint32]int64
	// compressed are segments that were compressed; of who compacts. After an open none is known to be.
	compressed map[uint32]bool
}

func (g *garbage) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.bytes)
}

func (g *garbage) add(ref rows.Ref) {
	if ref == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bytes == nil {
		g.bytes = map[uint32]int64{}
	}
	g.bytes[ref.File()] += int64(ref.Length())
}

// count adds the records of those rows of a generation that lost says true of.
func (g *garbage) count(gen *generation, lost func(row uint32) bool) {
	for row := range gen.numbered.Load() {
		if lost(row) {
			g.add(rows.Ref(gen.meta.at(row).ref.Load()))
		}
	}
}

// take returns what was counted in segments, and forgets it.
func (g *garbage) take(ids []uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		delete(g.bytes, id)
	}
}

// of returns the bytes in one segment, and total those in all.
func (g *garbage) of(id uint32) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bytes[id]
}

func (g *garbage) total() (sum int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.bytes {
		sum += n
	}
	return sum
}

// rewriteLog writes the closed segments anew that have records which no row has any more, and with all those that are not
// compressed where they are to be. compacting is held.
//
// An old version of an observation must not come back by a replay because the record that replaced it is gone. What
// replaces or forgets always comes later in the log, and all closed segments with such records are replaced at once: so
// when a record goes, everything before it that it had replaced is gone, too.
func (s *Shard) rewriteLog(ctx context.Context, all bool) error {
	// Every record of a segment that is closed by now has its row.
	s.flushing.Lock()
	halfway, segments := s.appender.halfway, s.log.Segments()
	var err error
	if n := len(segments); all && !halfway && n > 0 && s.garbage.of(segments[n-1].ID) > 0 {
		err = s.log.Roll()
		segments = s.log.Segments()
	}
	s.flushing.Unlock()
	if halfway || err != nil {
		return err
	}
	keep := s.keeper()
	var runs [][]uint32
	var size int64
	adjacent := false
	for i, seg := range segments {
		lost := s.garbage.of(seg.ID)
		if i == len(segments)-1 || lost == 0 && !(all && s.opt.Compress && !s.garbage.compressed[seg.ID]) {
			adjacent = false
			continue
		}
		left := max(seg.Length-lost, 0)
		if !adjacent || size+left > s.opt.SegmentSize {
			runs, size = append(runs, nil), 0
		}
		runs[len(runs)-1] = append(runs[len(runs)-1], seg.ID)
		size += left
		adjacent = true
	}
	if len(runs) == 0 {
		return nil
	}
	var done []*rows.Rewritten
	for _, ids := range runs {
		w, err := s.log.Rewrite(ids, rows.RewriteOptions{Keep: keep, Compress: s.opt.Compress, Pace: func(int) error {
			if s.closed.Load() {
				return ErrClosed
			}
			return ctx.Err()
		}})
		if err != nil {
			return s.discard(done, err)
		}
		done = append(done, w)
	}
	if err := s.log.Replace(done...); err != nil {
		return s.discard(done, err)
	}
	var old []uint32
	for i, ids := range runs {
		s.repoint(done[i], ids)
		old = append(old, ids...)
		if s.opt.Compress {
			s.garbage.compressed[done[i].Segment().ID] = true
		}
	}
	s.garbage.take(old)
	for _, id := range old {
		delete(s.garbage.compressed, id)
	}
	return s.log.Retire(old...)
}

func (s *Shard) discard(done []*rows.Rewritten, err error) error {
	for _, w := range done {
		if derr := s.log.Discard(w); derr != nil {
			err = fmt.Errorf("%w; and removing what was rewritten: %w", err, derr)
		}
	}
	return err
}

// keeper tells which records stay: definitions and drops, observations that have a row or may get one, and forgets of what
// can still be there.
func (s *Shard) keeper() func(e *rows.Entry) bool {
	type bounds struct {
		g             *generation
		settled       uint64 // rows of lower sequences have been looked at
		floor         uint64
		rows, nearest uint32
	}
	known := map[uint32]*bounds{}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for number, sp := range s.byNumber {
		g := sp.gen.Load()
		sp.numbering.Lock()
		b := &bounds{g: g, rows: g.numbered.Load(), floor: g.unreclaimed(sp.horizon.Load()), settled: sp.seen.Load()}
		sp.numbering.Unlock()
		known[number] = b
	}
	next := s.next
	return func(e *rows.Entry) bool {
		if e.Kind == rows.KindDefine || e.Kind == rows.KindDrop {
			return true
		}
		b, ok := known[e.Space]
		if !ok {
			return e.Space >= next // of a space that was dropped, unless it has just been defined
		}
		if e.Kind == rows.KindForget {
			return e.Sequence > b.floor
		}
		if e.Sequence > b.settled {
			return true
		}
		// The entries come in the order of the rows.
		for b.nearest < b.rows && b.g.meta.at(b.nearest).sequence < e.Sequence {
			b.nearest++
		}
		if b.nearest > 0 && b.g.meta.at(b.nearest-1).sequence >= e.Sequence {
			b.nearest = b.g.below(e.Sequence)
		}
		return b.nearest < b.rows && b.g.meta.at(b.nearest).sequence == e.Sequence
	}
}

// unreclaimed returns a horizon, or what is below the first death of the rows that are there, if that is lower. Rows that
// were reclaimed are there again where the shard was opened before the row log was written anew: they still need the
// forgets that ended them.
func (g *generation) unreclaimed(horizon uint64) uint64 {
	if g.dead.Load() == 0 {
		return horizon
	}
	for row := range g.numbered.Load() {
		m := g.meta.at(row)
		if died := m.died.Load(); died != 0 && died <= horizon && m.ref.Load() != 0 {
			horizon = died - 1
		}
	}
	return horizon
}

// repoint gives the rows of all spaces the places that their records have now.
func (s *Shard) repoint(w *rows.Rewritten, ids []uint32) {
	moved := map[uint32]bool{}
	for _, id := range ids {
		moved[id] = true
	}
	for _, sp := range s.living() {
		g := sp.gen.Load()
		for row := range g.numbered.Load() {
			ref := &g.meta.at(row).ref
			if old := rows.Ref(ref.Load()); moved[old.File()] {
				if now, ok := w.Moved(old); ok {
					ref.Store(uint64(now))
				}
			}
		}
	}
}
