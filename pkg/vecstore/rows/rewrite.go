package rows

import (
	"errors"
	"fmt"
	"slices"
)

// RewriteOptions say what of a run of segments is kept, and how.
type RewriteOptions struct {
	// Keep tells whether a record is kept, by its entry. A forget is kept whole when one of its entries is. Checkpoints are
	// not asked for: a rewritten segment ends with one. The entry is used again for the next one.
	Keep func(e *Entry) bool
	// Compress compresses the payload of records with s2 where that saves a sixteenth.
	Compress bool
	// Pace, if it is set, is called now and then with the number of bytes read since its last call. It may wait, and ends
	// the rewriting with an error.
	Pace func(bytes int) error
}

// paceEvery is how many bytes are read from one Pace to the next, about.
const paceEvery = 1 << 20

// Rewritten is a run of segments written anew, as one segment that is not yet part of the log.
type Rewritten struct {
	file *file
	runs []moved
	// doubtful: a Commit that failed may have put it into the manifest all the same.
	doubtful bool
}

// moved has where the kept records of one segment were and are. Both are in order.
type moved struct {
	id       uint32
	old, new []Ref
}

// Segment returns the new segment.
func (w *Rewritten) Segment() Segment {
	return Segment{ID: w.file.id, Length: w.file.length, Entries: w.file.entries}
}

// Moved returns where a record of the old segments stands in the new one, and false when it was not kept.
func (w *Rewritten) Moved(old Ref) (Ref, bool) {
	for _, run := range w.runs {
		if run.id != old.File() {
			continue
		}
		if i, ok := slices.BinarySearch(run.old, old); ok {
			return run.new[i], true
		}
	}
	return 0, false
}

// Rewrite writes what is to be kept of closed segments that follow each other into one new segment, in their order, and
// makes that durable. The log is as before until Replace. Records can be read at their new refs from now on.
func (l *Log) Rewrite(ids []uint32, opt RewriteOptions) (*Rewritten, error) {
	l.rewriteMu.Lock()
	defer l.rewriteMu.Unlock()
	if err := l.Usable(); err != nil {
		return nil, err
	}
	old, err := l.run(ids)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, f := range old {
			_ = f.release() // the log still has it
		}
	}()
	// The new segment vouches for itself and for everything before it.
	if err := l.sync(); err != nil {
		return nil, err
	}
	f, err := l.create()
	if err != nil {
		return nil, fmt.Errorf("beginning a segment: %w", err)
	}
	w := &rewriter{l: l, opt: opt, Rewritten: &Rewritten{file: f}}
	if err := w.write(old); err != nil {
		err = fmt.Errorf("rewriting segments %d: %w", ids, err)
		if gone := f.abandon(); gone != nil {
			return nil, errors.Join(err, gone)
		}
		l.giveBack(f.id)
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.publish(l.files.Load().order, []*file{f})
	return w.Rewritten, nil
}

// run holds and returns the files of closed segments, which must follow each other in the log.
func (l *Log) run(ids []uint32) ([]*file, error) {
	if len(ids) == 0 {
		return nil, errors.New("no segments to rewrite")
	}
	l.listMu.Lock()
	defer l.listMu.Unlock()
	order := l.files.Load().order
	at := slices.IndexFunc(order, func(f *file) bool { return f.id == ids[0] })
	if at < 0 || at+len(ids) >= len(order) {
		return nil, fmt.Errorf("segments %d are not closed ones of the log", ids)
	}
	run := order[at : at+len(ids)]
	for i, f := range run {
		if f.id != ids[i] {
			return nil, fmt.Errorf("segments %d do not follow each other in the log", ids)
		}
	}
	for _, f := range run {
		f.hold()
	}
	return run, nil
}

// rewriter fills a new segment.
type rewriter struct {
	*Rewritten
	l       *Log
	opt     RewriteOptions
	reader  recordReader
	entry   Entry
	entries []Entry // of one record
	records []byte
	index   []byte
	scratch []byte
	read    int
	last    Record // sequence and time of the last record
}

func (w *rewriter) write(old []*file) error {
	for _, f := range old {
		if err := w.copy(f); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	f := w.file
	rec := checkpointRecord(w.last.Sequence, w.last.Published, place{f.id, f.length})
	b, err := appendRecord(nil, &rec)
	if err != nil {
		return err
	}
	if _, err := w.look(&rec, 0); err != nil {
		return err
	}
	if _, err := w.put(b, false); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	return errors.Join(f.seg.Sync(), f.idx.Sync(), f.closeIndex())
}

// copy goes through one of the old segments.
func (w *rewriter) copy(f *file) error {
	w.runs = append(w.runs, moved{id: f.id})
	run := &w.runs[len(w.runs)-1]
	for w.reader.reset(f.seg, segmentHeader, f.length); ; {
		rec, at, err := w.reader.next()
		if err != nil {
			return err
		}
		if rec == nil && at != f.length {
			return fmt.Errorf("%w: %s is bad at %d", ErrCorrupt, segmentName(f.id), at)
		}
		if rec == nil {
			return nil
		}
		w.last.Sequence, w.last.Published = max(w.last.Sequence, rec.Sequence), rec.Published
		raw := w.reader.raw
		if err := w.pace(len(raw)); err != nil {
			return err
		}
		if rec.Kind == KindCheckpoint {
			continue
		}
		old := makeRef(f.id, at, int64(len(raw)))
		keep, err := w.look(rec, old)
		if err != nil {
			return err
		}
		if !keep {
			continue
		}
		ref, err := w.put(raw, w.opt.Compress)
		if err != nil {
			return err
		}
		run.old, run.new = append(run.old, old), append(run.new, ref)
	}
}

// look makes the entries of a record and tells whether it is to be kept.
func (w *rewriter) look(rec *Record, at Ref) (keep bool, err error) {
	w.entries = w.entries[:0]
	err = w.l.opt.HashKey.entries(rec, at, &w.entry, func() error {
		w.entries = append(w.entries, w.entry)
		keep = keep || rec.Kind != KindCheckpoint && w.opt.Keep(&w.entry)
		return nil
	})
	return keep, err
}

// put buffers a record, of which look has made the entries, and returns where it will stand.
func (w *rewriter) put(raw []byte, compress bool) (Ref, error) {
	before := len(w.records)
	if compress {
		w.records, w.scratch = packRecord(w.records, raw, w.scratch)
	} else {
		w.records = append(w.records, raw...)
	}
	at, length := w.file.length+int64(before), int64(len(w.records)-before)
	if at+length > MaxSegment {
		return 0, fmt.Errorf("%w: the new segment would be larger than %d bytes", ErrTooLarge, MaxSegment)
	}
	ref := makeRef(w.file.id, at, length)
	for i := range w.entries {
		w.entries[i].Ref = ref
		w.index = appendEntry(w.index, &w.entries[i])
	}
	if len(w.records) < paceEvery {
		return ref, nil
	}
	return ref, w.flush()
}

func (w *rewriter) flush() error {
	f := w.file
	if _, err := f.seg.WriteAt(w.records, f.length); err != nil {
		return err
	}
	if _, err := f.idx.WriteAt(w.index, f.indexEnd()); err != nil {
		return err
	}
	f.length += int64(len(w.records))
	f.entries += uint32(len(w.index) / indexEntry)
	w.records, w.index = w.records[:0], w.index[:0]
	return nil
}

func (w *rewriter) pace(n int) error {
	if w.read += n; w.read < paceEvery {
		return nil
	}
	n, w.read = w.read, 0
	if w.l.closed.Load() {
		return ErrClosed
	}
	if w.opt.Pace == nil {
		return nil
	}
	return w.opt.Pace(n)
}
