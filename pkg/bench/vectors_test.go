package bench

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/npy"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// idx is an IDX file of bytes whose element at i of the array is i mod 251.
func idx(dims ...uint32) []byte {
	b, n := []byte{0, 0, idxBytes, byte(len(dims))}, 1
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
		n *= int(d)
	}
	for i := range n {
		b = append(b, byte(i%251))
	}
	return b
}

func compressed(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func save(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// saveRows writes generated rows from..to-1 as .npy.
func saveRows(t *testing.T, dim, from, to int) string {
	t.Helper()
	src := newRowSource(nil, dim)
	var b bytes.Buffer
	err := npy.Write(&b, npy.Float32, to-from, dim, func(i int, dst []float32) error {
		_, err := src.row(from+i, dst)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return save(t, "rows.npy", b.Bytes())
}

func TestOpenVectorsReadsIDX(t *testing.T) {
	plain := idx(60, 7, 11)
	for name, b := range map[string][]byte{"plain": plain, "compressed": compressed(t, plain)} {
		dir := t.TempDir()
		f, err := openVectors(save(t, name, b), dir)
		if err != nil {
			t.Fatal(name, err)
		}
		if f.Rows() != 60 || f.Cols() != 77 {
			t.Errorf("%s: %d × %d", name, f.Rows(), f.Cols())
		}
		for _, i := range []int{59, 0, 31} {
			row, err := f.Row(i, nil)
			if err != nil {
				t.Fatal(err)
			}
			for j, v := range row {
				if v != float32((i*77+j)%251) {
					t.Fatalf("%s: row %d, component %d is %v", name, i, j, v)
				}
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenVectorsRefuses(t *testing.T) {
	good := idx(3, 4)
	changed := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	pressed := compressed(t, good)
	badSum := bytes.Clone(pressed)
	badSum[len(badSum)-8] ^= 1
	var empty bytes.Buffer
	if err := npy.Write(&empty, npy.Float32, 0, 4, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, says string
		in         []byte
	}{
		{"nothing", "ends within the magic", nil},
		{"one byte", "ends within the magic", good[:1]},
		{"neither", `starts with "PK`, []byte("PK\x03\x04 is a zip file")},
		{"floats", "type 0x0d", changed(2, 0x0d)},
		{"labels", "1 dimensions", idx(5)},
		{"too many dimensions", "9 dimensions", changed(3, 9)},
		{"cut in the magic", "ends within the magic", good[:3]},
		{"cut in the lengths", "ends within the lengths", good[:9]},
		{"cut in a row", "ends within row 2 of 3", good[:len(good)-1]},
		{"longer", "something follows", append(bytes.Clone(good), 0)},
		{"huge rows", "components or more", idx(0, 1<<16, 1<<16)},
		{"components that overflow", "components or more", idx(0, math.MaxUint32, math.MaxUint32, math.MaxUint32)},
		{"no components", "have 0 components", idx(3, 0)},
		{"many rows that are not there", "ends within row 3 of", changed(4, 0xff)},
		{"no rows", "0 rows", idx(0, 4)},
		{"no rows, npy", "0 rows", empty.Bytes()},
		{"compressed nonsense", "", []byte{0x1f, 0x8b, 1, 2, 3}},
		{"compressed, cut", "", pressed[:len(pressed)-9]},
		{"compressed, wrong sum", "checksum", badSum},
		{"compressed, something else", "begins with", compressed(t, []byte("hello, world"))},
	} {
		dir := t.TempDir()
		_, err := openVectors(save(t, "in", c.in), dir)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if left, gerr := filepath.Glob(filepath.Join(dir, "*")); gerr != nil || len(left) > 0 && !strings.HasPrefix(c.name, "no rows") {
			t.Errorf("%s: left behind %v, %v", c.name, left, gerr)
		}
	}
	if _, err := openVectors(filepath.Join(t.TempDir(), "none"), t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func FuzzReadIDX(f *testing.F) {
	f.Add(idx(3, 4))
	f.Add(idx(2, 3, 5))
	f.Add([]byte{0, 0, idxBytes, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1})
	f.Add([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := readIDX(bytes.NewReader(b))
		if x == nil || err != nil {
			return
		}
		dst := make([]float32, x.cols)
		for i := range x.rows {
			if err := x.next(i, dst); err != nil {
				return
			}
			if i > len(b) && b[0] == 0 {
				t.Fatalf("%d rows were read from %d bytes", i, len(b))
			}
		}
		_ = x.end()
	})
}

func TestConvert(t *testing.T) {
	in, out := save(t, "in", compressed(t, idx(60, 7, 11))), filepath.Join(t.TempDir(), "out.npy")
	for _, c := range []struct{ rows, want int }{{0, 60}, {10, 10}, {100, 60}} {
		rows, cols, err := Convert(t.Context(), ConvertConfig{In: in, Out: out, Rows: c.rows})
		if err != nil || rows != c.want || cols != 77 {
			t.Fatalf("%d × %d, %v", rows, cols, err)
		}
		f, err := npy.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		row, err := f.Row(9, nil)
		if f.DType() != npy.Float32 || f.Rows() != c.want || err != nil || row[76] != float32((9*77+76)%251) {
			t.Errorf("%s, %d rows, %v, %v", f.DType(), f.Rows(), row, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := Convert(t.Context(), ConvertConfig{In: in, Out: out, Rows: -1}); err == nil {
		t.Error("a negative number of rows was taken")
	}
	if _, _, err := Convert(t.Context(), ConvertConfig{In: in, Out: filepath.Join(t.TempDir(), "none", "out.npy")}); err == nil {
		t.Error("a file in no directory was written")
	}
}

// The exact neighbours are those that a plain loop in float64 finds.
func TestTruth(t *testing.T) {
	const n, nq, dim, k = 700, 20, 24, 10
	base, queries := saveRows(t, dim, 0, n), saveRows(t, dim, n, n+nq)
	src := newRowSource(nil, dim)
	for name, metric := range map[string]vecstore.Metric{"cosine": vecstore.Cosine, "dot": vecstore.Dot, "l2": vecstore.L2} {
		out := filepath.Join(t.TempDir(), "truth.npy")
		if err := Truth(t.Context(), TruthConfig{Base: base, Queries: queries, Out: out, Metric: metric, K: k, Threads: 3}); err != nil {
			t.Fatal(err)
		}
		got, err := readTruth(out, nq, n, k)
		if err != nil {
			t.Fatal(err)
		}
		for i := range nq {
			q, err := src.row(n+i, nil)
			if err != nil {
				t.Fatal(err)
			}
			type rated struct {
				row      int32
				distance float64
			}
			all := make([]rated, n)
			for r := range n {
				v, err := src.row(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				var dot, square, l2 float64
				for j := range v {
					x, y := float64(v[j]), float64(q[j])
					dot, square, l2 = dot+x*y, square+x*x, l2+(x-y)*(x-y)
				}
				all[r] = rated{int32(r), map[vecstore.Metric]float64{
					vecstore.Cosine: -dot / math.Sqrt(square), vecstore.Dot: -dot, vecstore.L2: l2}[metric]}
			}
			slices.SortFunc(all, func(a, b rated) int { return cmp.Compare(a.distance, b.distance) })
			for j, row := range got[i] {
				if row != all[j].row && all[j].distance != all[slices.IndexFunc(all, func(r rated) bool { return r.row == row })].distance {
					t.Fatalf("%s, query %d: %v, want %v", name, i, got[i], all[:k])
				}
			}
		}
	}
}

func TestTruthRefuses(t *testing.T) {
	base, other := saveRows(t, 16, 0, 20), saveRows(t, 24, 0, 5)
	good := TruthConfig{Base: base, Queries: base, Out: filepath.Join(t.TempDir(), "out.npy"), Metric: vecstore.Cosine, K: 10, Threads: 1}
	for says, change := range map[string]func(*TruthConfig){
		"-k is 0":       func(c *TruthConfig) { c.K = 0 },
		"--threads 0":   func(c *TruthConfig) { c.Threads = 0 },
		"has 20 rows":   func(c *TruthConfig) { c.K = 21 },
		"24 components": func(c *TruthConfig) { c.Queries = other },
		"no such file":  func(c *TruthConfig) { c.Base = "/nowhere/base.npy" },
	} {
		c := good
		change(&c)
		if err := Truth(t.Context(), c); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
		if _, err := os.Stat(c.Out); err == nil {
			t.Errorf("%q: a file was written", says)
		}
	}
}

// A row is the same whenever it is asked for; a row of the file that is used again is near to it and not the same.
func TestRowsAreTheSameEachTime(t *testing.T) {
	const n, dim = 50, 32
	f, err := openVectors(saveRows(t, dim, 0, n), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, src := range map[string]*rowSource{"file": newRowSource(f, 0), "generated": newRowSource(nil, dim)} {
		seen := map[int][]float32{}
		for range 400 {
			i := rand.IntN(3 * n)
			v, err := src.row(i, nil)
			if err != nil {
				t.Fatal(err)
			}
			if old, ok := seen[i]; ok && !slices.Equal(old, v) {
				t.Fatalf("%s: row %d changed", name, i)
			}
			seen[i] = v
		}
		if _, err := src.row(-1, nil); err == nil {
			t.Errorf("%s: row -1 is there", name)
		}
	}
	src := newRowSource(f, 0)
	a, _ := src.row(7, nil)
	b, _ := src.row(7+n, nil)
	var moved float64
	for j := range a {
		moved += float64(a[j]-b[j]) * float64(a[j]-b[j])
	}
	if want := noiseSigma * math.Sqrt(dim); math.Sqrt(moved) < want/2 || math.Sqrt(moved) > want*2 {
		t.Errorf("a row of length %v is moved by %v, want about %v", norm(a), math.Sqrt(moved), want)
	}
}
