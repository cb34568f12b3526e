package vecstore

import (
	"fmt"
	"unsafe"
)

// maxAppend is how many bytes of records Flush writes with one call at the most, and what an Appender keeps of its
// buffer for the next batch.
const maxAppend = 8 << 20

// Appender turns events into records. A shard has one, and one goroutine uses it.
type Appender struct {
	shard   *Shard
	buf     []byte
	added   []pending
	through uint64
}

// pending is an event whose record is in the buffer, at an offset.
type pending struct {
	event  *Event
	offset int
	length uint32
}

// Appender returns the shard's appender.
func (s *Shard) Appender() *Appender { return &s.appender }

// Add checks an event against its space and encodes its record. Definitions and drops take effect at once, so that
// the events behind them are checked against them; observations and forgets are to be given to Shard.Apply after the
// Flush. Events come in the order of their sequences; one that the row log has already is ignored, and has no SpaceKey.
//
// A refused event (ErrUnknownSpace, ErrDimension, ErrDefinition, ErrTooLarge) leaves no trace but that its sequence
// counts as passed.
func (a *Appender) Add(e *Event) error {
	e.space, e.ref = nil, 0
	if e.Sequence <= a.through {
		return nil
	}
	a.through = e.Sequence
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
	rec := record{kind: e.Kind, space: sp.number, sequence: e.Sequence, published: e.Published}
	if e.Kind == KindObserve {
		if len(e.Vector) != 4*int(sp.def.Dimension) {
			return fmt.Errorf("%w: space %q has dimension %d, the embedding of %q has %d",
				ErrDimension, e.Space, sp.def.Dimension, e.ID, len(e.Vector)/4)
		}
		rec.expires, rec.vector, rec.body = e.ExpiresAt, e.Vector, e.Body
	} else {
		rec.body = appendIDs(nil, e.IDs)
	}
	if err := a.encode(e, &rec); err != nil {
		return err
	}
	e.space = sp
	return nil
}

func (a *Appender) encode(e *Event, rec *record) error {
	offset, id := len(a.buf), ""
	if e.Kind == KindObserve {
		id = e.ID
	}
	buf, err := appendRecord(a.buf, rec, id)
	if err != nil {
		return err
	}
	a.buf = buf
	a.added = append(a.added, pending{event: e, offset: offset, length: rec.length})
	return nil
}

func (a *Appender) define(e *Event) error {
	d := e.Definition
	if d == nil || !d.usable() {
		return fmt.Errorf("%w: space %q wants a dimension of 1 to %d and a metric of cosine, dot or l2",
			ErrDefinition, e.Space, maxDimension)
	}
	if old, ok := a.shard.space(d.Name); ok && old.def.Generation >= d.Generation {
		// Each gateway may write the definition before its own first observation; the first one holds.
		return nil
	}
	if d.Generation <= a.shard.dropped[d.Name] {
		return nil // late: that life of the name is over
	}
	sp, err := newSpace(*d, a.shard.next)
	if err != nil {
		return err
	}
	rec := record{
		kind: KindDefine, space: sp.number, sequence: e.Sequence, published: e.Published, body: appendDefinition(nil, d),
	}
	if err := a.encode(e, &rec); err != nil {
		return err
	}
	a.shard.install(sp)
	return nil
}

func (a *Appender) drop(e *Event) error {
	sp, ok := a.shard.space(e.Space)
	if !ok || sp.def.Generation > e.Generation {
		return nil
	}
	rec := record{kind: KindDrop, space: sp.number, sequence: e.Sequence, published: e.Published}
	if err := a.encode(e, &rec); err != nil {
		return err
	}
	a.shard.uninstall(sp)
	return nil
}

// Flush writes the records of all added events, in one call where they fit. After an error it may be called again:
// what had not been written is still there. Only after it has returned nil may the events be applied.
func (a *Appender) Flush() error {
	s := a.shard
	s.logMu.Lock()
	defer s.logMu.Unlock()
	if err := s.Usable(); err != nil {
		return err
	}
	for len(a.added) > 0 {
		// As many whole records as go into one write.
		n, end := 0, 0
		for n < len(a.added) {
			next := a.added[n].offset + int(a.added[n].length)
			if n > 0 && next-a.added[0].offset > maxAppend {
				break
			}
			n, end = n+1, next
		}
		start := a.added[0].offset
		segment, offset, err := s.log.append(a.buf[start:end])
		if err != nil {
			return err
		}
		for _, p := range a.added[:n] {
			p.event.ref = makeRef(segment, offset+int64(p.offset-start), p.length)
		}
		a.added = a.added[n:]
	}
	if cap(a.buf) > maxAppend {
		a.buf = nil
	}
	a.buf, a.added = a.buf[:0], a.added[:0]
	s.appended.Store(a.through)
	return nil
}

// Skip records that everything through a sequence was looked at, though the log has no record of it any more.
func (a *Appender) Skip(through uint64) { a.through = max(a.through, through) }

// install makes a definition the living one of its name.
func (s *Shard) install(sp *space) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.spaces[sp.def.Name]; ok {
		old.gone.Store(true)
		delete(s.byNumber, old.number)
	}
	s.spaces[sp.def.Name] = sp
	s.byNumber[sp.number] = sp
	s.next = sp.number + 1
}

func (s *Shard) uninstall(sp *space) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp.gone.Store(true)
	delete(s.spaces, sp.def.Name)
	delete(s.byNumber, sp.number)
	s.dropped[sp.def.Name] = sp.def.Generation
}

// stringOf is a string with the bytes of b, for a look-up that does not outlive b.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
