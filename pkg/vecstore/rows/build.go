package rows

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/engram-memory/engram/pkg/vfs"
)

// Build writes the files of a log into a directory that has none: segments with the bytes that fill gives for each, by its
// place in the list, checked as they come, and the index of each. All of it is durable when it returns nil. The log is
// there for Open once the caller has stored a manifest that names the segments.
//
// Errors wrap ErrCorrupt, ErrVersion or ErrSource when the bytes are not those of the segments, and the errors of fill.
func Build(fsys vfs.FS, dir string, src Source, key HashKey, segments []Segment, fill func(i int, w io.Writer) error) error {
	for i, s := range segments {
		b := &builder{fsys: fsys, dir: dir, src: src, key: &key, segment: s}
		if err := b.build(func(w io.Writer) error { return fill(i, w) }); err != nil {
			return fmt.Errorf("writing %s: %w", segmentName(s.ID), err)
		}
	}
	if err := fsys.SyncDir(filepath.Clean(dir)); err != nil {
		return fmt.Errorf("making the names of segments durable: %w", err)
	}
	return nil
}

// builder writes one segment and its index.
type builder struct {
	fsys    vfs.FS
	dir     string
	src     Source
	key     *HashKey
	segment Segment

	seg, idx vfs.File
	length   int64 // of what is written of the segment
	indexed  int64 // of what is written of the index
	index    []byte
	entry    Entry
}

func (b *builder) build(fill func(io.Writer) error) (err error) {
	f := &file{dir: b.dir, id: b.segment.ID}
	if b.seg, err = b.fsys.Create(f.segPath()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.seg.Close()) }()
	if b.idx, err = b.fsys.Create(f.idxPath()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.idx.Close()) }()
	b.index = appendIndexHeader(b.index, b.segment.ID, appendSegmentHeader(nil, b.segment.ID, b.src), b.key)
	inspector := NewInspector(b.segment.ID, b.src, b.note)
	if err := fill(io.MultiWriter(inspector, b)); err != nil {
		return err
	}
	if err := inspector.End(b.segment); err != nil {
		return err
	}
	if err := b.flush(); err != nil {
		return err
	}
	return errors.Join(b.seg.Sync(), b.idx.Sync())
}

// note appends the entries of a record to the index.
func (b *builder) note(rec *Record, at int64, raw []byte) error {
	err := b.key.entries(rec, makeRef(b.segment.ID, at, int64(len(raw))), &b.entry, func() error {
		b.index = appendEntry(b.index, &b.entry)
		return nil
	})
	if err != nil || len(b.index) < paceEvery {
		return err
	}
	return b.flush()
}

func (b *builder) flush() error {
	n, err := b.idx.WriteAt(b.index, b.indexed)
	b.indexed += int64(n)
	b.index = b.index[:0]
	return err
}

// Write appends to the segment.
func (b *builder) Write(p []byte) (int, error) {
	if b.length+int64(len(p)) > b.segment.Length {
		return 0, fmt.Errorf("%w: more than the %d bytes of the segment", ErrCorrupt, b.segment.Length)
	}
	n, err := b.seg.WriteAt(p, b.length)
	b.length += int64(n)
	return n, err
}
