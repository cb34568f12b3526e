package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/engram-memory/engram/pkg/vfs"
)

// Dir is a store in a directory. Several processes may use it at once, over a shared file system too.
type Dir struct {
	fsys vfs.FS
	root string
	// own tells the temporary files of this store from those of others.
	own  string
	next atomic.Uint64
}

// NewDir returns the store in a directory, which is made with the first blob. own is a name that no other process that
// uses the directory has, of those that CheckName takes.
func NewDir(fsys vfs.FS, root, own string) (*Dir, error) {
	if root == "" {
		return nil, errors.New("the directory of snapshots has no name")
	}
	if err := CheckName(own); err != nil || strings.Contains(own, "/") {
		return nil, fmt.Errorf("%q cannot tell the files of this process from those of others: %w", own, err)
	}
	return &Dir{fsys: fsys, root: filepath.Clean(root), own: own}, nil
}

// String returns dir:<path>.
func (d *Dir) String() string { return SchemeDir + d.root }

// Close does nothing.
func (d *Dir) Close() error { return nil }

// tempMark begins the names of files that are not blobs yet. No blob begins so.
const tempMark = ".tmp-"

// Put writes the blob beside its place, makes it durable, and renames it.
func (d *Dir) Put(ctx context.Context, name string, data []byte) error {
	err := CheckName(name)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = d.put(filepath.Join(d.root, filepath.FromSlash(name)), data)
	}
	if err != nil {
		return fmt.Errorf("storing %s in %s: %w", name, d, err)
	}
	return nil
}

func (d *Dir) put(file string, data []byte) error {
	dir := filepath.Dir(file)
	if err := d.makeDir(dir); err != nil {
		return err
	}
	temp := filepath.Join(dir, tempMark+d.own+"-"+strconv.FormatUint(d.next.Add(1), 10))
	if err := d.write(temp, data); err != nil {
		_ = d.fsys.Remove(temp) // a full disk has no room for half a blob
		return err
	}
	if err := d.fsys.Rename(temp, file); err != nil {
		return errors.Join(err, d.fsys.Remove(temp))
	}
	return d.fsys.SyncDir(dir)
}

// makeDir makes a directory below the root, so that its name survives a loss of power.
func (d *Dir) makeDir(dir string) error {
	if _, err := d.fsys.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.fsys.MkdirAll(dir); err != nil {
		return err
	}
	for ; dir != filepath.Dir(d.root) && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if err := d.fsys.SyncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) write(name string, data []byte) error {
	if err := d.fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // of an earlier process of this name
	}
	f, err := d.fsys.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Get reads a blob.
func (d *Dir) Get(ctx context.Context, name string) ([]byte, error) {
	err := CheckName(name)
	if err == nil {
		err = ctx.Err()
	}
	var b []byte
	if err == nil {
		b, err = d.read(filepath.Join(d.root, filepath.FromSlash(name)))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s from %s: %w", name, d, err)
	}
	return b, nil
}

func (d *Dir) read(name string) (b []byte, err error) {
	f, err := d.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxManifest {
		return nil, fmt.Errorf("it has %d bytes, and no blob has more than %d", size, maxManifest)
	}
	b = make([]byte, size)
	if n, err := f.ReadAt(b, 0); err != nil && !(err == io.EOF && n == len(b)) {
		return nil, err
	}
	return b, nil
}

// List walks the directories that can hold names with the prefix.
func (d *Dir) List(ctx context.Context, prefix string) ([]Blob, error) {
	var all []Blob
	at := ""
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		at = prefix[:i]
		if err := CheckName(at); err != nil {
			return nil, fmt.Errorf("listing %s: %w", d, err)
		}
	}
	if err := d.walk(ctx, at, prefix, &all); err != nil {
		return nil, fmt.Errorf("listing %s: %w", d, err)
	}
	slices.SortFunc(all, func(a, b Blob) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func (d *Dir) walk(ctx context.Context, at, prefix string, all *[]Blob) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	names, err := d.fsys.List(filepath.Join(d.root, filepath.FromSlash(at)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, base := range names {
		name := path.Join(at, base)
		if CheckName(name) != nil || !strings.HasPrefix(name, prefix) && !strings.HasPrefix(prefix, name+"/") {
			continue // what no store has put there, or below where nobody looks
		}
		info, err := d.fsys.Stat(filepath.Join(d.root, filepath.FromSlash(name)))
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed since
		case err != nil:
			return err
		case info.IsDir():
			if err := d.walk(ctx, name, prefix, all); err != nil {
				return err
			}
		case strings.HasPrefix(name, prefix):
			*all = append(*all, Blob{Name: name, Size: info.Size()})
		}
	}
	return nil
}

// Delete removes the file of a blob.
func (d *Dir) Delete(ctx context.Context, name string) error {
	err := CheckName(name)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = d.fsys.Remove(filepath.Join(d.root, filepath.FromSlash(name)))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing %s from %s: %w", name, d, err)
	}
	return nil
}
