package vecstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore/columns"
	"github.com/engram-memory/engram/pkg/vfs"
)

// scrubber reads what nobody has read for long, a little at a time, so that damage is found while there is something to
// build it again from. It is of the maintainer.
type scrubber struct {
	spaces map[*space]*scrubbed
	last   uint32 // number of the space that was looked at last
}

// scrubbed is how far one space is: the chunk to take checksums of next, the block of the columns and the row whose record
// are to be compared next.
type scrubbed struct {
	file  *columns.File
	chunk int
	block int
	row   uint32
}

// scrubBudget is what one round may read: blocks of at most 256 KiB, and records.
type scrubBudget struct{ blocks, records int }

func newScrubBudget() *scrubBudget { return &scrubBudget{blocks: 16, records: 1_000} }

// scrub looks at the next part of the next spaces, within a budget. Columns that have changed since their chunk was filled
// are set aside and built again from the row log; damage to the row log itself is an error, and is the caller's to repair,
// who can build the shard anew.
func (s *Shard) scrub(ctx context.Context, now time.Time) error {
	spaces := s.living()
	// In turn, those first that come behind the last one.
	slices.SortFunc(spaces, func(a, b *space) int {
		if first := a.number > s.scrubber.last; first != (b.number > s.scrubber.last) {
			if first {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.number, b.number)
	})
	known := map[*space]*scrubbed{}
	for _, sp := range spaces {
		if known[sp] = s.scrubber.spaces[sp]; known[sp] == nil {
			known[sp] = new(scrubbed)
		}
	}
	s.scrubber.spaces = known // those that have ended are gone
	left := newScrubBudget()
	var errs []error
	for _, sp := range spaces {
		if ctx.Err() != nil || left.records <= 0 {
			break
		}
		at := known[sp]
		s.scrubber.last = sp.number
		if err := s.scrubColumns(sp, at, left); errors.Is(err, columns.ErrCorrupt) || errors.Is(err, vfs.ErrFault) {
			aside := at.file.Path() + asideMark // it is open, and serves until the new one is there
			errs = append(errs, fmt.Errorf("the graph of space %q is set aside as %s and built again: %w", sp.def.Name, aside, err),
				s.opt.FS.Rename(at.file.Path(), aside), s.rebuild(ctx, sp, now))
		} else if err != nil {
			errs = append(errs, err)
		}
		if err := s.scrubRecords(sp, at, left); err != nil {
			errs = append(errs, fmt.Errorf("the row log of space %q: %w", sp.def.Name, s.inspect(err)))
		}
	}
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

func (s *Shard) scrubColumns(sp *space, at *scrubbed, left *scrubBudget) error {
	x, ok := sp.graph()
	if !ok || left.blocks <= 0 || !x.acquire() {
		return nil
	}
	defer x.release()
	if at.file != x.file {
		*at = scrubbed{file: x.file, row: at.row}
	}
	if rows := x.file.Header().Layout.ChunkRows(); uint32(at.chunk+1)*rows <= x.linked() {
		// As much as a budget: the whole of a chunk is read.
		left.blocks = 0
		if err := x.file.Settle(at.chunk); err != nil {
			return err
		}
		at.chunk++
		return nil
	}
	n := x.file.SettledBlocks()
	for ; n > 0 && left.blocks > 0; left.blocks-- {
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

func (s *Shard) scrubRecords(sp *space, at *scrubbed, left *scrubBudget) error {
	g := sp.gen.Load()
	n := g.settled.Load()
	var buf []byte
	for range n {
		if left.records <= 0 {
			return nil
		}
		if at.row >= n {
			at.row = 0
		}
		var err error
		if m := g.meta.at(at.row); m.ref.Load() != 0 {
			left.records--
			if _, buf, err = s.read(g, at.row, buf); err != nil && !errors.Is(err, errMovedOn) && !errors.Is(err, ErrClosed) {
				at.row++
				return err
			}
		}
		at.row++
	}
	return nil
}
