package columns

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/engram-memory/engram/pkg/vfs"
)

// life is all that happens to a file. It goes on after an error where an owner would.
func life(fsys vfs.FS, path string) (err error) {
	f, err := Create(fsys, path, header(small()))
	if err != nil {
		return err
	}
	err = f.Grow(1500)
	for row := range min(1500, f.Chunks().Rows()) {
		fill(f.Chunks(), row)
	}
	err = errors.Join(err, f.Grow(3000), f.Sync(), f.Seal(2), f.Close())
	if err != nil {
		return err
	}
	if f, err = Open(fsys, path, header(small())); err != nil {
		return err
	}
	if err := f.Verify(context.Background(), 2); err != nil {
		return errors.Join(err, f.Close())
	}
	err = errors.Join(f.Grow(4000), f.Sync())
	f.Drop()
	return errors.Join(err, f.Close())
}

// Each call of each kind fails in turn, for once and for good: the error reaches the caller, and nothing stays open.
func TestEveryCallFails(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, path string) {
		count := vfs.NewFault(fsys)
		ok(t, life(count, path))
		n := 0
		for op := vfs.OpOpen; op < vfs.OpAll; op <<= 1 {
			for i := 1; i <= count.Count(op); i++ {
				for _, rule := range []vfs.Rule{
					{Ops: op, N: i, Err: syscall.ENOSPC}, {Ops: op, N: i, Onwards: true, Err: syscall.EIO}, {Ops: op, N: i, Short: true, Err: syscall.ENOSPC},
				} {
					fault := vfs.NewFault(fsys)
					fault.Inject(rule)
					if err := life(fault, path); !errors.Is(err, rule.Err) {
						t.Errorf("call %d of kind %b: %v", i, op, err)
					}
					ok(t, Remove(fsys, path))
					n++
				}
			}
		}
		for _, op := range []vfs.Op{vfs.OpAllocate, vfs.OpMap, vfs.OpMsync, vfs.OpSync, vfs.OpSyncDir, vfs.OpWrite, vfs.OpRead} {
			if count.Count(op) == 0 {
				t.Errorf("nothing of kind %b ever happens", op)
			}
		}
		if n < 100 {
			t.Errorf("only %d calls were failed", n)
		}
	})
}

// A full disk is an error that leaves the file as it was, and growth goes on when there is room again.
func TestGrowOnAFullDisk(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, path string) {
		for name, rule := range map[string]vfs.Rule{
			"allocate":        {Ops: vfs.OpAllocate, Onwards: true, Err: syscall.ENOSPC},
			"allocate a half": {Ops: vfs.OpAllocate, Short: true, Onwards: true, Err: syscall.ENOSPC},
			"map":             {Ops: vfs.OpMap, Onwards: true, Err: syscall.ENOMEM},
			"second map":      {Ops: vfs.OpMap, N: 2, Onwards: true, Err: syscall.ENOMEM},
			"truncate too":    {Ops: vfs.OpAllocate | vfs.OpTruncate, Short: true, Onwards: true, Err: syscall.ENOSPC},
		} {
			fault := vfs.NewFault(fsys)
			f := created(t, fault, path, 1024)
			fillAll(f, 1024)
			before := f.Chunks()
			fault.Inject(rule)
			for range 3 {
				if err := f.Grow(3000); !errors.Is(err, rule.Err) {
					t.Fatalf("%s: %v", name, err)
				}
				chunks := int(f.Chunks().Rows() >> 10)
				size, err := f.file.Size()
				ok(t, err)
				if want := small().chunkOffset(chunks); size != want && name != "truncate too" || uint64(chunks) != f.State().chunks.Load() {
					t.Errorf("%s: the file has %d bytes and %d chunks", name, size, chunks)
				}
			}
			if name != "second map" && f.Chunks() != before {
				t.Errorf("%s: the rows changed", name)
			}
			checkAll(t, f, 1024)
			fault.Clear()
			ok(t, f.Grow(3000))
			for row := uint32(1024); row < 3000; row++ {
				if *f.Chunks().Sequence(row) != 0 {
					t.Fatalf("%s: row %d is not zero", name, row)
				}
			}
			fillAll(f, 3000)
			checkAll(t, f, 3000)
			ok(t, f.Seal(1))
			ok(t, f.Close())
			ok(t, verified(fsys, path))
			ok(t, Remove(fsys, path))
		}
	})
}

// A sync that failed once vouches for nothing afterwards.
func TestFailedSyncStays(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpSync, vfs.OpMsync} {
		fault := vfs.NewFault(vfs.NewMem())
		f := created(t, fault, "a.col", 10)
		fault.Inject(vfs.Rule{Ops: op, Err: syscall.EIO})
		for i, err := range []error{f.Sync(), f.Sync(), f.Seal(1)} {
			if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
				t.Errorf("%b, call %d: %v", op, i, err)
			}
		}
		ok(t, f.Close())
		is(t, verified(fault, "a.col"), ErrNotSealed)
	}
}

// Checksums that could not be written are not there: neither half of them, nor those of before.
func TestFailedSealLeavesNoSums(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpCreate, vfs.OpWrite, vfs.OpSync} {
		mem := vfs.NewMem()
		fault := vfs.NewFault(mem)
		f := created(t, fault, "a.col", 10)
		ok(t, f.Seal(1))
		fault.Inject(vfs.Rule{Ops: op, Match: "*.sums", Short: true, Err: syscall.ENOSPC})
		is(t, f.Seal(1), syscall.ENOSPC)
		if names, err := mem.List("."); err != nil || fmt.Sprint(names) != "[a.col]" {
			t.Errorf("%b: there is %q, %v", op, names, err)
		}
		ok(t, f.Seal(1))
		ok(t, f.Close())
		ok(t, verified(mem, "a.col"))
	}
}
