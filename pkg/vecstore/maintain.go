package vecstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// maintainer compacts in the background what has become worth it, in a goroutine of its own.
type maintainer struct {
	looked time.Time // of who takes checkpoints, as is
	cooled time.Time // when windows of the row log were let go last
	wrote  time.Time // when columns were written back last
	part   int64     // which part of them that was
	signal chan time.Time
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
	failed atomic.Pointer[error]
	stuck  atomic.Pointer[error] // why windows of the row log could not be let go
}

const (
	// coolEvery is how often windows of the row log that were not read are let go. A round of maintenance may take far longer than
	// they are to stay.
	coolEvery = 5 * time.Second
	// The disk is asked every writeBackEvery to write another one of writeBackParts of what has changed in columns: each is
	// written before the kernel takes it for old, after 30 seconds as a rule, and keeps the disk busy for a second with all of it.
	// What shares the disk, the streams above all, would wait for that.
	writeBackEvery = time.Second
	writeBackParts = 8
	// maintainEvery is how often it is looked whether anything is worth it.
	maintainEvery = 10 * time.Second
	// A space is compacted when so many rows, and one of so many, can be reclaimed.
	reclaimRows  = 1024
	reclaimRatio = 4
	// The row log is written anew when so many bytes, and one of so many, are of no use.
	rewriteBytes = 64 << 20
	rewriteRatio = 3
	// restAfter is for how long a space is left alone when compacting it has failed.
	restAfter = 10 * time.Minute
)

func (m *maintainer) start(s *Shard) {
	m.signal = make(chan time.Time, 1)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.done.Go(func() {
		for {
			select {
			case now := <-m.signal:
				err := s.maintain(m.ctx, now)
				m.failed.Store(&err)
			case <-m.ctx.Done():
				return
			}
		}
	})
}

func (m *maintainer) stop() {
	m.cancel()
	m.done.Wait()
}

// tick lets go of what was mapped and is not read any more, has the disk write what was changed, and has the goroutine look
// around, now and then.
func (m *maintainer) tick(s *Shard, now time.Time) {
	if now.Sub(m.wrote) >= writeBackEvery {
		m.wrote, m.part = now, (m.part+1)%writeBackParts
		s.writeBack(m.part)
	}
	if now.Sub(m.cooled) >= coolEvery {
		m.cooled = now
		err := s.log.Cool(now)
		m.stuck.Store(&err)
	}
	if now.Sub(m.looked) < maintainEvery {
		return
	}
	m.looked = now
	select {
	case m.signal <- now:
	default: // it is still at it
	}
}

// writeBack has the disk write a part of the columns of all spaces.
func (s *Shard) writeBack(part int64) {
	for _, sp := range s.living() {
		if x, ok := sp.gen.Load().engine.Load().graph(); ok {
			x.file.WriteBack(part, writeBackParts)
		}
	}
}

// Maintenance returns what the last round in the background found wrong: why a compaction failed, what the scrubber has
// found damaged, or why memory could not be unmapped; nil when all is well.
func (s *Shard) Maintenance() error {
	var errs []error
	for _, err := range []*error{s.maintainer.failed.Load(), s.maintainer.stuck.Load()} {
		if err != nil {
			errs = append(errs, *err)
		}
	}
	return errors.Join(errs...)
}

// maintain compacts the spaces that are worth it, resting as long as it works, scrubs, and then compacts the row log.
func (s *Shard) maintain(ctx context.Context, now time.Time) error {
	var errs []error
	for _, sp := range s.living() {
		if s.linkable(sp, sp.gen.Load()) {
			s.linker.wake(sp) // what could not be linked, on a full disk for one, is tried again
		}
		if err := s.maintainSpace(ctx, sp, now); err != nil && !sp.gone.Load() {
			sp.restUntil.Store(now.Add(restAfter).UnixNano())
			errs = append(errs, fmt.Errorf("compacting space %q: %w", sp.def.Name, err))
		}
	}
	errs = append(errs, s.scrub(ctx, now))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if lost := s.garbage.total(); lost < rewriteBytes || lost < s.log.Bytes()/rewriteRatio {
		return nil
	}
	s.compacting.Lock()
	defer s.compacting.Unlock()
	return s.rewriteLog(ctx, false)
}

func (s *Shard) maintainSpace(ctx context.Context, sp *space, now time.Time) error {
	if g := sp.gen.Load(); g.dead.Load()+g.expiring.Load() < reclaimRows || now.UnixNano() < sp.restUntil.Load() {
		return nil
	}
	s.compacting.Lock()
	defer s.compacting.Unlock()
	c := &compaction{s: s, sp: sp, ctx: ctx, now: now, worth: func(rows, removed uint32) bool {
		return removed >= reclaimRows && removed >= rows/reclaimRatio
	}}
	c.pace = func(worked time.Duration) error {
		t := time.NewTimer(worked)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	_, _, err := c.run()
	return err
}
