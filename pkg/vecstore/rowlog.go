package vecstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// ref tells where a record stands: segment (20 bits), offset/8 (26 bits), length/8 (18 bits).
type ref uint64

const (
	refLengthBits = 18
	refOffsetBits = 26
	// maxSegment is what a ref can address; Options.SegmentSize is at most that.
	maxSegment = 8 << refOffsetBits
)

func makeRef(segment uint32, offset int64, length uint32) ref {
	return ref(segment)<<(refOffsetBits+refLengthBits) | ref(offset/8)<<refLengthBits | ref(length/8)
}

func (r ref) segment() uint32 { return uint32(r >> (refOffsetBits + refLengthBits)) }
func (r ref) offset() int64   { return int64(r>>refLengthBits&(1<<refOffsetBits-1)) * 8 }
func (r ref) length() int     { return int(r&(1<<refLengthBits-1)) * 8 }

// rowLog is the segmented file of a shard. One goroutine appends; any number read what was appended before they
// learned its ref; sync may run beside both.
type rowLog struct {
	dir         string
	src         Source
	segmentSize int64

	mu    sync.RWMutex // guards files as a slice, not the files
	files []*os.File   // by segment number - 1

	// Of the appender alone.
	end    int64 // where the next record of the last segment goes
	ragged bool  // a failed write may have left bytes behind end

	// syncMu lets one sync run at a time. dirty is the lowest segment with records that no sync covers.
	syncMu sync.Mutex
	dirty  int
}

func segmentName(number int) string { return fmt.Sprintf("rows-%08d.seg", number) }

// segments lists the numbers of the segments in a directory, which must be 1..n without a gap.
func segments(dir string) (int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("reading the shard's directory: %w", err)
	}
	have := map[string]bool{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "rows-") && strings.HasSuffix(e.Name(), ".seg") {
			have[e.Name()] = true
		}
	}
	for n := 1; n <= len(have); n++ {
		if !have[segmentName(n)] {
			return 0, fmt.Errorf("%w: %s is missing among %d segments", ErrCorrupt, segmentName(n), len(have))
		}
	}
	return len(have), nil
}

// roll closes the last segment for writing and begins the next one.
func (l *rowLog) roll() error {
	number := len(l.files) + 1
	path := filepath.Join(l.dir, segmentName(number))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("beginning a segment: %w", err)
	}
	header := appendSegmentHeader(nil, segmentInfo{number: uint32(number), src: l.src, previousEnd: l.end})
	if _, err := f.WriteAt(header, 0); err != nil {
		return errors.Join(fmt.Errorf("beginning a segment: %w", err), f.Close(), os.Remove(path))
	}
	// The name must survive a loss of power before any record in it counts as durable.
	if err := syncDir(l.dir); err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	l.mu.Lock()
	l.files = append(l.files, f)
	l.mu.Unlock()
	l.end = segmentHeader
	return nil
}

// append writes encoded records with one call and returns the segment and the offset of the first. After an error
// nothing of them counts as written: the next append goes to the same place.
func (l *rowLog) append(b []byte) (segment uint32, offset int64, err error) {
	if l.ragged {
		// What comes now may be shorter than what was half written: whole records of that would follow it.
		if err := l.files[len(l.files)-1].Truncate(l.end); err != nil {
			return 0, 0, fmt.Errorf("removing what a failed write left behind: %w", err)
		}
		l.ragged = false
	}
	if len(l.files) == 0 || l.end+int64(len(b)) > l.segmentSize && l.end > segmentHeader {
		if err := l.roll(); err != nil {
			return 0, 0, err
		}
	}
	f := l.files[len(l.files)-1]
	if _, err := f.WriteAt(b, l.end); err != nil {
		l.ragged = true
		return 0, 0, fmt.Errorf("appending %d bytes to the row log: %w", len(b), err)
	}
	offset = l.end
	l.end += int64(len(b))
	return uint32(len(l.files)), offset, nil
}

// sync makes everything durable that was appended before the call.
func (l *rowLog) sync() error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.RLock()
	files := l.files[l.dirty:]
	l.mu.RUnlock()
	for _, f := range files {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("%w: %w", ErrFailed, err)
		}
	}
	// The last segment is still being written to.
	l.dirty += max(len(files)-1, 0)
	return nil
}

// void overwrites a checkpoint that says what is not so, because the sync behind it failed.
func (l *rowLog) void(segment uint32, offset int64) error {
	l.mu.RLock()
	f := l.files[segment-1]
	l.mu.RUnlock()
	if _, err := f.WriteAt(make([]byte, checkpointLength), offset); err != nil {
		return fmt.Errorf("taking back a checkpoint: %w", err)
	}
	return nil
}

// read returns a verified record in buf, which it may grow and which the record points into.
func (l *rowLog) read(r ref, buf []byte) (record, []byte, error) {
	l.mu.RLock()
	var f *os.File
	if n := int(r.segment()); n >= 1 && n <= len(l.files) {
		f = l.files[n-1]
	}
	l.mu.RUnlock()
	if f == nil {
		return record{}, buf, ErrClosed
	}
	if cap(buf) < r.length() {
		buf = make([]byte, r.length())
	}
	buf = buf[:r.length()]
	if _, err := f.ReadAt(buf, r.offset()); errors.Is(err, os.ErrClosed) {
		return record{}, buf, ErrClosed
	} else if err == io.EOF {
		return record{}, buf, fmt.Errorf("%w: the record of %s at %d is cut off", ErrCorrupt, f.Name(), r.offset())
	} else if err != nil {
		return record{}, buf, fmt.Errorf("reading a record of %s at %d: %w", f.Name(), r.offset(), err)
	}
	rec, err := parseRecord(buf)
	if err != nil || int(rec.length) != r.length() {
		return record{}, buf, fmt.Errorf("%w: the record of %s at %d does not match its checksum", ErrCorrupt, f.Name(), r.offset())
	}
	return rec, buf, nil
}

func (l *rowLog) bytes() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var total int64
	for _, f := range l.files {
		if st, err := f.Stat(); err == nil {
			total += st.Size()
		}
	}
	return total
}

func (l *rowLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, f := range l.files {
		errs = append(errs, f.Close())
	}
	l.files = nil
	return errors.Join(errs...)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening a directory to sync it: %w", err)
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("syncing directory %s: %w", dir, err)
	}
	return nil
}
