package npy

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func save(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.npy")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return f
}

// value is the element that the tests put at (i, j); a half holds it exactly.
func value(i, j int) float32 { return float32(i) - float32(j)/4 }

func written(t *testing.T, dtype DType, rows, cols int) []byte {
	t.Helper()
	var b bytes.Buffer
	err := Write(&b, dtype, rows, cols, func(i int, dst []float32) error {
		for j := range dst {
			dst[j] = value(i, j)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWriteThenOpen(t *testing.T) {
	for _, c := range []struct {
		dtype      DType
		rows, cols int
	}{{Float32, 7, 5}, {Float16, 7, 5}, {Float16, 1, 1}, {Float32, 0, 768}, {Float32, 300, 128}} {
		f := open(t, save(t, written(t, c.dtype, c.rows, c.cols)))
		if f.Rows() != c.rows || f.Cols() != c.cols || f.DType() != c.dtype {
			t.Fatalf("opened as %d × %d %s, want %+v", f.Rows(), f.Cols(), f.DType(), c)
		}
		dst := make([]float32, 0, c.cols)
		for i := range c.rows {
			got, err := f.Row(i, dst)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != c.cols || &got[0] != &dst[:1][0] {
				t.Fatalf("row %d: length %d, and dst must be used", i, len(got))
			}
			for j, v := range got {
				if v != value(i, j) {
					t.Fatalf("%+v: [%d][%d] = %v, want %v", c, i, j, v, value(i, j))
				}
			}
		}
		for _, i := range []int{-1, c.rows, math.MaxInt} {
			if _, err := f.Row(i, nil); err == nil || !strings.Contains(err.Error(), "there is no row") {
				t.Errorf("row %d of %d: %v", i, c.rows, err)
			}
		}
	}
}

func TestOneDimension(t *testing.T) {
	b := preamble(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }\n")
	f := open(t, save(t, append(b, 0x00, 0x3c, 0x00, 0xc0))) // 1, -2
	got, err := f.Row(1, nil)
	if err != nil || f.Rows() != 2 || f.Cols() != 1 || !cmp.Equal(got, []float32{-2}) {
		t.Errorf("%d × %d, row 1 = %v, %v", f.Rows(), f.Cols(), got, err)
	}
}

func TestInt32Row(t *testing.T) {
	b := preamble(2, "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 2), }\n")
	b = append(b, 1, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0x80)
	f := open(t, save(t, b))
	got, err := f.Int32Row(1, nil)
	if err != nil || !cmp.Equal(got, []int32{-1, math.MinInt32}) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := f.Int32Row(2, nil); err == nil {
		t.Error("row 2 of 2 was read")
	}
	if _, err := f.Row(0, nil); !errors.Is(err, ErrUnsupported) {
		t.Errorf("int32 read as embeddings: %v", err)
	}
	if _, err := open(t, save(t, written(t, Float32, 1, 1))).Int32Row(0, nil); !errors.Is(err, ErrUnsupported) {
		t.Errorf("float32 read as int32: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	whole := written(t, Float32, 3, 4)
	for _, c := range []struct {
		name, says string
		in         []byte
	}{
		{"one byte short", "48 bytes, and 47 bytes follow it: it was cut short", whole[:len(whole)-1]},
		{"one byte long", "48 bytes, and 49 bytes follow it: something was appended", append(bytes.Clone(whole), 0)},
		{"no data", "and 0 bytes follow it", whole[:128]},
		{"empty", "ends within the magic", nil},
	} {
		path := save(t, c.in)
		_, err := Open(path)
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none.npy")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrFormat) {
		t.Errorf("folder: %v", err)
	}
}

func TestClose(t *testing.T) {
	f := open(t, save(t, written(t, Float32, 2, 2)))
	row, err := f.Row(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if row[0] != value(1, 0) {
		t.Error("the row did not outlive the file")
	}
	if _, err := f.Row(0, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("row after close: %v", err)
	}
	if err := f.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second close: %v", err)
	}
}

func TestConcurrentRows(t *testing.T) {
	f := open(t, save(t, written(t, Float16, 64, 32)))
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var dst []float32
			for i := range f.Rows() {
				var err error
				if dst, err = f.Row(i, dst); err != nil || dst[g] != value(i, g) {
					t.Errorf("row %d: %v, %v", i, dst, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestWriteRefuses(t *testing.T) {
	fill := func(v float32) func(int, []float32) error {
		return func(_ int, dst []float32) error {
			dst[len(dst)-1] = v
			return nil
		}
	}
	own := errors.New("no such row")
	for _, c := range []struct {
		name       string
		dtype      DType
		rows, cols int
		row        func(int, []float32) error
		says       string
	}{
		{"int32", Int32, 1, 1, fill(0), "only float32 and float16"},
		{"no type", 0, 1, 1, fill(0), "DType(0)"},
		{"negative rows", Float32, -1, 1, fill(0), "at least 0"},
		{"negative columns", Float32, 1, -1, fill(0), "at least 0"},
		{"huge columns", Float32, 1, math.MaxInt, fill(0), "0..1048576"},
		{"too large", Float32, math.MaxInt / 2, 4, fill(0), "do not fit"},
		{"over the largest half", Float16, 1, 2, fill(65520), "65520 in column 1"},
		{"row's own error", Float16, 1, 2, func(int, []float32) error { return own }, "row 0 of an .npy array: no such row"},
	} {
		err := Write(new(bytes.Buffer), c.dtype, c.rows, c.cols, c.row)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// Infinities are the caller's own, and have a half.
	if err := Write(new(bytes.Buffer), Float16, 1, 1, fill(float32(math.Inf(1)))); err != nil {
		t.Error(err)
	}
}

func TestWriteStopsAtFullDisk(t *testing.T) {
	full := errors.New("disk full")
	rows := 0
	err := Write(errWriter{full}, Float32, 1<<20, 1024, func(int, []float32) error { rows++; return nil })
	if !errors.Is(err, full) || rows > 64 {
		t.Errorf("after %d rows: %v", rows, err)
	}
}

type errWriter struct{ err error }

func (w errWriter) Write([]byte) (int, error) { return 0, w.err }
