package rows

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/engram-memory/engram/pkg/vfs"
)

// removeStrays removes the files of segments that the log does not have: those of a segment that was begun, or rewritten,
// when the process ended, or that was being removed.
func (o *opener) removeStrays() error {
	names, err := o.fsys.List(o.dir)
	if err != nil {
		return fmt.Errorf("reading the shard's directory: %w", err)
	}
	for _, name := range names {
		id, ok := fileID(name)
		if i, named := o.order[id]; !ok || named && i < len(o.files) {
			continue
		}
		if err := removeFile(o.fsys, filepath.Join(o.dir, name)); err != nil {
			return fmt.Errorf("removing a file that the manifest does not name: %w", err)
		}
		o.out.Strays++
	}
	return nil
}

// fileID returns the id in the name of a segment or an index.
func fileID(name string) (uint32, bool) {
	var id uint32
	if n, err := fmt.Sscanf(name, "rows-%08d.", &id); n != 1 || err != nil {
		return 0, false
	}
	return id, name == segmentName(id) || name == indexName(id)
}

// CheckNew tells whether a directory without a manifest is a new one. The error is ErrVersion or ErrCorrupt when there
// are segments in it: of an earlier version of the format, or whose manifest is gone.
func CheckNew(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the shard's directory: %w", err)
	}
	for _, name := range names {
		if id, ok := fileID(name); !ok || name != segmentName(id) {
			continue
		}
		f, err := fsys.Open(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("opening a segment: %w", err)
		}
		header := make([]byte, segmentHeader)
		_, err = f.ReadAt(header, 0)
		if cerr := f.Close(); err == nil || err == io.EOF {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("reading a segment header: %w", err)
		}
		if _, _, err := parseSegmentHeader(header); errors.Is(err, ErrVersion) {
			return fmt.Errorf("%s: %w", name, err)
		}
		return fmt.Errorf("%w: there is %s, and no manifest", ErrCorrupt, name)
	}
	return nil
}
