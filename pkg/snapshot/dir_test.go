package snapshot_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/engram-memory/engram/pkg/snapshot"
	"github.com/engram-memory/engram/pkg/vfs"
)

// Power is lost at any call of a Put, which may have been under way or have failed before: the blob is what it was, or what it
// was to become, and whole; what Put has called stored is.
func TestDirLosesPower(t *testing.T) {
	const name = "a/0/1/chunk-1"
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		before, err := snapshot.NewDir(mem, "store", "test")
		if err != nil {
			t.Fatal(err)
		}
		if err := before.Put(within(t), name, []byte("old")); err != nil {
			t.Fatal(err)
		}
		fault := vfs.NewFault(mem)
		var dark *vfs.Mem
		fault.Inject(vfs.Rule{Ops: vfs.OpChanges, N: n, Before: func() { dark = mem.LosePower(rand.New(rand.NewPCG(uint64(n), 1))) }})
		during, err := snapshot.NewDir(fault, "store", "test")
		if err != nil {
			t.Fatal(err)
		}
		if err := during.Put(within(t), name, []byte("new one")); err != nil {
			t.Fatal(err)
		}
		done := dark == nil
		if done {
			dark = mem.LosePower(rand.New(rand.NewPCG(1, 1)))
		}
		after, err := snapshot.NewDir(dark, "store", "test")
		if err != nil {
			t.Fatal(err)
		}
		got, err := after.Get(within(t), name)
		if err != nil || string(got) != "new one" && (done || string(got) != "old") {
			t.Errorf("call %d: %q, %v", n, got, err)
		}
		if blobs, err := after.List(within(t), ""); err != nil || len(blobs) != 1 {
			t.Errorf("call %d: %v, %v", n, blobs, err)
		}
		if err := after.Put(within(t), name, []byte("again")); err != nil {
			t.Errorf("call %d: %v", n, err)
		}
		if done {
			if n < 4 {
				t.Errorf("only %d calls", n)
			}
			return
		}
	}
}

// A Put that fails at any call says so, and leaves what was.
func TestDirFails(t *testing.T) {
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		fault := vfs.NewFault(mem)
		s, err := snapshot.NewDir(fault, "store", "test")
		if err != nil {
			t.Fatal(err)
		}
		fault.Inject(vfs.Rule{Ops: vfs.OpChanges, N: n, Err: syscall.ENOSPC, Short: true})
		err = s.Put(within(t), "a/b", []byte("text"))
		if fault.Hits() == 0 {
			if err != nil || n < 5 {
				t.Errorf("%d calls: %v", n, err)
			}
			return
		}
		got, gerr := s.Get(within(t), "a/b")
		switch {
		case err == nil && fault.Count(vfs.OpRemove) > 0 && gerr == nil:
			// What failed was to remove what nobody had left.
		case !errors.Is(err, syscall.ENOSPC):
			t.Errorf("call %d failed: %v", n, err)
		case gerr == nil && string(got) != "text" || gerr != nil && !errors.Is(gerr, snapshot.ErrNotFound):
			t.Errorf("call %d left %q, %v", n, got, gerr)
		}
		if err := s.Put(within(t), "a/b", []byte("text")); err != nil {
			t.Errorf("after call %d: %v", n, fmt.Sprint(err))
		}
	}
}
