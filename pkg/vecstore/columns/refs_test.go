package columns

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"testing"

	"github.com/engram-memory/engram/pkg/vfs"
)

func TestReaderKeepsTheMemory(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, path string) {
		f := created(t, fsys, path, 10)
		fill(f.Chunks(), 3)
		for range 2 {
			if !f.Acquire() {
				t.Fatal("no reference to an open file")
			}
		}
		f.Drop()
		ok(t, f.Close())
		if f.Acquire() {
			t.Fatal("a reference to a closed file")
		}
		if !holds(f.Chunks(), 3) {
			t.Error("the row is gone")
		}
		f.Release()
		if _, err := fsys.Stat(path); err != nil {
			t.Errorf("the file was removed while it was read: %v", err)
		}
		f.Release()
		ok(t, f.Wait())
		if _, err := fsys.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file was not removed: %v", err)
		}
		is(t, f.Close(), ErrClosed)
	})
}

func TestClosed(t *testing.T) {
	f := created(t, vfs.NewMem(), "a.col", 10)
	ok(t, f.Close())
	for name, err := range map[string]error{
		"Grow": f.Grow(5000), "Sync": f.Sync(), "Seal": f.Seal(1), "Settle": f.Settle(0),
		"Verify": f.Verify(context.Background(), 1), "VerifyBlock": f.VerifyBlock(0), "Close": f.Close(),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReleaseWithoutAcquire(t *testing.T) {
	for _, closeFirst := range []bool{false, true} {
		f := created(t, vfs.NewMem(), "a.col", 10)
		if closeFirst {
			ok(t, f.Close())
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("closed %v: nothing noticed", closeFirst)
				}
			}()
			f.Release()
		}()
	}
}

// However readers and Close meet, the memory goes once, and not before the last reader.
func TestCloseUnderReaders(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, path string) {
		for range 20 {
			f := created(t, fsys, path, 10)
			fill(f.Chunks(), 3)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for f.Acquire() {
						if !holds(f.Chunks(), 3) {
							t.Error("the row is gone")
						}
						f.Release()
					}
				})
			}
			f.Drop()
			ok(t, f.Close())
			ok(t, f.Wait())
			wg.Wait()
		}
	})
}
