package vfs_test

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/engram-memory/engram/pkg/vfs"
)

// calls does one call of each kind that a Fault knows and returns the errors by kind.
func calls(fsys vfs.FS, dir string) map[vfs.Op]error {
	in := func(name string) string { return filepath.Join(dir, name) }
	errs := map[vfs.Op]error{}
	f, err := fsys.Create(in("file"))
	errs[vfs.OpCreate] = err
	if err == nil {
		_, errs[vfs.OpWrite] = f.WriteAt([]byte("hello"), 0)
		_, errs[vfs.OpRead] = f.ReadAt(make([]byte, 1), 0)
		errs[vfs.OpAllocate] = f.Allocate(0, 100)
		errs[vfs.OpTruncate] = f.Truncate(vfs.PageSize)
		errs[vfs.OpSync] = f.Sync()
		var m vfs.Mapping
		if m, errs[vfs.OpMap] = f.Map(0, 100); m != nil {
			errs[vfs.OpMsync] = errors.Join(m.Sync(0, 10), m.Unmap())
		}
		err = f.Close()
	}
	if f, errs[vfs.OpOpen] = fsys.Open(in("file")); f != nil {
		err = errors.Join(err, f.Close())
	}
	errs[vfs.OpRename] = fsys.Rename(in("file"), in("moved"))
	errs[vfs.OpSyncDir] = fsys.SyncDir(dir)
	errs[vfs.OpRemove] = fsys.Remove(in("moved"))
	errs[0] = err
	return errs
}

func TestFaultFailsEachKind(t *testing.T) {
	count := vfs.NewFault(vfs.OS())
	for op, err := range calls(count, t.TempDir()) {
		if err != nil || op != 0 && count.Count(op) != 1 {
			t.Fatalf("without a rule, %b: %d calls, %v", op, count.Count(op), err)
		}
	}
	if n := count.Count(vfs.OpAll); n != 12 {
		t.Fatalf("%d kinds were counted", n)
	}
	for op := vfs.OpOpen; op < vfs.OpAll; op <<= 1 {
		fault := vfs.NewFault(vfs.OS())
		fault.Inject(vfs.Rule{Ops: op, Err: syscall.EIO})
		if err := calls(fault, t.TempDir())[op]; !errors.Is(err, syscall.EIO) || fault.Hits() != 1 {
			t.Errorf("%b: %v, %d hits", op, err, fault.Hits())
		}
	}
}

func TestFaultFailsTheNth(t *testing.T) {
	run := func(r vfs.Rule) (failed []int, f *vfs.Fault) {
		f = vfs.NewFault(vfs.NewMem())
		file := create(t, f, "file", "not counted by the rule")
		other := create(t, f, "other", "")
		f.Inject(r)
		for i := range 6 {
			_, err := file.WriteAt([]byte("0123"), int64(4*i))
			if errors.Is(err, r.Err) {
				failed = append(failed, i+1)
			}
			if err := other.Sync(); err != nil {
				t.Error(err)
			}
		}
		return failed, f
	}
	for name, tc := range map[string]struct {
		rule vfs.Rule
		want int // how many fail, from the third on
	}{
		"once":          {vfs.Rule{Ops: vfs.OpWrite, N: 3, Err: syscall.ENOSPC}, 1},
		"onwards":       {vfs.Rule{Ops: vfs.OpWrite, N: 3, Onwards: true, Err: syscall.ENOSPC}, 4},
		"another name":  {vfs.Rule{Ops: vfs.OpAll, Match: "else*", N: 1, Err: syscall.ENOSPC}, 0},
		"name matches":  {vfs.Rule{Ops: vfs.OpAll, Match: "f*e", N: 3, Err: syscall.ENOSPC}, 1},
		"never reached": {vfs.Rule{Ops: vfs.OpWrite, N: 7, Err: syscall.ENOSPC}, 0},
	} {
		failed, f := run(tc.rule)
		if len(failed) != tc.want || tc.want > 0 && failed[0] != 3 || f.Hits() != tc.want {
			t.Errorf("%s: the calls %v failed, %d hits", name, failed, f.Hits())
		}
		if n := f.Count(vfs.OpWrite); n != 8 {
			t.Errorf("%s: %d writes were counted", name, n)
		}
	}
}

func TestFaultShort(t *testing.T) {
	mem := vfs.NewMem()
	f := vfs.NewFault(mem)
	file := create(t, f, "file", "")
	f.Inject(vfs.Rule{Ops: vfs.OpWrite | vfs.OpAllocate, Onwards: true, Short: true, Err: syscall.ENOSPC})
	if n, err := file.WriteAt([]byte("0123456789"), 0); n != 5 || !errors.Is(err, syscall.ENOSPC) || string(content(t, mem, "file")) != "01234" {
		t.Errorf("%d bytes were written: %v", n, err)
	}
	if err := file.Allocate(0, 100); !errors.Is(err, syscall.ENOSPC) || len(content(t, mem, "file")) != 50 {
		t.Errorf("%d bytes were allocated: %v", len(content(t, mem, "file")), err)
	}
	f.Clear()
	if n, err := file.WriteAt([]byte("0123456789"), 0); n != 10 || err != nil {
		t.Errorf("without the rule: %d bytes, %v", n, err)
	}
}

// Before sees the disk as it is before the call, which takes place when there is no error.
func TestFaultBefore(t *testing.T) {
	mem := vfs.NewMem()
	f := vfs.NewFault(mem)
	file := create(t, f, "file", "a")
	var before string
	f.Inject(vfs.Rule{Ops: vfs.OpChanges, N: 2, Before: func() { before = string(content(t, mem, "file")) }})
	for range 3 {
		size := must[int64](t)(file.Size())
		_ = must[int](t)(file.WriteAt([]byte("b"), size))
	}
	if before != "ab" || string(content(t, mem, "file")) != "abbb" {
		t.Errorf("it was called with %q", before)
	}
}

func TestFaultNamesTheCall(t *testing.T) {
	f := vfs.NewFault(vfs.NewMem())
	f.Inject(vfs.Rule{Ops: vfs.OpCreate, Err: syscall.EIO})
	if _, err := f.Create("some/file"); err == nil || !strings.Contains(err.Error(), "some/file") {
		t.Errorf("got %v", err)
	}
}
