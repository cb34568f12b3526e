//go:build unix

package columns

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/engram-memory/engram/pkg/vector"
	"github.com/engram-memory/engram/pkg/vfs"
)

// The file is shortened under its mapping, which only the real file system takes for a fault.
func TestFaultsBecomeErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.col")
	f := created(t, vfs.OS(), path, 3000)
	fillAll(f, 3000)
	ok(t, f.Settle(1))
	ok(t, os.Truncate(path, small().chunkOffset(1)))
	c := f.Chunks()
	q := make([]int8, vector.U4QuerySize(30))
	for name, call := range map[string]func() error{
		"a read":  func() error { return errors.New(string(rune(c.Sketch(2000)[0]))) },
		"a write": func() error { c.Links(2000)[0] = 1; return nil },
		"a kernel": func() error {
			vector.DotU4List(q, 16, c.Codes, c.Shift(), c.CodeStride(), []uint32{3, 1500}, make([]int32, 2))
			return nil
		},
		"a nested one": func() error {
			return vfs.Guard(func() error { return vfs.Guard(func() error { c.Info(2000).Norm = 1; return nil }) })
		},
	} {
		if err := vfs.Guard(call); !errors.Is(err, vfs.ErrFault) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{"Settle": f.Settle(2), "VerifyBlock": f.VerifyBlock(0), "sealing": f.sumAll()} {
		if !errors.Is(err, vfs.ErrFault) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What is still there works.
	if err := vfs.Guard(func() error { checkAll(t, f, 1024); return nil }); err != nil {
		t.Error(err)
	}
	ok(t, f.Close())
}

func (f *File) sumAll() error {
	return f.sum(context.Background(), 2, f.header.Layout.blocks(len(f.mappings())-1), func(int, uint32) {})
}
