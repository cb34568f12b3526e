package rows

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/engram-memory/engram/pkg/vfs"
)

// maxAppend is how many bytes of records Flush writes with one call at the most, and what is kept of the buffer for the
// next batch.
const maxAppend = 8 << 20

// appender is the part of a log that turns records into bytes at its end.
type appender struct {
	// Of the goroutine that adds. records has the encoded records since the last Flush that succeeded, entries their
	// entries, and added how much of both each record has. refs are of those of them that are written, which done counts.
	records []byte
	entries []Entry
	added   []added
	refs    []Ref
	done    added
	ids     []byte // the body of a forget
	through uint64

	// logMu makes the records of a checkpoint and of a batch follow each other.
	logMu sync.Mutex
	// Of who holds logMu. ragged: a failed write may have left bytes behind the end of the segment or of the index.
	ragged bool
	index  []byte
	// prepared is a segment whose Commit failed. The manifest may name it or not, so that it has to be the next one.
	prepared *file
}

type added struct{ bytes, entries int }

// Add encodes a record for the next Flush. ids is the id of an observe, the ids of a forget (at least one), and empty for
// a define or drop; ID, and Body of a forget, are not looked at. Sequences may not fall (ErrOrder).
//
// A record that is refused (ErrTooLarge, ErrOrder, ErrRecord) leaves no trace.
func (l *Log) Add(r *Record, ids ...string) error {
	if r.Sequence < l.through {
		return fmt.Errorf("%w: %d behind %d", ErrOrder, r.Sequence, l.through)
	}
	rec := *r
	rec.ID = nil
	switch {
	case r.Kind == KindForget:
		l.ids = l.ids[:0]
		for _, id := range ids {
			l.ids = appendString(l.ids, id)
		}
		rec.Body = l.ids
	case r.Kind == KindObserve && len(ids) == 1:
		rec.ID = bytesOf(ids[0])
	case r.Kind == KindObserve || r.Kind == KindCheckpoint || len(ids) > 0:
		return fmt.Errorf("%w: kind %d with %d ids", ErrRecord, r.Kind, len(ids))
	}
	if what := rec.wrong(byte(rec.Encoding)); what != "" {
		return fmt.Errorf("%w: %s", ErrRecord, what)
	}
	return l.encode(&rec)
}

func (l *Log) encode(rec *Record) error {
	before := len(l.records)
	b, err := appendRecord(l.records, rec)
	if err != nil {
		return err
	}
	l.records = b
	// Where the record will stand is known when it is written: see place.
	entries := len(l.entries)
	var e Entry
	err = l.opt.HashKey.entries(rec, 0, &e, func() error {
		l.entries = append(l.entries, e)
		return nil
	})
	if err != nil {
		return err
	}
	l.added = append(l.added, added{len(l.records) - before, len(l.entries) - entries})
	l.through = rec.Sequence
	return nil
}

// Skip records that everything through a sequence was looked at, though the log has no record of it. It takes effect
// with the next Flush.
func (l *Log) Skip(through uint64) { l.through = max(l.through, through) }

// Through returns the highest sequence that was added or skipped, flushed or not.
func (l *Log) Through() uint64 { return l.through }

// Flush writes all added records and their entries, one write each where they fit into one, and returns where the records
// stand, in the order of Add; the slice is good until the next Add. After an error it may be called again, with more added
// in between or not: what had not been written is still there, and the refs are those of all of it.
func (l *Log) Flush() ([]Ref, error) {
	l.logMu.Lock()
	defer l.logMu.Unlock()
	if err := l.Usable(); err != nil {
		return nil, err
	}
	for len(l.refs) < len(l.added) {
		// As many whole records as go into one write.
		rest := l.added[len(l.refs):]
		n, size := 0, added{}
		for n < len(rest) && (n == 0 || size.bytes+rest[n].bytes <= maxAppend) {
			size.bytes += rest[n].bytes
			size.entries += rest[n].entries
			n++
		}
		records := l.records[l.done.bytes : l.done.bytes+size.bytes]
		entries := l.entries[l.done.entries : l.done.entries+size.entries]
		refs, err := l.write(records, rest[:n], entries, l.refs)
		if err != nil {
			return nil, err
		}
		l.refs = refs
		l.done.bytes += size.bytes
		l.done.entries += size.entries
		l.appended.Store(entries[len(entries)-1].Sequence)
	}
	l.appended.Store(l.through)
	return l.flushed(), nil
}

// flushed empties the buffers and returns the refs of what was in them.
func (l *Log) flushed() []Ref {
	if cap(l.records) > maxAppend {
		l.records, l.entries = nil, nil
	}
	l.records, l.entries, l.added, l.done = l.records[:0], l.entries[:0], l.added[:0], added{}
	refs := l.refs
	l.refs = l.refs[:0]
	return refs
}

// write writes records and their entries at the end of the log and appends their refs. After an error nothing of them
// counts as written: the next write goes to the same place.
func (l *Log) write(records []byte, parts []added, entries []Entry, refs []Ref) ([]Ref, error) {
	f, err := l.room(len(records))
	if err != nil {
		return refs, err
	}
	written := len(refs)
	offset, rest := f.length, entries
	l.index = l.index[:0]
	for _, p := range parts {
		ref := makeRef(f.id, offset, int64(p.bytes))
		for i := range rest[:p.entries] {
			rest[i].Ref = ref
			l.index = appendEntry(l.index, &rest[i])
		}
		rest = rest[p.entries:]
		refs = append(refs, ref)
		offset += int64(p.bytes)
	}
	l.ragged = true
	if _, err := f.seg.WriteAt(records, f.length); err != nil {
		return refs[:written], fmt.Errorf("appending %d bytes to the row log: %w", len(records), err)
	}
	if _, err := f.idx.WriteAt(l.index, f.indexEnd()); err != nil {
		return refs[:written], fmt.Errorf("appending %d entries to the index of the row log: %w", len(entries), err)
	}
	l.ragged = false
	f.length = offset
	f.writeBack()
	f.windows.grown(offset)
	f.entries += uint32(len(entries))
	l.bytes.Add(int64(len(records)))
	return refs, nil
}

// writeBackBytes is how much of the log the disk is asked to write at once. Without that the sync of a checkpoint would have
// all to write that has come since the last one, and what shares the disk, the streams above all, would wait for it.
const writeBackBytes = 1 << 20

// writeBack has the disk write what was appended, once it is enough. logMu is held.
func (f *file) writeBack() {
	end := f.length / vfs.PageSize * vfs.PageSize // the last page is not full yet
	if n := end - f.writing; n >= writeBackBytes {
		f.seg.WriteBack(f.writing, n)
		f.writing = end
	}
}

// indexEnd is where the next entry goes.
func (f *file) indexEnd() int64 { return indexEntry * (1 + int64(f.entries)) }

// room returns the segment that n bytes go into: the last one, or a new one where they do not fit into that.
func (l *Log) room(n int) (*file, error) {
	f := l.files.Load().last()
	if l.ragged {
		// What comes now may be shorter than what was half written: whole records of that would follow it.
		if err := errors.Join(f.seg.Truncate(f.length), f.idx.Truncate(f.indexEnd())); err != nil {
			return nil, fmt.Errorf("removing what a failed write left behind: %w", err)
		}
		l.ragged = false
	}
	// While it is not known whether the manifest has closed the last segment, nothing may be added to that.
	if f != nil && l.prepared == nil && (f.length+int64(n) <= l.opt.SegmentSize || f.length == segmentHeader) {
		return f, nil
	}
	return l.roll()
}

// Roll closes the last segment for writing, if it has any records, so that it can be rewritten.
func (l *Log) Roll() error {
	l.logMu.Lock()
	defer l.logMu.Unlock()
	if err := l.Usable(); err != nil {
		return err
	}
	if f := l.files.Load().last(); f == nil || f.length == segmentHeader {
		return nil
	}
	_, err := l.room(MaxSegment)
	return err
}

// roll closes the last segment for writing and begins the next one.
func (l *Log) roll() (*file, error) {
	l.listMu.Lock()
	defer l.listMu.Unlock()
	f := l.prepared
	if f == nil {
		var err error
		if f, err = l.create(); err != nil {
			return nil, fmt.Errorf("beginning a segment: %w", err)
		}
	}
	t := l.files.Load()
	order := append(t.order[:len(t.order):len(t.order)], f)
	l.prepared = f
	if err := l.commit(order); err != nil {
		return nil, fmt.Errorf("beginning a segment: %w", err)
	}
	l.prepared = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := t.last(); old != nil {
		l.unsynced = append(l.unsynced, old)
		// Its entries are written, and nothing relies on what a close says about them.
		_ = old.closeIndex()
	}
	l.publish(order, []*file{f})
	return f, nil
}

// create makes the files of a new segment, with their headers and so that header and names survive a loss of power.
func (l *Log) create() (*file, error) {
	l.mu.Lock()
	id := l.nextID
	l.nextID++
	l.mu.Unlock()
	if id > maxID {
		return nil, fmt.Errorf("all %d ids of files are used up", maxID)
	}
	f := &file{fsys: l.fsys, dir: l.dir, id: id, windows: newWindows(l.opt.Maps)}
	f.begin()
	err := f.make(l.src, &l.opt.HashKey)
	if err == nil {
		return f, nil
	}
	if errors.Is(err, fs.ErrExist) {
		return nil, err // not ours: another id the next time
	}
	if gone := f.abandon(); gone != nil {
		return nil, errors.Join(err, gone)
	}
	l.giveBack(id)
	return nil, err
}

// giveBack lets an id be used that no file has had in the end, if no other one has been taken since.
func (l *Log) giveBack(id uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nextID == id+1 {
		l.nextID = id
	}
}

func (f *file) make(src Source, key *HashKey) (err error) {
	if f.seg, err = f.fsys.Create(f.segPath()); err != nil {
		return err
	}
	header := appendSegmentHeader(nil, f.id, src)
	if _, err = f.seg.WriteAt(header, 0); err != nil {
		return err
	}
	if err = f.seg.Sync(); err != nil {
		return err
	}
	if f.idx, err = f.fsys.Create(f.idxPath()); err != nil {
		return err
	}
	if _, err = f.idx.WriteAt(appendIndexHeader(nil, f.id, header, key), 0); err != nil {
		return err
	}
	f.length = segmentHeader
	return f.fsys.SyncDir(filepath.Clean(f.dir))
}

// abandon closes and removes files that nothing knows of.
func (f *file) abandon() error {
	var errs []error
	if f.seg != nil {
		errs = append(errs, f.seg.Close())
	}
	return errors.Join(append(errs, f.closeIndex(), f.remove())...)
}
