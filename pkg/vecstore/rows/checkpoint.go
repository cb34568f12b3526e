package rows

import (
	"fmt"
	"time"
)

// Checkpoint makes everything durable that was flushed before the call, with one fsync (two where a segment was begun since
// the last one), and then writes a record that says so. It does nothing when nothing is new.
//
// A failed fsync fails the log for good: see ErrFailed. After another error, a full disk for one, it may be called again.
func (l *Log) Checkpoint(now time.Time) error {
	l.ckptMu.Lock()
	defer l.ckptMu.Unlock()
	through, end, err := l.position()
	if err != nil || through == l.durable.Load() {
		return err
	}
	if err := l.sync(); err != nil {
		return err
	}
	l.mu.Lock()
	l.sealed = end
	l.mu.Unlock()
	// The record comes behind the sync, so that it is true whatever becomes of it: it may be lost, and then an
	// earlier one counts, but it never speaks of what is not there.
	if err := l.note(through, now.UnixNano(), place{end.ID, end.Length}); err != nil {
		return err
	}
	l.durable.Store(through)
	return nil
}

// position returns the sequence through which the log has everything, and where it ends.
func (l *Log) position() (through uint64, end Segment, err error) {
	l.logMu.Lock()
	defer l.logMu.Unlock()
	if err := l.Usable(); err != nil {
		return 0, end, err
	}
	if f := l.files.Load().last(); f != nil {
		end = Segment{ID: f.id, Length: f.length, Entries: f.entries}
	}
	return l.appended.Load(), end, nil
}

// note writes a checkpoint at the end of the log.
func (l *Log) note(through uint64, taken int64, vouches place) error {
	rec := checkpointRecord(through, taken, vouches)
	b, err := appendRecord(nil, &rec)
	if err != nil {
		return err
	}
	l.logMu.Lock()
	defer l.logMu.Unlock()
	if err := l.Usable(); err != nil {
		return err
	}
	var e Entry
	return l.opt.HashKey.entries(&rec, 0, &e, func() error {
		if _, err := l.write(b, []added{{len(b), 1}}, []Entry{e}, nil); err != nil {
			return fmt.Errorf("writing a checkpoint: %w", err)
		}
		return nil
	})
}

func checkpointRecord(through uint64, taken int64, vouches place) Record {
	return Record{Kind: KindCheckpoint, Sequence: through, Published: taken, Body: appendCheckpoint(nil, vouches)}
}
