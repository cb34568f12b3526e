package vecstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore/columns"
)

// scrubber reads what nobody has read for long, a little at a time, so that damage is found while there is something to
// build it again from. It is of the maintainer.
type scrubber struct {
	next map[*space]*scrubbed
}

// scrubbed is how far one space is: the chunk to take checksums of next, the block of the columns and the row whose record
// are to be compared next.
type scrubbed struct {
	file  *columns.File
	chunk int
	block int
	row   uint32
}

const (
	scrubBlocks  = 16    // of at most 256 KiB, each time
	scrubRecords = 1_000 // each time
)

// scrub looks at the next part of every space. Columns that have changed since their chunk was filled are built again from
// the row log; damage to the row log itself is an error, and is the caller's to repair, who can build the shard anew.
func (s *Shard) scrub(ctx context.Context, now time.Time) error {
	next := map[*space]*scrubbed{}
	var errs []error
	for _, sp := range s.living() {
		at := s.scrubber.next[sp]
		if at == nil {
			at = new(scrubbed)
		}
		next[sp] = at
		if err := s.scrubColumns(sp, at); errors.Is(err, columns.ErrCorrupt) || errors.Is(err, columns.ErrFault) {
			aside := at.file.Path() + asideMark // it is open, and serves until the new one is there
			errs = append(errs, fmt.Errorf("the graph of space %q is set aside as %s and built again: %w", sp.def.Name, aside, err),
				s.opt.FS.Rename(at.file.Path(), aside), s.rebuild(ctx, sp, now))
		} else if err != nil {
			errs = append(errs, err)
		}
		if err := s.scrubRecords(sp, at); err != nil {
			errs = append(errs, fmt.Errorf("the row log of space %q: %w", sp.def.Name, err))
		}
	}
	s.scrubber.next = next // those that have ended are gone
	return errors.Join(errs...)
}

// rebuild makes a new generation of a space, whether anything can be reclaimed or not.
func (s *Shard) rebuild(ctx context.Context, sp *space, now time.Time) error {
	s.compacting.Lock()
	defer s.compacting.Unlock()
	c := &compaction{s: s, sp: sp, ctx: ctx, now: now, always: true}
	_, _, err := c.run()
	return err
}

func (s *Shard) scrubColumns(sp *space, at *scrubbed) error {
	x, ok := sp.graph()
	if !ok || !x.acquire() {
		return nil
	}
	defer x.release()
	if at.file != x.file {
		*at = scrubbed{file: x.file, row: at.row}
	}
	for rows := x.file.Header().Layout.ChunkRows(); uint32(at.chunk+1)*rows <= x.linked(); at.chunk++ {
		if err := x.file.Settle(at.chunk); err != nil {
			return err
		}
	}
	n := x.file.SettledBlocks()
	for range min(n, scrubBlocks) {
		if at.block >= n {
			at.block = 0
		}
		if err := x.file.VerifyBlock(at.block); err != nil {
			return err
		}
		at.block++
	}
	return nil
}

func (s *Shard) scrubRecords(sp *space, at *scrubbed) error {
	g := sp.gen.Load()
	n := g.settled.Load()
	var buf []byte
	for range min(n, scrubRecords) {
		if at.row >= n {
			at.row = 0
		}
		var err error
		if m := g.meta.at(at.row); m.ref.Load() != 0 {
			if _, buf, err = s.read(g, at.row, buf); err != nil && !errors.Is(err, errMovedOn) && !errors.Is(err, ErrClosed) {
				return err
			}
		}
		at.row++
	}
	return nil
}
