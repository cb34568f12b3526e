package vecstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore/columns"
	"github.com/engram-memory/engram/pkg/vecstore/manifest"
	"github.com/engram-memory/engram/pkg/vfs"
)

// LastClosed returns when the shard in a directory that nobody has open was last closed, or last changed what files it has. The error
// wraps fs.ErrNotExist when there is none.
func LastClosed(dir string) (time.Time, error) {
	info, err := os.Stat(filepath.Join(dir, manifest.Name))
	if err != nil {
		return time.Time{}, fmt.Errorf("looking at the shard in %s: %w", dir, err)
	}
	return info.ModTime(), nil
}

const (
	columnsPrefix = "space-"
	columnsSuffix = ".cols"
)

func columnsName(space, generation uint32) string {
	return fmt.Sprintf("%s%08d-%06d%s", columnsPrefix, space, generation, columnsSuffix)
}

func (s *Shard) columnsHeader(sp *space, generation uint32) columns.Header {
	return columns.Header{
		Epoch: s.src.Epoch, Shard: s.src.Shard, CreatedAt: s.src.CreatedAt,
		Space: sp.number, Generation: generation, Layout: sp.codec.layout(s.opt.Graph),
	}
}

// createColumns makes the next column file of a space, which the manifest does not name yet.
func (s *Shard) createColumns(sp *space, centre []float32) (*columns.File, error) {
	n := sp.generations.Add(1)
	h := s.columnsHeader(sp, n)
	h.Centre = centre
	return columns.Create(s.opt.FS, filepath.Join(s.dir, columnsName(sp.number, n)), h)
}

// nameEngine makes the file of an engine the one of its space in the manifest, which has none when e is nil, and stores a
// horizon if that is not 0.
func (s *Shard) nameEngine(sp *space, e *engine, horizon uint64) error {
	return s.store(func(m *manifest.Manifest) {
		dropColumns(m, sp.number)
		if x, ok := e.graph(); ok {
			h := x.file.Header()
			m.Columns = append(m.Columns, manifest.Columns{Space: sp.number, Generation: h.Generation, File: filepath.Base(x.file.Path())})
		}
		if horizon == 0 {
			return
		}
		m.Horizons = slices.DeleteFunc(m.Horizons, func(h manifest.Horizon) bool { return h.Space == sp.number })
		m.Horizons = append(m.Horizons, manifest.Horizon{Space: sp.number, Sequence: horizon})
	})
}

func dropColumns(m *manifest.Manifest, space uint32) {
	m.Columns = slices.DeleteFunc(m.Columns, func(c manifest.Columns) bool { return c.Space == space })
}

// remove lets go of the columns of a space that has ended, once nobody searches them. What cannot be removed now, the
// next open removes.
func (s *Shard) remove(sp *space) {
	sp.linking.Lock()
	defer sp.linking.Unlock()
	e := sp.gen.Load().engine.Swap(nil)
	_, named := e.graph()
	if !named && sp.horizon.Load() == 0 {
		return
	}
	err := s.store(func(m *manifest.Manifest) {
		dropColumns(m, sp.number)
		m.Horizons = slices.DeleteFunc(m.Horizons, func(h manifest.Horizon) bool { return h.Space == sp.number })
	})
	sp.horizon.Store(0)
	s.linker.note(errors.Join(err, e.drop()))
}

// graph returns the graph of a space that has one.
func (sp *space) graph() (*graph, bool) { return sp.gen.Load().engine.Load().graph() }

// graph returns the graph that an engine is, if it is one; nil is none.
func (e *engine) graph() (*graph, bool) {
	if e == nil {
		return nil, false
	}
	x, ok := e.index.(*graph)
	return x, ok
}

// drop removes an engine, when the last search that is under way there has ended; nil has nothing to remove.
func (e *engine) drop() error {
	if e == nil {
		return nil
	}
	if x, ok := e.graph(); ok {
		x.file.Drop()
	}
	return e.close()
}

// openColumns opens the columns that the manifest names for a space, when they can be used as they are. damaged is why
// they cannot.
func (s *Shard) openColumns(sp *space, trusted bool) (file *columns.File, damaged error, err error) {
	i := slices.IndexFunc(s.manifest.Columns, func(c manifest.Columns) bool { return c.Space == sp.number })
	if i < 0 {
		return nil, nil, nil
	}
	c := s.manifest.Columns[i]
	sp.generations.Store(c.Generation)
	path := filepath.Join(s.dir, c.File)
	file, err = columns.Open(s.opt.FS, path, s.columnsHeader(sp, c.Generation))
	if err == nil && !trusted {
		err = s.verifyColumns(file, c)
	}
	switch {
	case err == nil:
		return file, nil, nil
	case errors.Is(err, columns.ErrNotSealed):
		// An open that did not come to its end has removed the checksums. The file is removed as one that nothing names.
		return nil, nil, file.Close()
	case errors.Is(err, columns.ErrCorrupt), errors.Is(err, columns.ErrVersion),
		errors.Is(err, columns.ErrIdentity), errors.Is(err, vfs.ErrFault), errors.Is(err, fs.ErrNotExist):
		if file != nil {
			err = errors.Join(err, file.Close())
		}
		return nil, err, nil
	}
	return nil, nil, err
}

// named tells whether the manifest names columns of a space.
func (s *Shard) named(sp *space) bool {
	return slices.ContainsFunc(s.manifest.Columns, func(c manifest.Columns) bool { return c.Space == sp.number })
}

// removeStrays removes the column files that the manifest does not name. Those that were found to be damaged are kept under
// a name that says so, the newest one of each living space.
func (s *Shard) removeStrays() error {
	names, err := s.opt.FS.List(s.dir)
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, c := range s.manifest.Columns {
		named[c.File] = true
		named[filepath.Base(columns.SumsPath(c.File))] = true
	}
	slices.Sort(names)
	aside := map[uint32]string{} // the newest one, by space
	for _, name := range names {
		if space, ok := asideOf(name); ok && s.byNumber[space] != nil {
			aside[space] = name
		}
	}
	for _, name := range names {
		if !strings.HasPrefix(name, columnsPrefix) || named[name] {
			continue
		}
		if space, ok := asideOf(name); ok && aside[space] == name {
			continue
		}
		if err := s.opt.FS.Remove(filepath.Join(s.dir, name)); err != nil {
			return fmt.Errorf("removing a file that nothing names: %w", err)
		}
	}
	return nil
}

// asideMark is in the names of column files that were set aside.
const asideMark = ".aside"

// asideOf returns the number of the space whose columns were set aside under a name.
func asideOf(name string) (space uint32, ok bool) {
	var generation uint32
	n, err := fmt.Sscanf(name, columnsPrefix+"%08d-%06d", &space, &generation)
	return space, n == 2 && err == nil && name == columnsName(space, generation)+asideMark
}

// setAsideColumns keeps a damaged column file under another name.
func (s *Shard) setAsideColumns(sp *space) error {
	name := columnsName(sp.number, sp.generations.Load())
	err := s.opt.FS.Rename(filepath.Join(s.dir, name), filepath.Join(s.dir, name+asideMark))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
