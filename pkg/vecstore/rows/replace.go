package rows

import (
	"errors"
	"fmt"
	"slices"
)

// Replace puts rewritten segments in the place of the old ones, with one Commit. Afterwards the caller gives its rows
// their new refs and then retires the old segments. After an error it may be called again, or the rewritten segments
// given up with Discard.
func (l *Log) Replace(ws ...*Rewritten) error {
	l.listMu.Lock()
	defer l.listMu.Unlock()
	if err := l.Usable(); err != nil {
		return err
	}
	order := slices.Clone(l.files.Load().order)
	for _, w := range ws {
		at := slices.IndexFunc(order, func(f *file) bool { return f.id == w.runs[0].id })
		if at < 0 || at+len(w.runs) >= len(order) {
			return fmt.Errorf("segment %d is not one of the log any more", w.runs[0].id)
		}
		for i, run := range w.runs {
			if order[at+i].id != run.id {
				return fmt.Errorf("segment %d is not one of the log any more", run.id)
			}
		}
		order = slices.Replace(order, at, at+len(w.runs), w.file)
	}
	if err := l.commit(order); err != nil {
		for _, w := range ws {
			w.doubtful = true
		}
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.publish(order, nil)
	return nil
}

// Discard removes a rewritten segment that was not put into place.
func (l *Log) Discard(w *Rewritten) error {
	l.listMu.Lock()
	defer l.listMu.Unlock()
	if w.doubtful {
		if _, err := l.letGo(w.file.id); err != nil {
			return err
		}
		l.doubtful = append(l.doubtful, w.file)
		return w.file.release()
	}
	return l.retire(w.file.id)
}

// Retire lets go of segments that were replaced: reads of their refs fail with ErrMoved, and their files are removed when
// the last read that is under way has ended.
func (l *Log) Retire(ids ...uint32) error {
	l.listMu.Lock()
	defer l.listMu.Unlock()
	var errs []error
	for _, id := range ids {
		errs = append(errs, l.retire(id))
	}
	return errors.Join(errs...)
}

func (l *Log) retire(id uint32) error {
	f, err := l.letGo(id)
	if err != nil {
		return err
	}
	f.retired.Store(true)
	return f.release()
}

// letGo takes a file that is not in the log out of those that can be read.
func (l *Log) letGo(id uint32) (*file, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.files.Load()
	if t == nil {
		return nil, ErrClosed
	}
	f := t.byID[id]
	if f == nil || slices.Contains(t.order, f) {
		return nil, fmt.Errorf("segment %d is not one that was replaced", id)
	}
	l.publish(t.order, nil, f)
	return f, nil
}
