//go:build unix

package npy

import (
	"errors"
	"os"
	"testing"
)

// A map of a file that someone truncates raises SIGBUS when it is read; that must not end the process. Only Unix lets
// anyone truncate a mapped file.
func TestShortenedWhileOpen(t *testing.T) {
	path := save(t, written(t, Float32, 64, 1024)) // a page of 4 KiB a row
	f := open(t, path)
	if err := os.Truncate(path, 128); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Row(60, nil); !errors.Is(err, errShortened) {
		t.Errorf("got %v", err)
	}
}
