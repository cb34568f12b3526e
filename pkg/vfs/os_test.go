package vfs

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A file system without fallocate gets zeros behind the end, and nothing before it changes.
func TestWriteZeros(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	for _, length := range []int64{3, 5, 3<<20 + 7, 100} {
		if err := writeZeros(f, 2, length); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || !bytes.Equal(got, append([]byte("hello"), make([]byte, 3<<20+4)...)) {
		t.Errorf("it holds %d bytes, %v", len(got), err)
	}
}
