package columns

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/engram-memory/engram/pkg/vfs"
)

// small is a layout with every column, chunks of 1,024 rows and a padding behind the last column.
func small() Layout {
	return Layout{Dim: 30, Sketch: 32, Code: 16, Links: 5, UpperLinks: 3, ChunkShift: 10, SlotShift: 7}
}

func header(l Layout) Header {
	return Header{Epoch: "epoch", Shard: 3, CreatedAt: 1_700_000_000_000_000_001, Space: 7, Generation: 2, Layout: l, Centre: centreOf(l)}
}

// centreOf returns one that is not the origin.
func centreOf(l Layout) []float32 {
	if l.Dim > MaxCentre {
		return nil
	}
	centre := make([]float32, l.Dim)
	for i := range centre {
		centre[i] = float32(i) - 0.5
	}
	return centre
}

// each runs a test on the real file system and in memory, and finds files and mappings that were left open.
func each(t *testing.T, test func(t *testing.T, fsys vfs.FS, path string)) {
	t.Run("OS", func(t *testing.T) { tracked(t, vfs.OS(), filepath.Join(t.TempDir(), "a.col"), test) })
	t.Run("Mem", func(t *testing.T) { tracked(t, vfs.NewMem(), "a.col", test) })
}

func tracked(t *testing.T, fsys vfs.FS, path string, test func(t *testing.T, fsys vfs.FS, path string)) {
	t.Helper()
	tr := &tracker{FS: fsys}
	test(t, tr, path)
	if n := tr.open.Load(); n != 0 && !t.Failed() {
		t.Errorf("%d files and mappings were left open", n)
	}
}

type tracker struct {
	vfs.FS
	open atomic.Int64
}

func (t *tracker) track(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	t.open.Add(1)
	return &trackedFile{f, t}, nil
}

func (t *tracker) Open(name string) (vfs.File, error)   { return t.track(t.FS.Open(name)) }
func (t *tracker) Create(name string) (vfs.File, error) { return t.track(t.FS.Create(name)) }

type trackedFile struct {
	vfs.File
	t *tracker
}

func (f *trackedFile) Close() error {
	f.t.open.Add(-1)
	return f.File.Close()
}

func (f *trackedFile) Map(offset, length int64) (vfs.Mapping, error) {
	m, err := f.File.Map(offset, length)
	if err != nil {
		return nil, err
	}
	f.t.open.Add(1)
	return &trackedMapping{m, f.t}, nil
}

type trackedMapping struct {
	vfs.Mapping
	t *tracker
}

func (m *trackedMapping) Unmap() error {
	m.t.open.Add(-1)
	return m.Mapping.Unmap()
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func created(t *testing.T, fsys vfs.FS, path string, rows uint32) *File {
	t.Helper()
	f, err := Create(fsys, path, header(small()))
	ok(t, err)
	ok(t, f.Grow(rows))
	return f
}

func opened(t *testing.T, fsys vfs.FS, path string) *File {
	t.Helper()
	f, err := Open(fsys, path, header(small()))
	ok(t, err)
	return f
}

// fill writes all of a row, its sequence last.
func fill(c *Chunks, row uint32) {
	rng := rand.New(rand.NewPCG(uint64(row), 0))
	for _, code := range [][]byte{c.Sketch(row), c.Code(row)} {
		for i := range code {
			code[i] = byte(rng.Uint32())
		}
	}
	*c.SketchInfo(row) = SketchInfo{Factor: rng.Float32(), Norm: 0.5}
	*c.Info(row) = Info{Factor: rng.Float32(), Norm: float32(row), Missed: BoundOf(0.25), Rounded: BoundOf(0.5)}
	for i := range c.Links(row) {
		c.Links(row)[i] = rng.Uint32()
	}
	*c.UpperIndex(row) = row / 16
	if row%16 == 0 {
		for i := range c.Upper(row / 16) {
			c.Upper(row / 16)[i] = rng.Uint32()
		}
	}
	atomic.StoreUint64(c.Sequence(row), uint64(row)+100)
}

// holds tells whether a row is as fill left it.
func holds(c *Chunks, row uint32) bool {
	rng := rand.New(rand.NewPCG(uint64(row), 0))
	if atomic.LoadUint64(c.Sequence(row)) != uint64(row)+100 || len(c.Sketch(row)) != 32 || len(c.Code(row)) != 16 {
		return false
	}
	same := true
	for _, code := range [][]byte{c.Sketch(row), c.Code(row)} {
		for _, v := range code {
			same = same && v == byte(rng.Uint32())
		}
	}
	same = same && *c.SketchInfo(row) == SketchInfo{Factor: rng.Float32(), Norm: 0.5}
	same = same && *c.Info(row) == Info{Factor: rng.Float32(), Norm: float32(row), Missed: BoundOf(0.25), Rounded: BoundOf(0.5)}
	same = same && len(c.Links(row)) == 5
	for _, v := range c.Links(row) {
		same = same && v == rng.Uint32()
	}
	same = same && *c.UpperIndex(row) == row/16 && len(c.Upper(row/16)) == 3
	if row%16 == 0 {
		for _, v := range c.Upper(row / 16) {
			same = same && v == rng.Uint32()
		}
	}
	return same
}

func fillAll(f *File, rows uint32) {
	for row := range rows {
		fill(f.Chunks(), row)
	}
	f.State().Linking.Store(uint64(rows))
}

func checkAll(t *testing.T, f *File, rows uint32) {
	t.Helper()
	for row := range rows {
		if !holds(f.Chunks(), row) {
			t.Fatalf("row %d is not as it was written", row)
		}
	}
}

// sealHeader and sealSums make the checksum of what is damaged right again.
func sealHeader(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b[:fixedBytes-4], crc32.Checksum(b[:fixedBytes-4], castagnoli))
}

func sealSums(b []byte) []byte {
	if len(b) < 4 {
		return b
	}
	return binary.LittleEndian.AppendUint32(b[:len(b)-4], crc32.Checksum(b[:len(b)-4], castagnoli))
}

func contentOf(t testing.TB, fsys vfs.FS, path string) []byte {
	t.Helper()
	f, err := fsys.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n != len(b) || err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("%d of %d bytes: %v", n, size, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}
