package vecstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/engram-memory/engram/pkg/vecstore/columns"
	"github.com/engram-memory/engram/pkg/vecstore/manifest"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

// Recovery says what Open found.
type Recovery struct {
	rows.Recovery
	// Columns is how many spaces have their graphs as they were left; Rebuilt is how many have to build theirs again.
	Columns, Rebuilt int
	// Damaged says for each graph that was set aside what was wrong with it.
	Damaged []error
	// Repaired says what was wrong with each file that was made anew where it stands: an index of the row log, after a loss of
	// power nothing unusual, or a graph whose checksums are gone.
	Repaired []error
}

// Open opens the shard in dir, which it creates. It does not lock the directory.
//
// How it is opened depends on how it was left. After the death of a process, on the same boot of the same machine, everything
// is as that process wrote it: the index of the row log is read, the graphs are used as they are, and the block that
// was being linked is linked again. After a clean close everything is verified. After anything else the row log is verified,
// what power was lost under is cut off, and the graphs are built again in the background while their rows are scanned.
//
// Errors wrap ErrCorrupt, ErrVersion or ErrSource when the directory cannot be used for src; the caller then decides
// to set it aside. Others, ErrFailed among them, are about the disk.
func Open(dir string, src Source, opt Options) (*Shard, Recovery, error) {
	opt.fill()
	var out Recovery
	if err := opt.Graph.Validate(); err != nil {
		return nil, out, fmt.Errorf("the configuration of graphs: %w", err)
	}
	s := &Shard{
		dir: dir, src: src, opt: opt,
		spaces: map[string]*space{}, byNumber: map[uint32]*space{}, next: 1, dropped: map[string]uint32{},
		codecs: map[codecKey]*codec{}, garbage: garbage{compressed: map[uint32]bool{}},
	}
	s.appender.shard = s
	s.linker.prepare()
	s.searchers.New = func() any { return newSearcher() }
	if err := s.open(&out); err != nil {
		err = fmt.Errorf("opening shard %d in %s: %w", src.Shard, dir, err)
		if s.log != nil {
			err = errors.Join(err, s.closeFiles())
		}
		return nil, out, err
	}
	s.applied.Store(s.log.Appended()) // what is in the log was replayed
	s.linker.start(s)
	s.maintainer.start(s)
	for _, sp := range s.living() {
		s.linker.wake(sp)
	}
	return s, out, nil
}

func (s *Shard) open(out *Recovery) error {
	if err := s.opt.FS.MkdirAll(s.dir); err != nil {
		return fmt.Errorf("creating the shard's directory: %w", err)
	}
	m, err := manifest.Load(s.opt.FS, s.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		m = manifest.New(s.src)
	case err != nil:
		return err
	}
	if err := m.CheckSource(s.src); err != nil {
		return err
	}
	s.manifest = m
	identity, err := s.opt.FS.Identity(s.dir)
	if err != nil {
		return fmt.Errorf("telling whether the directory is the one that was written to: %w", err)
	}
	mode := rows.Verified
	switch {
	case s.opt.Distrust || m.State == manifest.Failed:
		mode = rows.Distrusted
	case m.State == manifest.Open && m.Identity == identity:
		mode = rows.Trusted
	}
	clean := m.State == manifest.Clean && mode == rows.Verified
	r := &replayer{s: s, out: out, columns: clean || mode == rows.Trusted, trusted: mode == rows.Trusted, givenUp: map[manifest.Row]bool{}}
	for _, row := range m.GivenUp {
		r.givenUp[row] = false
	}
	s.log, out.Recovery, err = rows.Open(s.opt.FS, s.dir, s.src, rows.Options{
		Mode: mode, SegmentSize: s.opt.SegmentSize, Maps: s.opt.Maps, HashKey: m.HashKey, Segments: m.Segments, NextID: m.NextID,
		Commit: s.commitSegments, Replay: r.entry, Restart: r.restart,
	})
	if err != nil {
		return err
	}
	if err := r.finish(); err != nil {
		return err
	}
	out.Repaired = append(out.Repaired, out.IndexRepairs...)
	// From now on it is in use. What the manifest said before held until here, so that an open that fails can be made again.
	err = s.store(func(m *manifest.Manifest) {
		m.State, m.Identity = manifest.Open, identity
		m.GivenUp = slices.DeleteFunc(m.GivenUp, func(row manifest.Row) bool {
			return !r.givenUp[row] || s.byNumber[row.Space] == nil
		})
		m.Columns = m.Columns[:0]
		for _, sp := range s.living() {
			if x, ok := sp.graph(); ok {
				h := x.file.Header()
				m.Columns = append(m.Columns, manifest.Columns{Space: sp.number, Generation: h.Generation, File: columnsName(sp.number, h.Generation)})
			}
		}
	})
	if err != nil {
		return err
	}
	return s.removeStrays()
}

func (s *Shard) commitSegments(segments []rows.Segment, nextID uint32) error {
	return s.store(func(m *manifest.Manifest) { m.Segments, m.NextID = segments, nextID })
}

func (s *Shard) verifyColumns(file *columns.File, c manifest.Columns) error {
	if err := file.Verify(context.Background(), s.opt.LinkThreads); err != nil {
		return err
	}
	if linked := file.State().Linked.Load(); linked != uint64(c.Rows) {
		return fmt.Errorf("%w: they have %d rows, and should have %d", columns.ErrCorrupt, linked, c.Rows)
	}
	return nil
}
