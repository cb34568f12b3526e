package rows

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Export is the log as it was at one moment, durable and readable until Close, whatever is appended, rewritten and retired
// meanwhile: what a loss of power at that moment would have left, and nothing that came later.
type Export struct {
	files    []*file
	segments []Segment
	position uint64
	nextID   uint32
	tail     []byte // the record that ends the last segment here, and not in its file
}

// ErrNothing is returned for the export of a log that has no segment yet.
var ErrNothing = errors.New("the row log is empty")

// Export makes what was flushed before the call durable and returns it. Behind the last record comes a checkpoint that
// the log itself need not have: it says which sequences were looked at, those included that have no record. look, if it is
// set, is called while the list of segments is what the manifest has.
func (l *Log) Export(now time.Time, look func()) (*Export, error) {
	e, err := l.export(now, look)
	if err != nil {
		return nil, fmt.Errorf("exporting the row log: %w", err)
	}
	if err := l.sync(); err != nil {
		return nil, errors.Join(fmt.Errorf("exporting the row log: %w", err), e.Close())
	}
	return e, nil
}

func (l *Log) export(now time.Time, look func()) (*Export, error) {
	l.logMu.Lock()
	defer l.logMu.Unlock()
	l.listMu.Lock()
	defer l.listMu.Unlock()
	if err := l.Usable(); err != nil {
		return nil, err
	}
	t := l.files.Load()
	last := t.last()
	if last == nil {
		return nil, ErrNothing
	}
	e := &Export{position: l.appended.Load(), segments: t.segments()}
	rec := checkpointRecord(e.position, now.UnixNano(), place{last.id, last.length})
	var err error
	if e.tail, err = appendRecord(nil, &rec); err != nil {
		return nil, err
	}
	end := last.length + int64(len(e.tail))
	if end > MaxSegment {
		return nil, fmt.Errorf("%w: %s is full; with the next record another segment begins", ErrTooLarge, segmentName(last.id))
	}
	e.segments[len(e.segments)-1] = Segment{ID: last.id, Length: end, Entries: last.entries + 1}
	for _, f := range t.order {
		f.hold() // which cannot fail: the table has it, and listMu is held
		e.files = append(e.files, f)
	}
	l.mu.Lock()
	e.nextID = l.nextID
	l.mu.Unlock()
	if look != nil {
		look()
	}
	return e, nil
}

// Position returns the sequence through which the export has everything.
func (e *Export) Position() uint64 { return e.position }

// Segments returns the segments in the order of the log, all of them with their length and entries. The caller must not
// change the slice.
func (e *Export) Segments() []Segment { return e.segments }

// NextID returns an id that no segment has, nor had.
func (e *Export) NextID() uint32 { return e.nextID }

// Segment returns the bytes of a segment, by its place in Segments. They may be read until Close.
func (e *Export) Segment(i int) io.ReaderAt {
	if i < len(e.files)-1 {
		return e.files[i].seg
	}
	return &exported{e: e, file: e.files[i]}
}

// exported is the last segment of an export.
type exported struct {
	e    *Export
	file *file
}

// ReadAt reads from the file what stands before the tail, and the rest from that.
func (x *exported) ReadAt(p []byte, at int64) (n int, err error) {
	end := x.e.segments[len(x.e.segments)-1].Length
	own := end - int64(len(x.e.tail))
	if at < own {
		n, err = x.file.seg.ReadAt(p[:min(int64(len(p)), own-at)], at)
		if err != nil {
			return n, err
		}
	}
	if n == len(p) {
		return n, nil
	}
	if from := at + int64(n) - own; from < int64(len(x.e.tail)) {
		n += copy(p[n:], x.e.tail[from:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Close lets go of the segments; those that were retired meanwhile are removed.
func (e *Export) Close() error {
	var errs []error
	for _, f := range e.files {
		errs = append(errs, f.release())
	}
	e.files = nil
	return errors.Join(errs...)
}
