package vecstore

import (
	"errors"
	"fmt"
	"sort"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

// read returns the record of a row, in buf, which it may replace.
func (s *Shard) read(g *generation, row uint32, buf []byte) (rec rows.Record, grown []byte, err error) {
	err = g.follow(row, func(ref rows.Ref) error {
		rec, buf, err = s.log.Read(ref, buf)
		if err == nil {
			err = g.verify(row, ref, rec.Sequence)
		}
		return err
	})
	return rec, buf, err
}

// visit calls visit with the record of a row, which is valid until it returns, and returns the buffer for the next call.
func (s *Shard) visit(g *generation, row uint32, buf []byte, visit func(rows.Record) error) ([]byte, error) {
	err := g.follow(row, func(ref rows.Ref) (err error) {
		buf, err = s.log.Visit(ref, buf, func(rec rows.Record) error {
			if err := g.verify(row, ref, rec.Sequence); err != nil {
				return err
			}
			return visit(rec)
		})
		return err
	})
	return buf, err
}

// follow calls read with where the record of a row is, again as long as it has moved meanwhile.
func (g *generation) follow(row uint32, read func(rows.Ref) error) error {
	m := g.meta.at(row)
	for {
		ref := rows.Ref(m.ref.Load())
		if ref == 0 {
			return errMovedOn // reclaimed since the row was seen to be there
		}
		switch err := read(ref); {
		case !errors.Is(err, rows.ErrMoved):
			return err
		case rows.Ref(m.ref.Load()) == ref:
			return errMovedOn // in a generation that has been replaced
		}
	}
}

// verify tells whether a record is the one of a row.
func (g *generation) verify(row uint32, ref rows.Ref, sequence uint64) error {
	if want := g.meta.at(row).sequence; sequence != want {
		return fmt.Errorf("%w: the record at %v is of sequence %d, and should be of %d", ErrCorrupt, ref, sequence, want)
	}
	return nil
}

// load returns what a row has, in memory of its own.
func (s *Shard) load(sp *space, g *generation, row uint32) (Row, error) {
	rec, _, err := s.read(g, row, nil)
	if err != nil {
		return Row{}, err
	}
	return sp.row(&rec, false, true)
}

// row makes a row of its record, whose memory it takes over, or copies, with the vector if that is wanted.
func (sp *space) row(rec *rows.Record, clone, vector bool) (Row, error) {
	out := Row{ID: string(rec.ID), Sequence: rec.Sequence, ExpiresAt: rec.Expires, Body: rec.Body, Vector: rec.Vector}
	switch {
	case !vector:
		out.Vector = nil
	case rec.Encoding != rows.F32:
		v, err := sp.codec.load(nil, rec.Encoding, rec.Vector)
		if err != nil {
			return Row{}, err
		}
		out.Vector = event.AppendF32(nil, v)
	}
	if clone {
		both := append(append(make([]byte, 0, len(out.Body)+len(out.Vector)), out.Body...), out.Vector...)
		out.Body, out.Vector = both[:len(out.Body):len(out.Body)], both[len(out.Body):]
	}
	return out, nil
}

// find returns the row of an id that a view sees.
func (s *Shard) find(sp *space, v *view, id string) (row uint32, ok bool, err error) {
	key := s.log.Key(id)
	if row, ok := v.lookup(key); ok || v.asOf == 0 {
		return row, ok, nil
	}
	// An older version. Which rows it could be is known to the row log alone; reads of the past by id are rare.
	var buf []byte
	for row := v.g.high.Load(); row > 0; {
		row--
		if !v.g.suspects.load().has(row) || !v.visible(row) {
			continue
		}
		var rec rows.Record
		if rec, buf, err = s.read(v.g, row, buf); err != nil {
			return 0, false, err
		}
		if string(rec.ID) == id {
			return row, true, nil
		}
	}
	return 0, false, nil
}

// Get returns the observations of these ids that are there.
func (s *Shard) Get(name string, ids []string, at At) ([]Row, error) {
	sp, err := s.readable(name)
	if err != nil {
		return nil, err
	}
	var found []Row
	for _, id := range ids {
		row, ok, err := s.getOne(sp, id, at)
		if errors.Is(err, errMovedOn) {
			return s.Get(name, ids, at)
		}
		if err != nil {
			return nil, s.inspect(err)
		}
		if ok {
			found = append(found, row)
		}
	}
	return found, nil
}

// getOne fails with errMovedOn when the space has another generation than the one that was looked at, or is gone.
func (s *Shard) getOne(sp *space, id string, at At) (out Row, ok bool, err error) {
	v, err := sp.view(at)
	if err != nil {
		return out, false, err
	}
	row, ok, err := s.find(sp, &v, id)
	if err == nil && ok {
		out, err = s.load(sp, v.g, row)
	}
	return out, ok, err
}

// List returns the newest observations of a space whose sequence is below before (0 for any), newest first, and
// whether there are more.
func (s *Shard) List(name string, before uint64, limit int, at At) (page []Row, more bool, err error) {
	sp, err := s.readable(name)
	if err != nil {
		return nil, false, err
	}
	for {
		page, more, err := s.list(sp, before, max(limit, 0), at)
		if !errors.Is(err, errMovedOn) {
			return page, more, s.inspect(err)
		}
		if sp, err = s.readable(name); err != nil {
			return nil, false, err
		}
	}
}

func (s *Shard) list(sp *space, before uint64, limit int, at At) (page []Row, more bool, err error) {
	v, err := sp.view(at)
	if err != nil {
		return nil, false, err
	}
	high := v.g.high.Load()
	if before != 0 {
		high = min(high, v.g.below(before))
	}
	// Rows stand in the order of their sequences.
	for row := high; row > 0; {
		row--
		if !v.visible(row) {
			continue
		}
		if len(page) == limit {
			return page, true, nil
		}
		out, err := s.load(sp, v.g, row)
		if err != nil {
			return nil, false, err
		}
		page = append(page, out)
	}
	return page, false, nil
}

// below returns how many rows have sequences below one.
func (g *generation) below(sequence uint64) uint32 {
	n := g.numbered.Load()
	return uint32(sort.Search(int(n), func(row int) bool { return g.meta.at(uint32(row)).sequence >= sequence }))
}
