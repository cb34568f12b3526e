package manifest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"syscall"
	"testing"

	"github.com/engram-memory/engram/pkg/vfs"
)

// generation is a manifest that is told from others by its length too.
func generation(n int) *Manifest {
	m := demo()
	m.NextID = uint32(9 + n)
	for i := range n {
		m.Horizons = append(m.Horizons, Horizon{Space: uint32(100 + i), Sequence: uint64(n)})
	}
	return m
}

// TestCrashAtEachCall replaces a manifest, and has the process die or the power go before each call, and each call fail.
// Either the old or the new one must be there, whole, and the new one once Store has returned nil.
func TestCrashAtEachCall(t *testing.T) {
	crashes, failures := 0, 0
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		fault := vfs.NewFault(mem)
		if err := fault.MkdirAll("dir"); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(generation(1).Store(fault, "dir"), mem.SyncDir(".")); err != nil {
			t.Fatal(err)
		}
		check := func(what string, fsys *vfs.Mem, from int) {
			t.Helper()
			crashes++
			got, err := Load(fsys, "dir")
			if err != nil {
				t.Fatalf("call %d, %s: %v", n, what, err)
			}
			for g := from; g <= 2; g++ {
				if reflect.DeepEqual(got, generation(g)) {
					// It can be replaced, whatever is beside it.
					if err := generation(3).Store(fsys, "dir"); err != nil {
						t.Fatalf("call %d, %s: %v", n, what, err)
					}
					return
				}
			}
			t.Fatalf("call %d, %s: the manifest is %+v", n, what, got)
		}
		crash := func(what string, from int) {
			t.Helper()
			check(what+", killed", mem.Kill(), from)
			check(what+", no power", mem.LosePower(nil), from)
			for seed := range uint64(8) {
				check(fmt.Sprintf("%s, no power %d", what, seed), mem.LosePower(rand.New(rand.NewPCG(seed, uint64(n)))), from)
			}
		}
		fault.Inject(vfs.Rule{Ops: vfs.OpAll, N: n, Err: syscall.ENOSPC, Short: true, Before: func() { crash("before", 1) }})
		err := generation(2).Store(fault, "dir")
		if fault.Hits() == 0 {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		failures++
		// Removing what an earlier process has left fails where there is nothing, which is no failure then.
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("call %d: %v", n, err)
		}
		crash("after a failure", 1)
		if err := generation(2).Store(fault, "dir"); err != nil {
			t.Fatalf("call %d failed, and the next Store too: %v", n, err)
		}
		crash("after it came right", 2)
	}
	if failures < 6 {
		t.Errorf("only %d calls were failed", failures)
	}
}

// TestFullDiskIsLeftAsItWas has no room for a manifest, and leaves no half of one.
func TestFullDiskIsLeftAsItWas(t *testing.T) {
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	if err := errors.Join(fault.MkdirAll("dir"), generation(1).Store(fault, "dir")); err != nil {
		t.Fatal(err)
	}
	fault.Inject(vfs.Rule{Ops: vfs.OpWrite, Onwards: true, Err: syscall.ENOSPC, Short: true})
	for range 3 {
		if err := generation(2).Store(fault, "dir"); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("Store = %v", err)
		}
		if names, err := mem.List("dir"); err != nil || len(names) != 1 {
			t.Errorf("the directory has %q, %v", names, err)
		}
	}
	fault.Clear()
	if err := generation(2).Store(fault, "dir"); err != nil {
		t.Fatal(err)
	}
}
