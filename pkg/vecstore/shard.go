package vecstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a shard.
type Options struct {
	// SegmentSize is the size in bytes at which a segment of the row log is closed, at most 512 MiB. Default: 256 MiB.
	SegmentSize int64
	// Distrust cuts the row log off after its last checkpoint: what follows was written, but a failed fsync has shown
	// that it may not be on the disk.
	Distrust bool
}

// Shard is the local view of one log. Its methods may be called concurrently unless they say otherwise.
type Shard struct {
	dir    string
	src    Source
	log    *rowLog
	hasher idHasher

	mu       sync.RWMutex
	spaces   map[string]*space // living ones, by name
	byNumber map[uint32]*space // living ones
	next     uint32            // number of the next definition; of the appender
	dropped  map[string]uint32 // last dropped generation, by name; of the appender

	appended atomic.Uint64 // everything up to here is in the row log, or was skipped on purpose
	durable  atomic.Uint64 // everything up to here survives a loss of power

	appender Appender
	ckptMu   sync.Mutex // one checkpoint at a time
	// logMu makes the records of a checkpoint and of a batch follow each other.
	logMu  sync.Mutex
	failed atomic.Pointer[error]
	// unindexed is of the recovery.
	unindexed int
	closed    atomic.Bool
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

// Source returns the identity of the log that the shard is a view of.
func (s *Shard) Source() Source { return s.src }

// Appended returns the sequence through which the row log has everything: where to fetch from next, less one.
func (s *Shard) Appended() uint64 { return s.appended.Load() }

// Durable returns the sequence through which everything survives a loss of power on this machine.
func (s *Shard) Durable() uint64 { return s.durable.Load() }

// Apply makes observations searchable and forgets hold, in the order given. All events must have been added and
// flushed, and be of one space: those with the same Event.SpaceKey, for which only one Apply may run at a time. applied
// is the sequence through which everything has been applied before.
//
// An error is about the event at the returned index; those before it are applied, those behind it are not.
func (s *Shard) Apply(events []*Event, applied uint64) (int, error) {
	if len(events) == 0 {
		return 0, nil
	}
	sp := events[0].space
	if sp == nil {
		return 0, fmt.Errorf("%w: event %d was not added to the shard", ErrUnknownSpace, events[0].Sequence)
	}
	if sp.gone.Load() {
		return len(events), nil // dropped while they were on their way
	}
	sp.pruneSome(applied)
	for i, e := range events {
		if e.space != sp {
			return i, fmt.Errorf("%w: event %d is of another space than the first of its batch", ErrUnknownSpace, e.Sequence)
		}
		switch e.Kind {
		case KindObserve:
			if err := sp.insert(s.hasher.key(e.ID), e.Sequence, e.ExpiresAt, e.ref, e.Vector); err != nil {
				return i, fmt.Errorf("indexing %q of space %q: %w", e.ID, sp.def.Name, err)
			}
		case KindForget:
			for _, id := range e.IDs {
				sp.forget(s.hasher.key(id), e.Sequence)
			}
		}
	}
	return len(events), nil
}

// Checkpoint makes everything durable that was flushed before the call, whatever the number of spaces, with one record
// and one fsync (two where a segment was begun since the last one). It does nothing when nothing is new.
//
// A failed fsync fails the shard for good: see ErrFailed.
func (s *Shard) Checkpoint(now time.Time) error {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	if err := s.Usable(); err != nil {
		return err
	}
	through := s.appended.Load()
	if through == s.durable.Load() {
		return nil
	}
	rec := record{kind: kindCheckpoint, sequence: through, published: now.UnixNano(), body: []byte(checkpointMagic)}
	b, err := appendRecord(nil, &rec, "")
	if err != nil {
		return err
	}
	s.logMu.Lock()
	segment, offset, err := s.log.append(b)
	s.logMu.Unlock()
	if err != nil {
		return fmt.Errorf("writing a checkpoint: %w", err)
	}
	if err := s.log.sync(); err != nil {
		err = errors.Join(err, s.log.void(segment, offset))
		s.failed.CompareAndSwap(nil, &err)
		return err
	}
	s.durable.Store(through)
	return nil
}

// Spaces returns the number of living spaces.
func (s *Shard) Spaces() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.spaces)
}

// Usable returns why the shard takes nothing any more, ErrFailed or ErrClosed; nil when it does.
func (s *Shard) Usable() error {
	if s.closed.Load() {
		return ErrClosed
	}
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Close takes a last checkpoint and closes the files. Searches that still run may fail with ErrClosed; the caller
// ends appending and applying before.
func (s *Shard) Close() error {
	err := s.Checkpoint(time.Now())
	if errors.Is(err, ErrClosed) {
		return nil
	}
	return errors.Join(err, s.Abandon())
}

// Abandon closes the files without a checkpoint: what a shard that failed is left with.
func (s *Shard) Abandon() error {
	// Neither a checkpoint nor a flush is under way while the files go away.
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	s.logMu.Lock()
	defer s.logMu.Unlock()
	if s.closed.Swap(true) {
		return nil
	}
	return s.log.close()
}

// SetAside renames a shard's directory, so that it can be built anew while what it held is kept for a look at it. It
// returns the new name.
func SetAside(dir string, now time.Time) (string, error) {
	dir = filepath.Clean(dir) // with a slash at its end the new name would be inside it
	for n := 0; ; n++ {
		aside := fmt.Sprintf("%s.aside-%s-%d", dir, now.UTC().Format("20060102T150405"), n)
		if _, err := os.Lstat(aside); err == nil {
			continue
		}
		if err := os.Rename(dir, aside); err != nil {
			return "", fmt.Errorf("setting a shard's directory aside: %w", err)
		}
		return aside, nil
	}
}
