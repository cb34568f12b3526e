// Package dirlock keeps two processes from using one directory.
package dirlock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrLocked is wrapped when another process holds the lock.
var ErrLocked = errors.New("the directory is in use")

// Lock is a lock that this process holds on a file. The kernel drops it when the process ends, however it ends.
type Lock struct{ file *os.File }

// Acquire makes the file at path and its directory, and locks it. The file holds the holder's process id for people.
func Acquire(path string) (*Lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("creating a directory: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening a lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("%w: %s is locked by %s; stop it, or use another directory", ErrLocked, path, holder(f))
		} else {
			err = fmt.Errorf("locking %s: %w", path, err)
		}
		return nil, errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Truncate(0), write(f, os.Getpid())); err != nil {
		return nil, errors.Join(fmt.Errorf("writing %s: %w", path, err), f.Close())
	}
	return &Lock{file: f}, nil
}

func write(f *os.File, pid int) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(pid)+"\n"), 0)
	return err
}

func holder(f *os.File) string {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0) // a short read is the rule here
	if pid, err := strconv.Atoi(string(b[:max(n-1, 0)])); err == nil {
		return "process " + strconv.Itoa(pid)
	}
	return "another process"
}

// Release gives the lock up. The file stays: removing it could take it from under another process's lock.
func (l *Lock) Release() error { return l.file.Close() }
