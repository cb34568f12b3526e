package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
	"github.com/engram-memory/engram/pkg/vfs"
)

// tempName is that of the file that is renamed.
const tempName = Name + ".tmp"

// Load reads the manifest of a directory. The error is fs.ErrNotExist when the directory is a new one; rows.ErrCorrupt or
// rows.ErrVersion when it cannot be used, also where there is a row log and no manifest.
func Load(fsys vfs.FS, dir string) (*Manifest, error) {
	f, err := fsys.Open(filepath.Join(dir, Name))
	if errors.Is(err, fs.ErrNotExist) {
		if err := rows.CheckNew(fsys, dir); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the manifest: %w", err)
	}
	b, err := readAll(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	return Decode(b)
}

func readAll(f vfs.File) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxLength {
		return nil, fmt.Errorf("%w: it has %d bytes", rows.ErrCorrupt, size)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}

// Store replaces the manifest of a directory, durably. After an error either the old or the new one is there, whole; it may
// be called again.
func (m *Manifest) Store(fsys vfs.FS, dir string) error {
	b, err := m.Encode()
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, tempName)
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing what an earlier process left of a manifest: %w", err)
	}
	if err := write(fsys, temp, b); err != nil {
		_ = fsys.Remove(temp) // a full disk has no room for half a manifest
		return fmt.Errorf("writing a manifest: %w", err)
	}
	if err := fsys.Rename(temp, filepath.Join(dir, Name)); err != nil {
		return fmt.Errorf("putting a manifest into place: %w", err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("making a manifest durable: %w", err)
	}
	return nil
}

func write(fsys vfs.FS, name string, b []byte) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
