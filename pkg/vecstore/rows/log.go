package rows

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/engram-memory/engram/pkg/vfs"
)

// Log is the log of a shard.
//
// Its locks are taken in this order: ckptMu, logMu, rewriteMu, listMu, syncMu, mu.
type Log struct {
	fsys vfs.FS
	dir  string
	src  Source
	opt  Options

	files atomic.Pointer[table] // nil once the log is closed
	mu    sync.Mutex            // over replacing files, and over unsynced, sealed and nextID
	// unsynced are segments that were closed for writing and that no sync has covered since.
	unsynced []*file
	// sealed is what the last sync has covered of the last segment.
	sealed Segment
	nextID uint32

	appended atomic.Uint64
	durable  atomic.Uint64
	bytes    atomic.Int64
	failed   atomic.Pointer[error]
	closed   atomic.Bool

	appender

	ckptMu sync.Mutex // one checkpoint at a time
	// listMu makes changes of the list of segments follow each other. With it, doubtful are files that the
	// manifest may or may not name, since a Commit failed: they are removed after the next one that succeeds.
	listMu   sync.Mutex
	doubtful []*file
	syncMu   sync.Mutex // one sync at a time
	// rewriteMu lets one rewriting run at a time.
	rewriteMu sync.Mutex
}

// Key returns the Key of an id.
func (l *Log) Key(id string) Key { return l.opt.HashKey.Key(id) }

// Appended returns the sequence through which the log has everything: where to fetch from next, less one.
func (l *Log) Appended() uint64 { return l.appended.Load() }

// Durable returns the sequence through which everything survives a loss of power. After an open it can be behind
// what had been reached before, until the next Checkpoint.
func (l *Log) Durable() uint64 { return l.durable.Load() }

// Bytes returns the size of the segments, those included that were rewritten and are not retired yet.
func (l *Log) Bytes() int64 { return l.bytes.Load() }

// Usable returns why the log takes nothing any more, ErrFailed or ErrClosed; nil when it does.
func (l *Log) Usable() error {
	if l.closed.Load() {
		return ErrClosed
	}
	if err := l.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Segments returns the list that was last given to Commit, or to Open. The last one is open, with a Length of 0.
func (l *Log) Segments() []Segment {
	t := l.files.Load()
	if t == nil {
		return nil
	}
	return t.segments()
}

// Sealed returns Segments with the length and the entries of the last one as far as they are durable: what the manifest
// of a clean close holds. The next Open takes nothing below for torn.
func (l *Log) Sealed() []Segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.Segments()
	if n := len(list); n > 0 && list[n-1].ID == l.sealed.ID {
		list[n-1] = l.sealed
	}
	return list
}

// Vouched returns the segments as far as they are known to be durable: what the manifest of a log names that has failed,
// whose last checkpoint may be lost with what came after it.
func (l *Log) Vouched() []Segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.Segments()
	for i, s := range list {
		if s.ID == l.sealed.ID {
			list[i] = l.sealed
			return list[:i+1]
		}
	}
	return list
}

// Read returns the record at a ref, checked, and the buffer for the next call, which the record may point into: buf, or a
// larger one where buf was too small. It fails with ErrMoved when the segment was retired, ErrClosed after Close, and
// ErrCorrupt when the bytes are not those that were written.
func (l *Log) Read(r Ref, buf []byte) (Record, []byte, error) {
	f, err := l.hold(r.File())
	if err != nil {
		return Record{}, buf, err
	}
	rec, buf, err := f.read(r, buf)
	// A file that was retired meanwhile and cannot be removed is one for the next open to remove.
	_ = f.release()
	return rec, buf, err
}

// Visit calls visit with the record at a ref, checked, and returns the buffer for the next call, and the error of visit. The
// record is valid until visit returns: it may stand in mapped memory, so that nothing of it is copied, or in buf. Where a
// page of that memory cannot be read, the record is read from its file and visited once more. Visit fails as Read does.
func (l *Log) Visit(r Ref, buf []byte, visit func(Record) error) ([]byte, error) {
	f, err := l.hold(r.File())
	if err != nil {
		return buf, err
	}
	buf, err = f.visit(r, buf, visit)
	_ = f.release() // as in Read
	return buf, err
}

// Prefetch has the record at a ref brought to the cache, if its memory is mapped. It does not wait.
func (l *Log) Prefetch(r Ref) {
	if t := l.files.Load(); t != nil {
		if f := t.byID[r.File()]; f != nil {
			f.windows.prefetch(r.Length(), r.Offset())
		}
	}
}

// hold returns the file of an id, which the caller releases.
func (l *Log) hold(id uint32) (*file, error) {
	for {
		t := l.files.Load()
		if t == nil {
			return nil, ErrClosed
		}
		f := t.byID[id]
		if f == nil {
			return nil, l.missing(id)
		}
		if f.hold() {
			return f, nil
		}
		// It was let go between the two; so the table is another one by now.
	}
}

func (l *Log) missing(id uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id == 0 || id >= l.nextID {
		return fmt.Errorf("%w: a ref into file %d, which never was", ErrCorrupt, id)
	}
	return fmt.Errorf("%w: file %d was retired", ErrMoved, id)
}

// publish replaces the table by one with this order, and with files added to and taken from those that can be read.
func (l *Log) publish(order []*file, add []*file, remove ...*file) {
	t := &table{order: order, byID: maps.Clone(l.files.Load().byID)}
	for _, f := range add {
		f.windows.grown(f.length)
		t.byID[f.id] = f
		l.bytes.Add(f.length)
	}
	for _, f := range remove {
		delete(t.byID, f.id)
		l.bytes.Add(-f.length)
	}
	l.files.Store(t)
}

// fail makes a failed fsync the end of the log, and returns why it ended.
func (l *Log) fail(err error) error {
	err = fmt.Errorf("%w: %w", ErrFailed, err)
	l.failed.CompareAndSwap(nil, &err)
	return *l.failed.Load()
}

// sync makes everything durable that was written before the call.
func (l *Log) sync() error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	// What a failed sync should have covered is lost to later ones too, though they succeed.
	if err := l.Usable(); err != nil {
		return err
	}
	l.mu.Lock()
	closed := len(l.unsynced)
	files := append([]*file(nil), l.unsynced...)
	if last := l.files.Load().last(); last != nil {
		files = append(files, last)
	}
	l.mu.Unlock()
	for _, f := range files {
		if err := f.seg.Sync(); err != nil {
			return l.fail(err)
		}
	}
	l.mu.Lock()
	l.unsynced = l.unsynced[closed:]
	l.mu.Unlock()
	return nil
}

// commit has the manifest stored with a list of segments. listMu is held.
func (l *Log) commit(order []*file) error {
	l.mu.Lock()
	next := l.nextID
	l.mu.Unlock()
	if err := l.opt.Commit(segmentsOf(order), next); err != nil {
		return fmt.Errorf("storing the list of segments: %w", err)
	}
	// Now it is known what the manifest does not name. What cannot be removed, the next open removes.
	for _, f := range l.doubtful {
		_ = f.remove()
	}
	l.doubtful = nil
	return nil
}

// Close closes the files without a checkpoint. Reads that are under way go on to their end; rewriting is broken off, when
// RewriteOptions.Pace returns.
func (l *Log) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.ckptMu.Lock()
	defer l.ckptMu.Unlock()
	l.logMu.Lock()
	defer l.logMu.Unlock()
	l.rewriteMu.Lock()
	defer l.rewriteMu.Unlock()
	l.listMu.Lock()
	defer l.listMu.Unlock()
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.files.Swap(nil)
	var errs []error
	if l.prepared != nil {
		errs = append(errs, l.prepared.closeIndex(), l.prepared.release())
	}
	for _, f := range t.byID {
		errs = append(errs, f.closeIndex(), f.release())
	}
	return errors.Join(errs...)
}
