package vecstore

import (
	"context"
	"errors"
)

// Walk says which rows Shard.Walk visits, and in which order.
type Walk struct {
	// Above and Below bound the sequences from both sides, without themselves; 0 for no bound.
	Above, Below uint64
	// Ascending begins with the lowest sequence rather than the highest.
	Ascending bool
	// At is the moment that is looked at.
	At At
}

// Visit is called with an observation, without its vector and in memory that is the walk's, and with what loads it whole. It
// returns false to end the walk.
type Visit func(row *Row, load func() (Row, error)) (more bool, err error)

// Walk visits the observations of a space in the order of their sequences, reading each from the row log, until visit does
// not want more or ctx ends. Rows may move while it walks; it goes on from where it was.
func (s *Shard) Walk(ctx context.Context, name string, w Walk, visit Visit) error {
	for {
		sp, err := s.readable(name)
		if err != nil {
			return err
		}
		if err = s.walk(ctx, sp, &w, visit); !errors.Is(err, errMovedOn) {
			return s.inspect(err)
		}
	}
}

func (s *Shard) walk(ctx context.Context, sp *space, w *Walk, visit Visit) error {
	v, err := sp.view(w.At)
	if err != nil {
		return err
	}
	from, to := uint32(0), v.g.high.Load()
	if w.Above != 0 {
		from = v.g.below(w.Above + 1)
	}
	if w.Below != 0 {
		to = min(to, v.g.below(w.Below))
	}
	var buf []byte
	for n := from; n < to; n++ {
		row := n
		if !w.Ascending {
			row = to - 1 - (n - from)
		}
		if !v.visible(row) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rec, b, err := s.read(v.g, row, buf)
		if buf = b; err != nil {
			return err
		}
		out, err := sp.row(&rec, false, false)
		if err != nil {
			return err
		}
		more, err := visit(&out, func() (Row, error) { return s.load(sp, v.g, row) })
		if err != nil || !more {
			return err
		}
		if w.Ascending {
			w.Above = out.Sequence
		} else {
			w.Below = out.Sequence
		}
	}
	return nil
}

// All is a moment at which nothing has expired: what has, but was not reclaimed, is there, too.
func All() At { return At{Now: epoch} }
