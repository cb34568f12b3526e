package columns

import (
	"testing"

	"github.com/engram-memory/engram/pkg/vfs"
)

func BenchmarkReference(b *testing.B) {
	f, err := Create(vfs.NewMem(), "a.col", header(small()))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		f.Acquire()
		f.Release()
	}
}

// BenchmarkLinks reads the links of rows all over a file.
func BenchmarkLinks(b *testing.B) {
	f, err := Create(vfs.NewMem(), "a.col", header(small()))
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Grow(4096); err != nil {
		b.Fatal(err)
	}
	c := f.Chunks()
	row, sum := uint32(0), uint32(0)
	for b.Loop() {
		row = (row + 1237) & 4095
		sum += c.Links(row)[1]
	}
	_ = sum
}
