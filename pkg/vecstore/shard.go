package vecstore

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore/columns"
	"github.com/engram-memory/engram/pkg/vecstore/manifest"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
	"github.com/engram-memory/engram/pkg/vfs"
)

// Shard is the local view of one log. Its methods may be called concurrently unless they say otherwise.
type Shard struct {
	dir string
	src Source
	opt Options
	log *rows.Log

	// manifestMu is held while the manifest is changed and stored.
	manifestMu sync.Mutex
	manifest   *manifest.Manifest

	mu       sync.RWMutex
	spaces   map[string]*space // living ones, by name
	byNumber map[uint32]*space // living ones
	next     uint32            // number of the next definition; of the appender
	dropped  map[string]uint32 // last dropped generation, by name; of the appender
	codecs   map[codecKey]*codec

	appender Appender
	// flushing is held until the rows of the records that a Flush writes are numbered.
	flushing  sync.Mutex
	searchers sync.Pool
	moments   moments       // when which sequence was appended
	applied   atomic.Uint64 // everything up to here was applied, as far as is known
	linker    linker
	// compacting lets one compaction run at a time.
	compacting sync.Mutex
	garbage    garbage
	givenUp    givenUp
	maintainer maintainer
	scrubber   scrubber              // of the maintainer
	damaged    atomic.Pointer[error] // what was found wrong with files first
	closed     atomic.Bool
}

// codecKey is what spaces must have in common to share a codec.
type codecKey struct {
	dim     uint32
	metric  Metric
	vectors Vectors
}

// codecOf returns the codec of a definition. Of the appender.
func (s *Shard) codecOf(d *Definition) *codec {
	key := codecKey{d.Dimension, d.Metric, d.Vectors}
	c, ok := s.codecs[key]
	if !ok {
		c = newCodec(d)
		s.codecs[key] = c
	}
	return c
}

// Definition returns the definition of a living space.
func (s *Shard) Definition(name string) (Definition, bool) {
	sp, ok := s.space(name)
	if !ok {
		return Definition{}, false
	}
	return sp.def, true
}

func (s *Shard) space(name string) (*space, bool) {
	s.mu.RLock()
	sp, ok := s.spaces[name]
	s.mu.RUnlock()
	return sp, ok
}

// living returns the living spaces, in no order.
func (s *Shard) living() []*space {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*space, 0, len(s.spaces))
	for _, sp := range s.spaces {
		all = append(all, sp)
	}
	return all
}

// install makes a definition the living one of its name.
func (s *Shard) install(sp *space) {
	s.mu.Lock()
	old := s.spaces[sp.def.Name]
	s.spaces[sp.def.Name] = sp
	s.byNumber[sp.number] = sp
	s.next = sp.number + 1
	if old != nil {
		delete(s.byNumber, old.number)
	}
	s.mu.Unlock()
	if old != nil {
		s.retire(old)
	}
}

func (s *Shard) uninstall(sp *space) {
	s.mu.Lock()
	delete(s.spaces, sp.def.Name)
	delete(s.byNumber, sp.number)
	s.dropped[sp.def.Name] = sp.def.Generation
	s.mu.Unlock()
	s.retire(sp)
}

// retire lets go of what a space that has ended holds. The linker drops its columns, since it may be at work there.
func (s *Shard) retire(sp *space) {
	sp.gone.Store(true)
	s.garbage.count(sp.gen.Load(), func(uint32) bool { return true })
	s.linker.wake(sp)
}

// Source returns the identity of the log that the shard is a view of.
func (s *Shard) Source() Source { return s.src }

// Appended returns the sequence through which the row log has everything: where to fetch from next, less one.
func (s *Shard) Appended() uint64 { return s.log.Appended() }

// Durable returns the sequence through which everything survives a loss of power on this machine.
func (s *Shard) Durable() uint64 { return s.log.Durable() }

// LogBytes returns the size of the shard's row log on disk.
func (s *Shard) LogBytes() int64 { return s.log.Bytes() }

// Apply makes observations searchable and forgets hold, in the order given. All events must have been added and
// flushed, and be of one space: those with the same Event.SpaceKey, for which only one Apply may run at a time. applied
// is the sequence through which everything has been applied before.
//
// An error is about the event at the returned index; those before it are applied, those behind it are not. A panic, too,
// leaves the events applied that came before. An event may be given again, whether it was applied or not. Only an observation that an
// error was about, or that made the index panic when it was given alone, has been given up, and stays so: see ErrGivenUp.
func (s *Shard) Apply(events []*Event, applied uint64) (int, error) {
	if len(events) == 0 {
		return 0, nil
	}
	sp := events[0].space
	if sp == nil {
		return 0, fmt.Errorf("%w: event %d was not added to the shard", ErrUnknownSpace, events[0].Sequence)
	}
	s.Applied(applied)
	if sp.gone.Load() {
		return len(events), nil // dropped while they were on their way
	}
	n, err := s.applyTo(sp, events, applied)
	s.linker.settled(s, sp)
	return n, err
}

func (s *Shard) applyTo(sp *space, events []*Event, applied uint64) (n int, err error) {
	sp.applying.Lock()
	defer sp.applying.Unlock()
	sp.pruneSome(applied)
	moment := sp.clock.Load() + 1
	defer func() {
		sp.clock.Store(moment) // also when an event makes the index panic: those before it are there
		if n < len(events) && events[n].space == sp && events[n].Kind == KindObserve && (err != nil || len(events) == 1) && !errors.Is(err, ErrGivenUp) {
			// In a panic of several, it is not known yet which of them it is.
			sp.giveUp(events[n])
			s.forgo(sp, events[n].Sequence)
		}
	}()
	for ; n < len(events); n++ {
		e := events[n]
		if e.space != sp {
			return n, fmt.Errorf("%w: event %d is of another space than the first of its batch", ErrUnknownSpace, e.Sequence)
		}
		switch e.Kind {
		case KindObserve:
			if err := s.observe(sp, e, moment); err != nil {
				return n, fmt.Errorf("indexing %q of space %q: %w", e.ID, sp.def.Name, err)
			}
		case KindForget:
			for _, id := range e.IDs {
				sp.forget(s.log.Key(id), e.Sequence, moment)
			}
		}
	}
	return n, nil
}

// observe applies an observation, unless it was applied before, perhaps so long ago that a compaction has reclaimed it since.
func (s *Shard) observe(sp *space, e *Event, moment uint64) error {
	row, there := sp.rowOf(e)
	if !there && !s.gaveUp(sp, e.Sequence) {
		return nil
	}
	if !there || sp.gen.Load().meta.at(row).born.Load() == void {
		return ErrGivenUp
	}
	return sp.apply(s.log.Key(e.ID), row, e.stored, moment)
}

// Applied tells that everything through a sequence of the log has been applied, in all spaces. Compactions reclaim nothing
// that died beyond it.
func (s *Shard) Applied(through uint64) {
	for old := s.applied.Load(); old < through; old = s.applied.Load() {
		if s.applied.CompareAndSwap(old, through) {
			return
		}
	}
}

// Checkpoint makes everything durable that was flushed before the call, whatever the number of spaces, with one record
// and an fsync of what was written to since the last one. It does nothing when nothing is new.
//
// A failed fsync fails the shard for good: see ErrFailed.
func (s *Shard) Checkpoint(now time.Time) error {
	s.moments.note(s.log.Appended(), now)
	s.cool(now)
	err := s.storeGivenUp()
	if err == nil {
		err = s.log.Checkpoint(now)
	}
	s.maintainer.tick(s, now) // what it gives the disk to do is not to stand before the checkpoint
	if errors.Is(err, ErrFailed) {
		// The next open must not trust what looks written. That the manifest cannot be stored either changes nothing for
		// who is told of the failure.
		_ = s.store(func(m *manifest.Manifest) { m.State, m.Segments = manifest.Failed, s.log.Vouched() })
	}
	return err
}

// Spaces returns the number of living spaces.
func (s *Shard) Spaces() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.spaces)
}

// Usable returns why the shard is of no use any more: ErrFailed or ErrClosed, which it takes nothing after, or what was found
// damaged in its files, while what is not damaged is still served. It is to be opened again then, with Options.Distrust. It
// returns nil when all is well.
func (s *Shard) Usable() error {
	if err := s.damaged.Load(); err != nil {
		return *err
	}
	return s.log.Usable()
}

// inspect remembers an error that says that files are damaged, and returns it.
func (s *Shard) inspect(err error) error {
	for _, damage := range []error{ErrCorrupt, columns.ErrCorrupt, vfs.ErrFault} {
		if errors.Is(err, damage) {
			s.damaged.CompareAndSwap(nil, &err)
		}
	}
	return err
}

// inspectGraph is inspect for what was met in the columns of a generation. Those that are damaged first are set aside: they are open,
// and serve until the shard is opened again.
func (s *Shard) inspectGraph(sp *space, g *generation, err error) error {
	if err == nil {
		return nil
	}
	before := s.damaged.Load()
	_ = s.inspect(err)
	x, ok := g.engine.Load().graph()
	if !ok || before != nil || !errors.Is(err, columns.ErrCorrupt) && !errors.Is(err, vfs.ErrFault) {
		return err
	}
	aside := x.file.Path() + asideMark
	if rerr := s.opt.FS.Rename(x.file.Path(), aside); rerr != nil {
		return errors.Join(err, fmt.Errorf("setting the damaged graph of space %q aside: %w", sp.def.Name, rerr))
	}
	return fmt.Errorf("the graph is set aside as %s and built again: %w", aside, err)
}

// Close takes a last checkpoint and closes the files, so that the next Open verifies them and can use all of them.
// Searches that still run may fail with ErrClosed; the caller ends appending and applying before.
func (s *Shard) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	resume := s.quiesce()
	defer resume()
	err := s.Checkpoint(time.Now())
	if err == nil {
		err = s.seal()
	}
	return errors.Join(err, s.closeFiles())
}

// seal makes the columns durable, with checksums, and stores the manifest of a clean close.
func (s *Shard) seal() error {
	sealed := map[uint32]uint32{} // rows, by number of the space
	for _, sp := range s.living() {
		if x, ok := sp.graph(); ok {
			err := x.file.Seal(s.opt.LinkThreads)
			if errors.Is(err, columns.ErrFailed) {
				// What the kernel could not write may be lost though it can be read: nobody is to use the file again.
				err = errors.Join(err, s.store(func(m *manifest.Manifest) { dropColumns(m, sp.number) }))
			}
			if err != nil {
				return err
			}
			sealed[sp.number] = x.linked()
		}
	}
	return s.store(func(m *manifest.Manifest) {
		m.State, m.Identity, m.Segments = manifest.Clean, "", s.log.Sealed()
		for i := range m.Columns {
			m.Columns[i].Rows = sealed[m.Columns[i].Space]
		}
	})
}

// Abandon closes the files without a checkpoint: what a shard that failed is left with.
func (s *Shard) Abandon() error {
	if s.closed.Swap(true) {
		return nil
	}
	resume := s.quiesce()
	defer resume()
	return s.closeFiles()
}

// quiesce waits until nothing compacts or links any more, and keeps it so until resume. closed is set.
func (s *Shard) quiesce() (resume func()) {
	s.maintainer.stop()
	s.linker.stop()
	s.compacting.Lock()
	spaces := s.living()
	for _, sp := range spaces {
		sp.linking.Lock()
	}
	return func() {
		for _, sp := range spaces {
			sp.linking.Unlock()
		}
		s.compacting.Unlock()
	}
}

func (s *Shard) closeFiles() error {
	errs := []error{s.log.Close()}
	for sp := s.linker.next(); sp != nil; sp = s.linker.next() {
		if e := sp.gen.Load().engine.Load(); sp.gone.Load() && e != nil {
			errs = append(errs, e.close()) // the linker did not come to remove it
		}
	}
	for _, sp := range s.living() {
		if e := sp.gen.Load().engine.Load(); e != nil {
			errs = append(errs, e.close())
		}
	}
	return errors.Join(errs...)
}

// store changes the manifest and makes the change durable. A change that cannot be stored is not kept.
func (s *Shard) store(change func(m *manifest.Manifest)) error {
	s.manifestMu.Lock()
	defer s.manifestMu.Unlock()
	next := *s.manifest
	next.Columns, next.Horizons, next.GivenUp = slices.Clone(next.Columns), slices.Clone(next.Horizons), slices.Clone(next.GivenUp)
	change(&next)
	if err := next.Store(s.opt.FS, s.dir); err != nil {
		return err
	}
	s.manifest = &next
	return nil
}
