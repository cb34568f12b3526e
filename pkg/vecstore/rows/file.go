package rows

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync/atomic"

	"github.com/engram-memory/engram/pkg/vfs"
)

// file is a segment and its index. Readers hold it while they read; the log holds it as long as it is in the table. When
// nobody does any more, the segment is closed, and removed if the log has let go of it.
type file struct {
	fsys vfs.FS
	dir  string
	id   uint32
	seg  vfs.File
	// idx is open in the last segment alone, and nil elsewhere. Of who holds logMu.
	idx vfs.File
	// length and entries are how far the segment and its index go. Those of the last segment are of who holds logMu.
	length  int64
	entries uint32
	// writing is how far the disk was asked to write the segment. Of who holds logMu.
	writing int64

	holds
	retired atomic.Bool

	windows *windows
}

func (f *file) segPath() string { return filepath.Join(f.dir, segmentName(f.id)) }
func (f *file) idxPath() string { return filepath.Join(f.dir, indexName(f.id)) }

// release ends a hold. Only the last one has an error to return.
func (f *file) release() error {
	if !f.end() {
		return nil
	}
	err := errors.Join(f.windows.close(), f.seg.Close())
	if f.retired.Load() {
		err = errors.Join(err, f.remove())
	}
	return err
}

// remove removes the names of the file from the directory.
func (f *file) remove() error {
	err := errors.Join(removeFile(f.fsys, f.segPath()), removeFile(f.fsys, f.idxPath()))
	if err != nil {
		return fmt.Errorf("removing a segment: %w", err)
	}
	return nil
}

// removeFile removes a file, if it is there.
func removeFile(fsys vfs.FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// closeIndex closes the index of a segment that is not written to any more.
func (f *file) closeIndex() error {
	if f.idx == nil {
		return nil
	}
	err := f.idx.Close()
	f.idx = nil
	return err
}

// read returns a checked record, and the buffer that it points into.
func (f *file) read(r Ref, buf []byte) (Record, []byte, error) {
	n := r.Length()
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:cap(buf)]
	if f.windows.read(f.seg, buf[:n], r.Offset()) {
		// It did not take a system call.
	} else if _, err := f.seg.ReadAt(buf[:n], r.Offset()); err == io.EOF {
		return Record{}, buf, fmt.Errorf("%w: the record of %s at %d is cut off", ErrCorrupt, f.segPath(), r.Offset())
	} else if err != nil {
		return Record{}, buf, fmt.Errorf("reading a record of %s at %d: %w", f.segPath(), r.Offset(), err)
	}
	// What is behind the record in the buffer takes what was compressed.
	rec, grown, err := f.check(r, buf[:n:n], buf[n:])
	if cap(grown) > cap(buf)-n {
		buf = make([]byte, n+cap(grown)) // for the next one; this record has its memory
	}
	return rec, buf, err
}

// check returns the record that b is, checked. It points into b or, where it was compressed, into scratch, which is returned as
// it has become.
func (f *file) check(r Ref, b, scratch []byte) (Record, []byte, error) {
	rec, length, scratch, err := parseRecord(b, scratch)
	switch {
	case err == errTorn || err == nil && length != len(b):
		err = fmt.Errorf("%w: the record of %s at %d does not match its checksum", ErrCorrupt, f.segPath(), r.Offset())
	case err != nil:
		err = fmt.Errorf("the record of %s at %d: %w", f.segPath(), r.Offset(), err)
	}
	return rec, scratch, err
}

// visit calls visit with a checked record where it stands, if that is in mapped memory, and otherwise in buf.
func (f *file) visit(r Ref, buf []byte, visit func(Record) error) ([]byte, error) {
	if m, b := f.windows.hold(f.seg, r.Length(), r.Offset()); m != nil {
		defer m.release(f.windows.maps)
		err := vfs.Guard(func() error {
			rec, scratch, err := f.check(r, b, buf)
			if buf = scratch; err != nil {
				return err
			}
			return visit(rec)
		})
		if !errors.Is(err, vfs.ErrFault) {
			return buf, err
		}
		// Reading the file says why the memory cannot be read.
	}
	rec, buf, err := f.read(r, buf)
	if err != nil {
		return buf, err
	}
	return buf, visit(rec)
}

// table is which files there are. It is not changed, but replaced.
type table struct {
	// order has the segments of the log, the last one being written to.
	order []*file
	// byID has those, the ones that were rewritten and are not retired yet, and the new ones that are not in the log yet.
	byID map[uint32]*file
}

func (t *table) last() *file {
	if len(t.order) == 0 {
		return nil
	}
	return t.order[len(t.order)-1]
}

// segments is the list for the manifest.
func (t *table) segments() []Segment { return segmentsOf(t.order) }

// segmentsOf names files of which the last one is written to.
func segmentsOf(order []*file) []Segment {
	list := make([]Segment, len(order))
	for i, f := range order {
		list[i] = Segment{ID: f.id}
		if i < len(order)-1 {
			list[i].Length, list[i].Entries = f.length, f.entries
		}
	}
	return list
}
