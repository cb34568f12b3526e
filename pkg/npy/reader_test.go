package npy

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReaderReadsWhatFileReads(t *testing.T) {
	for _, c := range []struct {
		dtype      DType
		rows, cols int
	}{{Float32, 1000, 128}, {Float16, 1000, 300}, {Float16, 3, 200_000}, {Float32, 1, 1}} {
		path := save(t, written(t, c.dtype, c.rows, c.cols))
		mapped := open(t, path)
		r, err := OpenReader(path)
		if err != nil {
			t.Fatal(err)
		}
		if r.Rows() != c.rows || r.Cols() != c.cols {
			t.Errorf("%+v: opened as %d × %d", c, r.Rows(), r.Cols())
		}
		dst := make([]float32, c.cols)
		// Forwards, and here and there.
		for n := range 2 * c.rows {
			i := n
			if n >= c.rows {
				i = n * 7919 % c.rows
			}
			got, err := r.Row(i, dst)
			want, werr := mapped.Row(i, nil)
			if err != nil || werr != nil {
				t.Fatal(err, werr)
			}
			if !cmp.Equal(got, want) {
				t.Fatalf("%+v: row %d differs", c, i)
			}
			if &got[0] != &dst[0] {
				t.Fatal("dst was not used")
			}
		}
		for _, i := range []int{-1, c.rows, math.MaxInt} {
			if _, err := r.Row(i, nil); err == nil || !strings.Contains(err.Error(), "there is no row") {
				t.Errorf("row %d of %d: %v", i, c.rows, err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	var ints bytes.Buffer
	if err := WriteInt32(&ints, 1, 1, func(int, []int32) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReader(save(t, ints.Bytes())); !errors.Is(err, ErrUnsupported) {
		t.Errorf("int32: %v", err)
	}
	if _, err := OpenReader(save(t, written(t, Float32, 2, 2)[:130])); !errors.Is(err, ErrFormat) {
		t.Errorf("cut short: %v", err)
	}
	if _, err := OpenReader(filepath.Join(t.TempDir(), "none.npy")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

// A file that is shortened while it is open is an error, then and whenever the row is asked for again.
func TestReaderOfShortenedFile(t *testing.T) {
	path := save(t, written(t, Float32, 8, 4))
	r, err := OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.Truncate(path, 140); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.Row(3, nil); !errors.Is(err, io.EOF) {
			t.Errorf("%v", err)
		}
	}
}

func TestWriteInt32(t *testing.T) {
	var b bytes.Buffer
	err := WriteInt32(&b, 3, 2, func(i int, dst []int32) error {
		dst[0], dst[1] = int32(-i), math.MaxInt32
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, save(t, b.Bytes()))
	if f.Rows() != 3 || f.Cols() != 2 || f.DType() != Int32 {
		t.Fatalf("opened as %d × %d %s", f.Rows(), f.Cols(), f.DType())
	}
	if got, err := f.Int32Row(2, nil); err != nil || !cmp.Equal(got, []int32{-2, math.MaxInt32}) {
		t.Errorf("%v, %v", got, err)
	}

	own, full := errors.New("no such row"), errors.New("disk full")
	if err := WriteInt32(new(bytes.Buffer), 1, 1, func(int, []int32) error { return own }); !errors.Is(err, own) {
		t.Errorf("the row's own error: %v", err)
	}
	if err := WriteInt32(new(bytes.Buffer), 1, maxWriteCols+1, nil); !errors.Is(err, ErrUnsupported) {
		t.Errorf("too many columns: %v", err)
	}
	if err := WriteInt32(errWriter{full}, 1<<20, 1024, func(int, []int32) error { return nil }); !errors.Is(err, full) {
		t.Errorf("a full disk: %v", err)
	}
}
