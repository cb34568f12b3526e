package vecstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

// epoch is before anything expires.
var epoch = time.Unix(0, 0)

// Forgotten is what Shard.Look looks for.
type Forgotten struct {
	// IDs were forgotten, or All of the space.
	IDs []string
	All bool
	// Sequence is that of the forget: what came behind it is not meant.
	Sequence uint64
	// Traces are bytes that must not be found.
	Traces [][]byte
}

// Found is what was found in one place.
type Found struct {
	// Place is "row log", "index", "columns" or "files".
	Place string
	// Items and Bytes are how much was looked at, and Found how many of the items hold what was forgotten.
	Items, Found uint64
	Bytes        int64
	Note         string
}

// Look searches everything that a shard holds for what was forgotten of a space: the records of the row log, read and
// unpacked from the files; what is kept in memory of the rows; the rows that the graph has codes of; and the bytes of all files
// in the directory of the shard and in those beside it that were set aside.
func (s *Shard) Look(ctx context.Context, name string, f Forgotten) ([]Found, error) {
	var all []Found
	for _, look := range []func(context.Context, string, *Forgotten) (Found, error){s.lookRecords, s.lookIndex, s.lookColumns, s.lookFiles} {
		found, err := look(ctx, name, &f)
		if err != nil {
			return all, err
		}
		all = append(all, found)
	}
	return all, nil
}

// lookRecords looks for observations: the forget itself, with its ids, may stand there for as long as reads of the past need it.
func (s *Shard) lookRecords(ctx context.Context, name string, f *Forgotten) (Found, error) {
	found := Found{Place: "row log"}
	number := uint32(0) // of no space
	if living, ok := s.space(name); ok {
		number = living.number
	}
	names := map[uint32]bool{} // the lives of the space
	forgets := 0
	shared := make([]bool, len(f.Traces))
	ids := make(map[string]bool, len(f.IDs))
	for _, id := range f.IDs {
		ids[id] = true
	}
	_, n, err := s.log.Each(func(rec *rows.Record) error {
		found.Items++
		switch rec.Kind {
		case rows.KindDefine:
			if d, err := rows.ParseDefinition(rec.Body); err == nil && d.Name == name {
				names[rec.Space] = true
			}
		case rows.KindObserve:
			if rec.Sequence < f.Sequence && names[rec.Space] && (ids[string(rec.ID)] || f.All && rec.Space != number) {
				found.Found++
				break
			}
			for i, t := range f.Traces {
				shared[i] = shared[i] || bytes.Contains(rec.Body, t) || bytes.Contains(rec.Vector, t)
			}
		case rows.KindForget:
			if names[rec.Space] {
				forgets++
			}
		}
		return ctx.Err()
	})
	found.Bytes = n
	if forgets > 0 {
		found.Note = "forgets of the space stand there, too, until reads of the past do not need them"
	}
	// Bytes that another observation holds as well say nothing about the one that was forgotten.
	kept := f.Traces[:0:0]
	for i, t := range f.Traces {
		if !shared[i] {
			kept = append(kept, t)
		}
	}
	f.Traces = kept
	return found, err
}

// lookIndex looks into the memory of the rows.
func (s *Shard) lookIndex(_ context.Context, name string, f *Forgotten) (Found, error) {
	found := Found{Place: "index"}
	sp, ok := s.space(name)
	if !ok {
		return found, nil
	}
	g := sp.gen.Load()
	found.Items = uint64(g.numbered.Load())
	g.idsMu.RLock()
	defer g.idsMu.RUnlock()
	for _, id := range f.IDs {
		if row, ok := g.ids[s.log.Key(id)]; ok && g.meta.at(row).sequence < f.Sequence {
			found.Found++
		}
	}
	return found, nil
}

// lookColumns looks for rows that the graph has codes of although they ended with the forget, or before it.
func (s *Shard) lookColumns(_ context.Context, name string, f *Forgotten) (Found, error) {
	found := Found{Place: "columns"}
	sp, ok := s.space(name)
	if !ok {
		return found, nil
	}
	g := sp.gen.Load()
	found.Items = uint64(g.linked())
	for row := range g.linked() {
		if died := g.meta.at(row).died.Load(); died != 0 && died <= f.Sequence {
			found.Found++
		}
	}
	return found, nil
}

// lookFiles searches all bytes on the disk for the traces, as they are there: what is compressed is looked at as records.
func (s *Shard) lookFiles(ctx context.Context, _ string, f *Forgotten) (Found, error) {
	found := Found{Place: "files"}
	parent, base := filepath.Split(filepath.Clean(s.dir))
	beside, err := s.opt.FS.List(filepath.Clean(parent))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return found, err
	}
	dirs := []string{s.dir}
	for _, name := range beside {
		if strings.HasPrefix(name, base+dirAside) {
			dirs = append(dirs, filepath.Join(parent, name))
		}
	}
	if len(dirs) > 1 {
		found.Note = "directories that were set aside are among them; remove those with a find by hand"
	}
	for _, dir := range dirs {
		names, err := s.opt.FS.List(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return found, err
		}
		for _, name := range names {
			path := filepath.Join(dir, name)
			n, hit, err := s.searchFile(ctx, path, f.Traces)
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed meanwhile
			}
			if err != nil {
				return found, err
			}
			found.Items++
			found.Bytes += n
			if hit {
				found.Found++
				found.Note = strings.TrimPrefix(found.Note+"; "+path, "; ")
			}
		}
	}
	return found, nil
}

// searchFile looks for traces in a file.
func (s *Shard) searchFile(ctx context.Context, path string, traces [][]byte) (n int64, hit bool, err error) {
	info, err := s.opt.FS.Stat(path)
	if err != nil || info.IsDir() || len(traces) == 0 {
		return 0, false, err
	}
	file, err := s.opt.FS.Open(path)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = file.Close() }() // it was only read
	longest := 0
	for _, t := range traces {
		longest = max(longest, len(t))
	}
	buf := make([]byte, 1<<20+longest)
	for kept := 0; ; {
		if err := ctx.Err(); err != nil {
			return n, false, err
		}
		got, err := file.ReadAt(buf[kept:], n)
		n += int64(got)
		b := buf[:kept+got]
		if slices.ContainsFunc(traces, func(t []byte) bool { return len(t) > 0 && bytes.Contains(b, t) }) {
			return n, true, nil
		}
		if got == 0 || err != nil {
			if err == io.EOF {
				err = nil
			}
			return n, false, err
		}
		kept = copy(buf, b[max(0, len(b)-longest+1):])
	}
}
