package vecstore

import (
	"fmt"

	"github.com/engram-memory/engram/pkg/vecstore/columns"
	"github.com/engram-memory/engram/pkg/vecstore/manifest"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

// replayer gives the entries of a row log to a shard that is being opened. Everything that it makes holds from the first
// moment of the clock on.
type replayer struct {
	s   *Shard
	out *Recovery
	// columns tells that the columns that are there can be used, trusted that they need not be verified.
	columns, trusted bool
	// givenUp are the rows that the manifest says were given up, with whether the row log has a record of it.
	givenUp map[manifest.Row]bool
}

const firstMoment = 1

// restart begins anew.
func (r *replayer) restart() {
	s := r.s
	for _, sp := range s.spaces {
		if x, ok := sp.graph(); ok {
			_ = x.close() // nothing was written to it
		}
	}
	clear(s.spaces)
	clear(s.byNumber)
	clear(s.dropped)
	s.garbage.reset()
	s.next = 1
	for row := range r.givenUp {
		r.givenUp[row] = false
	}
	*r.out = Recovery{}
	// What cannot be trusted was not closed cleanly either.
	r.columns, r.trusted = false, false
}

func (r *replayer) entry(e *rows.Entry, body func() (rows.Record, error)) error {
	s := r.s
	switch e.Kind {
	case rows.KindCheckpoint:
		return nil
	case rows.KindDefine:
		return r.define(e, body)
	}
	if e.Space == 0 || e.Space >= s.next {
		return fmt.Errorf("%w: a record of space %d, which was not defined before it", ErrCorrupt, e.Space)
	}
	sp, ok := s.byNumber[e.Space]
	if !ok {
		if e.Kind == rows.KindObserve {
			s.garbage.add(e.Ref)
		}
		return nil // of a space that was dropped since
	}
	switch e.Kind {
	case rows.KindObserve:
		if e.Encoding != sp.codec.encoding() || int(e.Size) != e.Encoding.Size(sp.codec.dim) {
			return fmt.Errorf("%w: a vector of %d bytes in a space of dimension %d", ErrCorrupt, e.Size, sp.codec.dim)
		}
		r.observe(sp, e)
	case rows.KindForget:
		sp.forget(e.Key, e.Sequence, firstMoment)
	case rows.KindDrop:
		r.end(sp)
		s.uninstall(sp)
	default:
		return fmt.Errorf("%w: a record of unknown kind %d", ErrCorrupt, e.Kind)
	}
	return nil
}

func (r *replayer) define(e *rows.Entry, body func() (rows.Record, error)) error {
	s := r.s
	rec, err := body()
	if err != nil {
		return err
	}
	d, err := parseDefinition(rec.Body)
	if err != nil {
		return err
	}
	if e.Space < s.next {
		return fmt.Errorf("%w: space %d is defined twice", ErrCorrupt, e.Space)
	}
	if err := d.usable(); err != nil {
		return fmt.Errorf("%w: %w", ErrVersion, err) // of a later version, since the record is as it was written
	}
	sp := newSpace(d, e.Space, s.codecOf(&d))
	sp.clock.Store(firstMoment)
	sp.inOrder = true
	if old, ok := s.spaces[d.Name]; ok {
		r.end(old)
	}
	for _, h := range s.manifest.Horizons {
		if h.Space == sp.number {
			sp.horizon.Store(h.Sequence)
		}
	}
	s.install(sp)
	if r.columns {
		return r.adopt(sp)
	}
	return nil
}

// end lets go of the columns of a space that has ended.
func (r *replayer) end(sp *space) {
	if x, ok := sp.graph(); ok {
		_ = x.close() // it was only read, and is removed as a stray
		sp.gen.Load().engine.Store(nil)
	}
}

// adopt gives a space the graph that its columns have.
func (r *replayer) adopt(sp *space) error {
	file, damaged, err := r.s.openColumns(sp, r.trusted)
	if err != nil {
		return err
	}
	if damaged != nil {
		r.out.Damaged = append(r.out.Damaged, fmt.Errorf("graph of space %q: %w", sp.def.Name, damaged))
		return r.s.setAsideColumns(sp)
	}
	if file == nil && r.s.named(sp) {
		r.out.Repaired = append(r.out.Repaired, fmt.Errorf("graph of space %q: %w", sp.def.Name, columns.ErrNotSealed))
	}
	if file != nil {
		g := sp.gen.Load()
		g.engine.Store(&engine{newGraph(g, file, r.s.opt.Graph)})
	}
	return nil
}

// observe numbers a row as it was numbered before. Where there are columns, the first rows are those that stand there, by
// their sequences: what a compaction has reclaimed is in the log perhaps, but not there.
func (r *replayer) observe(sp *space, e *rows.Entry) {
	g := sp.gen.Load()
	_, givenUp := r.givenUp[manifest.Row{Space: sp.number, Sequence: e.Sequence}]
	if givenUp {
		r.givenUp[manifest.Row{Space: sp.number, Sequence: e.Sequence}] = true
	}
	if x, ok := sp.graph(); ok {
		b := x.file.Chunks()
		for n := g.numbered.Load(); n < x.linked(); n = g.numbered.Load() {
			sequence := *b.Sequence(n)
			if sequence == e.Sequence {
				break
			}
			if sequence > e.Sequence {
				r.s.garbage.add(e.Ref) // reclaimed
				sp.seen.Store(e.Sequence)
				return
			}
			r.lost(sp, sequence)
		}
	}
	row := uint32(sp.numberRow(e.Sequence, e.Expires, e.Ref) - g.base)
	g.tail.loaded.Store(false)
	if givenUp || row < g.linked() && sp.gaveUp(row) {
		g.meta.at(row).born.Store(void)
		g.settle()
		return
	}
	_ = sp.apply(e.Key, row, nil, firstMoment) // nothing is made of the vector while the tail is not loaded
}

// lost numbers a row that the columns have and the row log does not any more: nobody can see it, but the graph needs it.
func (r *replayer) lost(sp *space, sequence uint64) {
	ordinal := sp.numberRow(sequence, 0, 0)
	g := sp.gen.Load()
	row := uint32(ordinal - g.base)
	g.meta.at(row).born.Store(firstMoment)
	sp.hide(g, row, sequence, firstMoment)
	g.settle()
}

// finish brings what is in the row log and what is in the columns together.
func (r *replayer) finish() error {
	for _, sp := range r.s.byNumber {
		g := sp.gen.Load()
		if x, ok := sp.graph(); ok {
			b := x.file.Chunks()
			for n := g.numbered.Load(); n < x.linked(); n++ {
				r.lost(sp, *b.Sequence(n))
			}
			r.out.Columns++
		} else if sp.def.Engine != EngineExact && g.settled.Load() >= r.s.opt.GraphRows {
			r.out.Rebuilt++
		}
		g.tail.loaded.Store(g.linked() == g.high.Load())
		sp.backlog.Store(g.waiting())
		sp.inOrder = false
	}
	return nil
}
