package vecstore

import (
	"fmt"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

// Appender turns events into records. A shard has one, and one goroutine uses it.
type Appender struct {
	shard *Shard
	added []*Event // behind the last Flush that succeeded, those that have a record
	// halfway tells that the last Flush failed; flushing of the shard guards it.
	halfway bool
}

// Appender returns the shard's appender.
func (s *Shard) Appender() *Appender { return &s.appender }

// Add checks an event against its space and encodes its record. Definitions and drops take effect at once, so that
// the events behind them are checked against them; observations and forgets are to be given to Shard.Apply after the
// Flush. Events come in the order of their sequences; one that the row log has already is ignored, and has no SpaceKey.
//
// A refused event (ErrUnknownSpace, ErrDimension, ErrDefinition, ErrUnsupported, ErrTooLarge) leaves no trace but that its sequence
// counts as passed.
func (a *Appender) Add(e *Event) error {
	e.space = nil
	if e.Sequence <= a.shard.log.Through() {
		return nil
	}
	if e.Kind == KindForget {
		if err := a.forgetMany(e); err != nil {
			return err
		}
	}
	a.shard.log.Skip(e.Sequence)
	switch e.Kind {
	case KindDefine:
		return a.define(e)
	case KindDrop:
		return a.drop(e)
	case KindObserve, KindForget:
	default:
		return fmt.Errorf("%w: kind %d", ErrDefinition, e.Kind)
	}
	sp, ok := a.shard.space(e.Space)
	if !ok {
		return fmt.Errorf("%w %q: the log holds no definition of it before sequence %d", ErrUnknownSpace, e.Space, e.Sequence)
	}
	rec := rows.Record{Kind: rows.Kind(e.Kind), Space: sp.number, Sequence: e.Sequence, Published: e.Published}
	ids := e.rest
	if e.Kind == KindObserve {
		if len(e.Vector) != 4*sp.codec.dim {
			return fmt.Errorf("%w: space %q has dimension %d, the embedding of %q has %d",
				ErrDimension, e.Space, sp.def.Dimension, e.ID, len(e.Vector)/4)
		}
		e.stored = sp.codec.store(e.Vector)
		if err := sp.codec.holds(e.stored); err != nil {
			return fmt.Errorf("%w: the embedding of %q in space %q %w", ErrUnsupported, e.ID, e.Space, err)
		}
		rec.Expires, rec.Encoding, rec.Vector, rec.Body = e.ExpiresAt, sp.codec.encoding(), e.stored, e.Body
		ids = []string{e.ID}
	} else if len(ids) == 0 {
		return nil
	}
	if err := a.add(e, &rec, ids...); err != nil {
		return err
	}
	e.space = sp
	return nil
}

// forgetMany writes the ids of a forget that do not fit into one record, but for the last of them, as forgets of the sequence
// before it: they end what they would have ended, and a process that dies before all are written finds at its next start that
// the forget itself is not there.
func (a *Appender) forgetMany(e *Event) error {
	e.rest = e.IDs
	sp, ok := a.shard.space(e.Space)
	if !ok {
		return nil // refused in a moment
	}
	for size, n := 0, 0; n < len(e.rest); n++ {
		if size += len(e.rest[n]) + forgetOverhead; size <= maxForget || n == 0 {
			continue
		}
		rec := rows.Record{Kind: rows.KindForget, Space: sp.number, Sequence: e.Sequence - 1, Published: e.Published}
		if err := a.add(e, &rec, e.rest[:n]...); err != nil {
			return err
		}
		e.rest, size, n = e.rest[n:], 0, -1
	}
	return nil
}

const (
	// maxForget is how many bytes of ids are written as one record.
	maxForget = 1 << 20
	// forgetOverhead is what an id needs beside its bytes, at the most.
	forgetOverhead = 8
)

func (a *Appender) add(e *Event, rec *rows.Record, ids ...string) error {
	if err := a.shard.log.Add(rec, ids...); err != nil {
		return err
	}
	a.added = append(a.added, e)
	return nil
}

func (a *Appender) define(e *Event) error {
	d := e.Definition
	if d == nil {
		return fmt.Errorf("%w: space %q has none", ErrDefinition, e.Space)
	}
	if err := d.usable(); err != nil {
		return err
	}
	if old, ok := a.shard.space(d.Name); ok && old.def.Generation >= d.Generation {
		// Each gateway may write the definition before its own first observation; the first one holds.
		return nil
	}
	if d.Generation <= a.shard.dropped[d.Name] {
		return nil // late: that life of the name is over
	}
	rec := rows.Record{
		Kind: rows.KindDefine, Space: a.shard.next, Sequence: e.Sequence, Published: e.Published, Body: d.body(),
	}
	if err := a.add(e, &rec); err != nil {
		return err
	}
	a.shard.install(newSpace(*d, a.shard.next, a.shard.codecOf(d)))
	return nil
}

func (a *Appender) drop(e *Event) error {
	sp, ok := a.shard.space(e.Space)
	if !ok || sp.def.Generation > e.Generation {
		return nil
	}
	rec := rows.Record{Kind: rows.KindDrop, Space: sp.number, Sequence: e.Sequence, Published: e.Published}
	if err := a.add(e, &rec); err != nil {
		return err
	}
	a.shard.uninstall(sp)
	return nil
}

// Flush writes the records of all added events, in one call where they fit, and numbers their rows. After an error it may
// be called again: what had not been written is still there. Only after it has returned nil may the events be applied.
func (a *Appender) Flush() error {
	s := a.shard
	s.flushing.Lock()
	defer s.flushing.Unlock()
	refs, err := s.log.Flush()
	// Records of a Flush that failed may be there, and have no rows yet.
	if a.halfway = err != nil; err != nil {
		return err
	}
	for i, e := range a.added {
		if e.Kind == KindObserve {
			e.ordinal = e.space.numberRow(e.Sequence, e.ExpiresAt, refs[i])
		}
	}
	clear(a.added)
	a.added = a.added[:0]
	return nil
}

// Skip records that everything through a sequence was looked at, though the log has no record of it any more.
func (a *Appender) Skip(through uint64) { a.shard.log.Skip(through) }
