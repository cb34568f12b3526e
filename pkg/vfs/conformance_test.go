package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/engram-memory/engram/pkg/vfs"
)

// each runs a test on every implementation, in a directory that is empty.
func each(t *testing.T, test func(t *testing.T, fsys vfs.FS, dir string)) {
	t.Run("OS", func(t *testing.T) { test(t, vfs.OS(), t.TempDir()) })
	t.Run("Mem", func(t *testing.T) { test(t, vfs.NewMem(), "/") })
	t.Run("Fault", func(t *testing.T) { test(t, vfs.NewFault(vfs.NewMem()), ".") })
}

func must[T any](t *testing.T) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// content reads a file through a handle of its own.
func content(t *testing.T, fsys vfs.FS, name string) []byte {
	t.Helper()
	f := must[vfs.File](t)(fsys.Open(name))
	defer func() { ok(t, f.Close()) }()
	b := make([]byte, must[int64](t)(f.Size()))
	if n, err := f.ReadAt(b, 0); n != len(b) || err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("%s: %d of %d bytes could be read: %v", name, n, len(b), err)
	}
	return b
}

func create(t *testing.T, fsys vfs.FS, name, text string) vfs.File {
	t.Helper()
	f := must[vfs.File](t)(fsys.Create(name))
	if n, err := f.WriteAt([]byte(text), 0); err != nil || n != len(text) {
		t.Fatalf("%s: %d bytes were written: %v", name, n, err)
	}
	return f
}

func TestReadAndWrite(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "file")
		f := create(t, fsys, name, "hello")
		if f.Name() != name {
			t.Errorf("the name is %q", f.Name())
		}
		// Over the end of a page, behind a hole.
		_ = must[int](t)(f.WriteAt([]byte("0123456789"), vfs.PageSize-5))
		b := make([]byte, 12)
		if n, err := f.ReadAt(b, vfs.PageSize-6); n != 11 || err != io.EOF || string(b[:n]) != "\x000123456789" {
			t.Errorf("at the end: %d bytes %q, %v", n, b[:n], err)
		}
		if n, err := f.ReadAt(b[:7], 0); n != 7 || err != nil || string(b[:n]) != "hello\x00\x00" {
			t.Errorf("at the start: %d bytes %q, %v", n, b[:n], err)
		}
		if n, err := f.ReadAt(b, 1<<40); n != 0 || err != io.EOF {
			t.Errorf("behind the end: %d, %v", n, err)
		}
		if _, err := f.WriteAt(b, -1); err == nil {
			t.Error("a write before the start was accepted")
		}
		ok(t, f.Truncate(3))
		ok(t, f.Truncate(6))
		if got := content(t, fsys, name); string(got) != "hel\x00\x00\x00" {
			t.Errorf("after truncating: %q", got)
		}
		ok(t, f.Sync())
		ok(t, f.Close())
		if _, err := f.WriteAt(b, 0); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("a write after Close: %v", err)
		}
		if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("a second Close: %v", err)
		}
	})
}

func TestAllocate(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "file")
		f := create(t, fsys, name, "hello")
		ok(t, f.Allocate(2, 8))
		if got := content(t, fsys, name); string(got) != "hello\x00\x00\x00\x00\x00" {
			t.Errorf("it holds %q", got)
		}
		ok(t, f.Allocate(0, 3))
		ok(t, f.Allocate(vfs.PageSize, 3<<20))
		if size := must[int64](t)(f.Size()); size != vfs.PageSize+3<<20 {
			t.Errorf("its size is %d", size)
		}
		if err := f.Allocate(-1, 5); err == nil {
			t.Error("an offset below zero was accepted")
		}
		ok(t, f.Close())
	})
}

func TestNames(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		in := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
		ok(t, fsys.MkdirAll(in("a", "b")))
		ok(t, fsys.MkdirAll(in("a", "b")))
		for _, name := range []string{"two", "one", "three"} {
			ok(t, create(t, fsys, in("a", name), name).Close())
		}
		if got := must[[]string](t)(fsys.List(in("a"))); !slices.Equal(got, []string{"b", "one", "three", "two"}) {
			t.Errorf("the names are %q", got)
		}
		if _, err := fsys.Create(in("a", "one")); !errors.Is(err, fs.ErrExist) {
			t.Errorf("making what is there: %v", err)
		}
		ok(t, fsys.Rename(in("a", "one"), in("a", "b", "moved")))
		ok(t, fsys.Rename(in("a", "two"), in("a", "three")))
		ok(t, fsys.Rename(in("a", "three"), in("a", "three")))
		if got := content(t, fsys, in("a", "three")); string(got) != "two" {
			t.Errorf("what a rename replaced holds %q", got)
		}
		if got := content(t, fsys, in("a", "b", "moved")); string(got) != "one" {
			t.Errorf("what was moved holds %q", got)
		}
		info := must[fs.FileInfo](t)(fsys.Stat(in("a", "three")))
		if info.Name() != "three" || info.Size() != 3 || info.IsDir() || !info.Mode().IsRegular() {
			t.Errorf("a file is %s, %d, %s", info.Name(), info.Size(), info.Mode())
		}
		if info := must[fs.FileInfo](t)(fsys.Stat(in("a"))); !info.IsDir() {
			t.Error("a directory is none")
		}
		if err := fsys.Remove(in("a", "b")); err == nil {
			t.Error("a directory that is not empty was removed")
		}
		if err := fsys.Rename(in("a", "b"), in("a", "three")); err == nil {
			t.Error("a directory replaced a file")
		}
		ok(t, fsys.SyncDir(in("a")))
		ok(t, fsys.Remove(in("a", "b", "moved")))
		ok(t, fsys.Remove(in("a", "b")))
		if _, err := fsys.Create(in("a", "three", "deeper")); err == nil {
			t.Error("a file was made in a file")
		}
		if err := fsys.MkdirAll(in("a", "three", "deeper")); err == nil {
			t.Error("a directory was made in a file")
		}
	})
}

func TestWhatIsNotThere(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		gone, deep := filepath.Join(dir, "gone"), filepath.Join(dir, "no", "such")
		calls := map[string]func() error{
			"Open":         func() error { _, err := fsys.Open(gone); return err },
			"Create":       func() error { _, err := fsys.Create(deep); return err },
			"Remove":       func() error { return fsys.Remove(gone) },
			"Rename":       func() error { return fsys.Rename(gone, filepath.Join(dir, "else")) },
			"List":         func() error { _, err := fsys.List(gone); return err },
			"Stat":         func() error { _, err := fsys.Stat(gone); return err },
			"SyncDir":      func() error { return fsys.SyncDir(gone) },
			"Identity":     func() error { _, err := fsys.Identity(gone); return err },
			"Open of deep": func() error { _, err := fsys.Open(deep); return err },
		}
		for name, call := range calls {
			if err := call(); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestIdentity(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		ok(t, errors.Join(fsys.MkdirAll(a), fsys.MkdirAll(b)))
		id := must[string](t)(fsys.Identity(a))
		if id == "" || id != must[string](t)(fsys.Identity(a)) || id == must[string](t)(fsys.Identity(b)) {
			t.Errorf("the identity is %q", id)
		}
	})
}

func TestMapping(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		const length = 3*vfs.PageSize + 100
		name := filepath.Join(dir, "file")
		f := create(t, fsys, name, "hello")
		_ = must[int](t)(f.WriteAt([]byte("from the file"), 2*vfs.PageSize))
		ok(t, f.Allocate(0, vfs.PageSize+length))
		m := must[vfs.Mapping](t)(f.Map(vfs.PageSize, length))
		b := m.Bytes()
		if len(b) != length || cap(b) != length || string(b[vfs.PageSize:vfs.PageSize+13]) != "from the file" {
			t.Fatalf("%d bytes are mapped: %q", len(b), b[vfs.PageSize:vfs.PageSize+13])
		}
		// The mapping and the file are one, in both directions, wherever the file ends meanwhile.
		copy(b[length-4:], "tail")
		ok(t, f.Allocate(0, 64*vfs.PageSize))
		_ = must[int](t)(f.WriteAt([]byte("behind"), 63*vfs.PageSize))
		_ = must[int](t)(f.WriteAt([]byte("late"), vfs.PageSize))
		if got := content(t, fsys, name)[vfs.PageSize+length-4:][:4]; string(got) != "tail" || string(b[:4]) != "late" {
			t.Errorf("the file holds %q, the mapping %q", got, b[:4])
		}
		ok(t, m.Sync(0, length))
		ok(t, m.Sync(5, 0))
		ok(t, m.Sync(length-4, 4))
		for _, r := range [][2]int{{-1, 2}, {0, length + 1}, {length, 1}, {2, -1}} {
			if err := m.Sync(r[0], r[1]); err == nil {
				t.Errorf("Sync(%d, %d) was accepted", r[0], r[1])
			}
		}
		again := must[vfs.Mapping](t)(f.Map(vfs.PageSize, length))
		if !bytes.Equal(again.Bytes(), b) {
			t.Error("a second mapping differs")
		}
		ok(t, f.Close())
		b[0] = 'L' // the mapping outlives the file
		ok(t, again.Unmap())
		ok(t, m.Unmap())
		if err := m.Unmap(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("a second Unmap: %v", err)
		}
		if got := content(t, fsys, name)[vfs.PageSize:]; string(got[:4]) != "Late" {
			t.Errorf("after unmapping: %q", got[:4])
		}
	})
}

func TestMapRefuses(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "file"), "hello")
		ok(t, f.Truncate(2*vfs.PageSize))
		for _, r := range [][2]int64{{1, 5}, {4096, 5}, {-vfs.PageSize, 5}, {0, 0}, {0, -1}, {0, 2*vfs.PageSize + 1}, {2 * vfs.PageSize, 1}, {1 << 50, 5}} {
			if _, err := f.Map(r[0], r[1]); err == nil {
				t.Errorf("Map(%d, %d) was accepted", r[0], r[1])
			}
		}
		ok(t, f.Close())
	})
}

// Calls of one file and of the file system may overlap.
func TestConcurrentCalls(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		f := create(t, fsys, filepath.Join(dir, "file"), "")
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				own := []byte{byte(i), byte(i)}
				for at := int64(2 * i); at < 4000; at += 8 {
					if _, err := f.WriteAt(own, at); err != nil {
						t.Error(err)
					}
					b := make([]byte, 2)
					if _, err := f.ReadAt(b, at); err != nil || !bytes.Equal(b, own) {
						t.Errorf("%v, %v", b, err)
					}
				}
				name := filepath.Join(dir, string(rune('a'+i)))
				other := must[vfs.File](t)(fsys.Create(name))
				if err := errors.Join(other.Close(), f.Sync(), fsys.SyncDir(dir), fsys.Remove(name)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		ok(t, f.Close())
	})
}
