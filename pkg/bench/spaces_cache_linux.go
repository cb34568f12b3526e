package bench

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// dropPages has the kernel let go of what it holds of a file, once that is on the disk.
func dropPages(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	err = f.Sync()
	if err == nil {
		err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return false, fmt.Errorf("letting go of the pages of %s: %w", path, err)
	}
	return true, nil
}
