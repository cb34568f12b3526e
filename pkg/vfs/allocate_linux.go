package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func allocate(f *os.File, offset, length int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, offset, length)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EOPNOTSUPP):
			return writeZeros(f, offset, length)
		default:
			return err
		}
	}
}
