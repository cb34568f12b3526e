package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/edsrzf/mmap-go"
	"golang.org/x/sys/unix"
)

// OS returns the file system of the operating system.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) Open(name string) (File, error) { return openFile(name, os.O_RDWR) }

func (osFS) Create(name string) (File, error) {
	return openFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func openFile(name string, flags int) (File, error) {
	f, err := os.OpenFile(name, flags, 0o644)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Remove(name string) error              { return os.Remove(name) }
func (osFS) Rename(oldName, newName string) error  { return os.Rename(oldName, newName) }
func (osFS) MkdirAll(dir string) error             { return os.MkdirAll(dir, 0o755) }
func (osFS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (osFS) Identity(dir string) (string, error) {
	boot, err := bootID()
	if err != nil {
		return "", fmt.Errorf("finding out which boot of the system this is: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "", &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	return fmt.Sprintf("%s:%x:%x", boot, uint64(st.Dev), uint64(st.Ino)), nil
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) WriteBack(offset, length int64) { writeBack(f.File, offset, length) }

func (f osFile) Allocate(offset, length int64) error {
	if err := allocate(f.File, offset, length); err != nil {
		return &fs.PathError{Op: "allocate", Path: f.Name(), Err: err}
	}
	return nil
}

// writeZeros is Allocate where the file system cannot: it fills what is behind the end of the file. A hole before it
// stays one, because filling it would race with whoever writes there.
func writeZeros(f *os.File, offset, length int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for at := info.Size(); at < offset+length; {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), offset+length-at)], at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

func (f osFile) Map(offset, length int64) (Mapping, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if err := checkMap(offset, length, size); err != nil {
		return nil, &fs.PathError{Op: "map", Path: f.Name(), Err: err}
	}
	m, err := mmap.MapRegion(f.File, int(length), mmap.RDWR, 0, offset)
	if err != nil {
		return nil, &fs.PathError{Op: "map", Path: f.Name(), Err: err}
	}
	return &osMapping{name: f.Name(), bytes: m}, nil
}

// checkMap holds every implementation to the same offsets, whatever its page size.
func checkMap(offset, length, size int64) error {
	if offset < 0 || offset%PageSize != 0 || length <= 0 || offset > size || length > size-offset || int64(int(length)) != length {
		return fmt.Errorf("%d bytes at %d of a file of %d: %w", length, offset, size, syscall.EINVAL)
	}
	return nil
}

type osMapping struct {
	name  string
	bytes mmap.MMap
}

func (m *osMapping) Bytes() []byte { return m.bytes }

// Sync has the kernel write the pages that hold the range. Darwin's msync does not empty the cache of the disk; there
// only File.Sync does.
func (m *osMapping) Sync(offset, length int) error {
	if offset < 0 || length < 0 || offset > len(m.bytes) || length > len(m.bytes)-offset {
		return &fs.PathError{Op: "msync", Path: m.name, Err: syscall.EINVAL}
	}
	if length == 0 {
		return nil
	}
	start := offset - offset%os.Getpagesize()
	if err := unix.Msync(m.bytes[start:offset+length], unix.MS_SYNC); err != nil {
		return &fs.PathError{Op: "msync", Path: m.name, Err: err}
	}
	return nil
}

func (m *osMapping) Unmap() error {
	if m.bytes == nil {
		return &fs.PathError{Op: "unmap", Path: m.name, Err: fs.ErrClosed}
	}
	if err := m.bytes.Unmap(); err != nil {
		return &fs.PathError{Op: "unmap", Path: m.name, Err: err}
	}
	return nil
}
