package vecstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
	"github.com/engram-memory/engram/pkg/vfs"
)

// Compaction says what compacting a space changed.
type Compaction struct {
	// Before and After count the rows of the space, hidden ones included; Reclaimed is the difference.
	Before, After, Reclaimed uint64
	// BytesBefore and BytesAfter are the size of the shard's row log, whose closed segments are written anew.
	BytesBefore, BytesAfter int64
}

// Compact reclaims what nobody can read any more in a space: rows that were replaced, forgotten or have expired longer
// ago than Options.KeepVersions, in the index and in the row log. Ingest and recall go on meanwhile.
func (s *Shard) Compact(ctx context.Context, name string) (Compaction, error) {
	return s.compact(ctx, name, false)
}

// Erase is Compact that does not keep what was replaced or forgotten for reads of the past either: they fail with ErrGone from
// then on. Of a space that is not there any more it reclaims the records.
func (s *Shard) Erase(ctx context.Context, name string) (Compaction, error) {
	return s.compact(ctx, name, true)
}

func (s *Shard) compact(ctx context.Context, name string, erase bool) (Compaction, error) {
	sp, err := s.readable(name)
	if err != nil && !(erase && errors.Is(err, ErrUnknownSpace)) {
		return Compaction{}, err
	}
	s.compacting.Lock()
	defer s.compacting.Unlock()
	if s.closed.Load() {
		return Compaction{}, ErrClosed
	}
	out := Compaction{BytesBefore: s.log.Bytes()}
	if sp != nil {
		c := &compaction{s: s, sp: sp, ctx: ctx, now: time.Now(), erase: erase}
		if out.Before, out.After, err = c.run(); err != nil {
			return out, fmt.Errorf("compacting space %q: %w", name, err)
		}
	}
	out.Reclaimed = out.Before - out.After
	if err := s.rewriteLog(ctx, true); err != nil {
		return out, fmt.Errorf("compacting the row log: %w", err)
	}
	out.BytesAfter = s.log.Bytes()
	return out, nil
}

// compaction makes a new generation of a space, without the rows that are reclaimed. The old one serves until it is
// ready; what is applied meanwhile is taken over at the end. The new graph is built from the stored vectors, so that it is
// the one that the remaining rows would have had from the beginning.
type compaction struct {
	s   *Shard
	sp  *space
	ctx context.Context
	now time.Time
	// pace is told how long a piece of work took, and waits as long as the work is to rest; nil for at once.
	pace func(worked time.Duration) error
	// worth tells whether removing so many of so many rows is worth it; nil when any is.
	worth func(rows, removed uint32) bool
	// always makes a new generation even when nothing is removed.
	always bool
	// erase keeps nothing for reads of the past.
	erase bool

	old, next *generation
	// cut is the number of rows of old that are looked at, below which some are left out; remap has their new numbers.
	cut     uint32
	remap   []uint32
	floor   uint64 // what died at it or before is reclaimed
	horizon uint64 // the newest death among what was reclaimed
	changes changes
	copied  uint32 // rows of old that are in next
	// coded is the rows of old whose codes are in the tail of next, where they are in its graph or not wanted as well; uncoded
	// tells that its tail is not to be loaded.
	coded   uint32
	uncoded bool
}

// changes is what happened to a space while a compaction copied it.
type changes struct {
	rows []uint32 // those that ceased to hold
	// keys are the ids that lead elsewhere now, from when they are copied.
	keys []rows.Key
	ids  bool
}

// gone is the new number of a row that is left out.
const gone = math.MaxUint32

func (c *compaction) run() (before, after uint64, err error) {
	sp := c.sp
	c.begin()
	defer func() {
		sp.applying.Lock()
		sp.changes = nil
		sp.applying.Unlock()
	}()
	before = uint64(c.old.high.Load())
	removed := c.choose()
	if !c.always && (removed == 0 || c.worth != nil && !c.worth(c.cut, removed)) || c.old.high.Load() == 0 {
		return before, before, nil
	}
	c.next = newGeneration(sp, c.old.base+uint64(removed))
	if err := c.build(); err != nil {
		return before, before, errors.Join(err, c.abandon())
	}
	if err := c.finish(); err != nil {
		return before, before, errors.Join(err, c.abandon())
	}
	c.s.garbage.count(c.old, func(row uint32) bool { return c.number(row) == gone })
	return before, uint64(c.next.high.Load()), c.old.engine.Load().drop()
}

// begin decides what is looked at, and has the deaths from now on noted.
func (c *compaction) begin() {
	sp := c.sp
	sp.applying.Lock()
	defer sp.applying.Unlock()
	c.old = sp.gen.Load()
	c.cut = c.old.settled.Load()
	sp.changes = &c.changes
	c.floor = c.s.floor(c.now)
	if c.erase {
		c.floor = c.s.applied.Load()
	}
}

// floor is the sequence that no read of the past may look below any more.
func (s *Shard) floor(now time.Time) uint64 {
	before := s.moments.before(now.Add(-max(s.opt.KeepVersions, 0)))
	if s.opt.KeepVersions < 0 {
		return s.applied.Load()
	}
	return min(before, s.applied.Load())
}

// choose numbers the rows that stay, and returns how many do not.
func (c *compaction) choose() (removed uint32) {
	c.remap = make([]uint32, c.cut)
	expired := c.now.Add(-max(c.s.opt.KeepVersions, 0)).UnixNano()
	if c.erase {
		expired = c.now.UnixNano()
	}
	for row := range c.cut {
		m := c.old.meta.at(row)
		died := m.died.Load()
		switch {
		case died != 0 && died <= c.floor:
			c.horizon = max(c.horizon, died)
		case m.expires != 0 && m.expires <= expired && m.sequence <= c.floor:
		case m.born.Load() == void || m.ref.Load() == 0:
		default:
			c.remap[row] = row - removed
			continue
		}
		c.remap[row] = gone
		removed++
	}
	return removed
}

// build copies and links the rows that were settled at the beginning, and then those that have settled meanwhile, until few
// are left.
func (c *compaction) build() error {
	for round := 0; round < 16; round++ {
		to := c.old.settled.Load()
		if round > 0 && to-c.copied < c.s.opt.TailRows {
			return nil
		}
		c.copyMeta(to)
		if err := c.link(); err != nil {
			return err
		}
	}
	return nil
}

// copyMeta adds the rows of the old generation up to one, in their new numbers.
func (c *compaction) copyMeta(to uint32) {
	for ; c.copied < to; c.copied++ {
		row := c.number(c.copied)
		if row == gone {
			continue
		}
		c.next.meta.grow(row)
		from, m := c.old.meta.at(c.copied), c.next.meta.at(row)
		m.sequence, m.expires = from.sequence, from.expires
		m.ref.Store(from.ref.Load())
		m.born.Store(from.born.Load())
		c.copyDeath(from, row)
		if from.expires != 0 {
			c.next.suspects.set(row)
			c.next.expiring.Add(1)
		}
		c.next.numbered.Store(row + 1)
	}
	c.next.settle()
}

func (c *compaction) copyDeath(from *rowMeta, row uint32) {
	dead := from.dead.Load()
	if dead == 0 {
		return
	}
	m := c.next.meta.at(row)
	m.died.Store(from.died.Load())
	if m.dead.Load() != 0 {
		return
	}
	m.dead.Store(dead)
	c.next.suspects.set(row)
	c.next.dead.Add(1)
}

// number returns the number that a row has in the next generation.
func (c *compaction) number(row uint32) uint32 {
	if row < c.cut {
		return c.remap[row]
	}
	return row - uint32(c.next.base-c.old.base)
}

// link builds the graph of what has been copied, where the space is to have one.
func (c *compaction) link() error {
	n := c.next
	for c.s.linkable(c.sp, n) {
		if c.sp.gone.Load() || c.s.closed.Load() {
			return ErrClosed
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		start := time.Now()
		if err := vfs.Guard(c.linkBlock); err != nil {
			return err
		}
		if c.pace != nil {
			if err := c.pace(time.Since(start)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *compaction) linkBlock() (err error) {
	n := c.next
	defer func() {
		if v := recover(); v != nil {
			if _, fault := v.(interface{ Addr() uintptr }); fault {
				panic(v) // of mapped memory: for vfs.Guard
			}
			err = panicked(n, v) // the old generation serves on
		}
	}()
	e := n.engine.Load()
	if e == nil {
		if err := c.s.fill(c.sp, n, 0, c.s.centreRows(n)); err != nil {
			return err
		}
		if e, err = c.s.makeEngine(c.sp, n); err != nil {
			return err
		}
		n.engine.Store(e)
	}
	from := e.linked()
	if err := c.s.fill(c.sp, n, from, from+blockRows); err != nil {
		return err
	}
	threads := c.s.opt.Linking.take(1)
	defer c.s.opt.Linking.give(threads)
	err = e.link(from+blockRows, threads)
	n.tail.drop(e.linked())
	return err
}

// finish takes over what is left and what has changed, and makes the next generation the current one. Nothing is linked
// meanwhile, and for the last little that is left nothing is numbered or applied.
func (c *compaction) finish() error {
	sp, next := c.sp, c.next
	c.copyIDs()
	c.catchUp()
	sp.linking.Lock()
	defer sp.linking.Unlock()
	if sp.gone.Load() || c.s.closed.Load() {
		return ErrClosed
	}
	// Who finds this at an open builds from it what is built here. From here on there is no way back.
	horizon := max(sp.horizon.Load(), c.horizon)
	if err := c.s.nameEngine(sp, next.engine.Load(), horizon); err != nil {
		return err
	}
	c.catchUp()
	c.replace(horizon)
	sp.filters.clear()
	c.s.linker.wake(sp)
	return nil
}

// catchUp takes over what has happened since, while more happens, until little is left.
func (c *compaction) catchUp() {
	const little = 64
	for range 16 {
		c.sp.applying.Lock()
		to, changed := c.old.settled.Load(), c.changes.take()
		c.sp.applying.Unlock()
		n := int(to-c.copied) + len(changed.rows) + len(changed.keys)
		c.copyMeta(to)
		c.copyChanges(changed)
		c.copyCodes(to, true)
		if n < little {
			return
		}
	}
}

// take returns the changes so far; applying is held.
func (c *changes) take() changes {
	taken := *c
	c.rows, c.keys = nil, nil
	return taken
}

// copyChanges takes deaths and ids over. What happened to rows that are not copied is copied with them.
func (c *compaction) copyChanges(changed changes) {
	for _, row := range changed.rows {
		if to := c.number(row); to != gone && row < c.copied {
			c.copyDeath(c.old.meta.at(row), to)
		}
	}
	for _, key := range changed.keys {
		c.old.idsMu.RLock()
		row, ok := c.old.ids[key]
		c.old.idsMu.RUnlock()
		if to := c.number(row); ok && to != gone {
			c.next.ids[key] = to
		} else {
			delete(c.next.ids, key)
		}
	}
}

// copyIDs copies the ids, and has those noted that change from now on. It lets writers in now and then.
func (c *compaction) copyIDs() {
	c.sp.applying.Lock()
	c.changes.ids = true
	c.sp.applying.Unlock()
	old, next := c.old, c.next
	old.idsMu.RLock()
	defer old.idsMu.RUnlock()
	next.ids = make(map[rows.Key]uint32, len(old.ids))
	n := 0
	// What is added to a map or taken off it while it is gone through may be met or not: it is among the changes.
	for key, row := range old.ids {
		if to := c.number(row); to != gone {
			next.ids[key] = to
		}
		if n++; n%1024 == 0 {
			old.idsMu.RUnlock()
			old.idsMu.RLock()
		}
	}
}

// replace makes the next generation the current one, with the last of what has happened.
func (c *compaction) replace(horizon uint64) {
	sp, old, next := c.sp, c.old, c.next
	sp.applying.Lock()
	defer sp.applying.Unlock()
	sp.numbering.Lock()
	defer sp.numbering.Unlock()
	c.copyMeta(old.numbered.Load())
	c.copyChanges(c.changes.take())
	next.high.Store(max(next.high.Load(), c.number(old.high.Load()-1)+1))
	sp.renumber(c.number)
	c.copyCodes(old.high.Load(), false)
	if c.uncoded && next.linked() < next.high.Load() {
		next.tail.evict()
	} else {
		next.tail.loaded.Store(true)
	}
	sp.horizon.Store(horizon)
	sp.gen.Store(next)
}

// copyCodes gives the next generation the codes of rows that it has not linked, up to a row of the old one: those that are in
// the tail of the old one, and others from the row log, if that may be read. Where there are too many, or the space was not
// searched and has no graph, they are made when they are needed.
func (c *compaction) copyCodes(to uint32, read bool) {
	old, next := c.old, c.next
	linked := next.linked()
	// These chunks are the ones to look at even if the tail is let go and made again meanwhile: when it is loaded after they were
	// found, all that is theirs is in them, but for rows that had been linked before they were made.
	chunks := old.tail.chunks.Load()
	loaded := old.tail.loaded.Load()
	made := old.linked()
	c.coded = max(c.coded, linked) // a row has no higher number in next than in old
	if next.engine.Load() == nil && !loaded || next.numbered.Load()-linked > max(c.s.opt.TailRows, c.s.opt.GraphRows) {
		c.uncoded = true
	}
	var buf []byte
	for ; c.coded < to && !c.uncoded; c.coded++ {
		row := c.number(c.coded)
		if row == gone || row < linked {
			continue
		}
		at, i := next.tail.room(row), int(row%blockRows)
		m := old.meta.at(c.coded)
		if born := m.born.Load(); born == 0 || born == void || m.ref.Load() == 0 {
			continue
		}
		if chunk, j := chunkOf(chunks, c.coded), int(c.coded%blockRows); loaded && c.coded >= made && chunk != nil && j < len(chunk.info) {
			size := next.tail.size
			copy(at.codes[i*size:(i+1)*size], chunk.codes[j*size:(j+1)*size])
			at.info[i] = chunk.info[j]
			continue
		}
		if c.uncoded = !read; read {
			rec, b, err := c.s.read(next, row, buf)
			if buf = b; err == nil {
				err = next.tail.encode(at, i, c.sp.codec, rec.Vector)
			}
			c.uncoded = err != nil // who needs it meets the error again
		}
	}
}

// abandon lets go of what was built.
func (c *compaction) abandon() error {
	if c.next == nil {
		return nil
	}
	return c.next.engine.Load().drop()
}
