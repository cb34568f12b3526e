package columns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/engram-memory/engram/pkg/vfs"
)

func TestCreateGrowOpen(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, path string) {
		f := created(t, fsys, path, 0)
		if c := f.Chunks(); c.Rows() != 0 || c.Slots() != 0 || c.Shift() != 10 || c.SketchStride() != 64 || c.CodeStride() != 32 {
			t.Errorf("a new file has %d rows and %d slots", c.Rows(), c.Slots())
		}
		ok(t, f.Grow(1))
		before := f.Chunks()
		fill(before, 5)
		ok(t, f.Grow(2500))
		ok(t, f.Grow(2500))
		if c := f.Chunks(); c.Rows() != 3072 || c.Slots() != 3*128 || before.Rows() != 1024 {
			t.Errorf("it has %d rows and %d slots, and the snapshot before %d rows", c.Rows(), c.Slots(), before.Rows())
		}
		if !holds(before, 5) || !holds(f.Chunks(), 5) || before.Sketches[0] != f.Chunks().Sketches[0] || before.Codes[0] != f.Chunks().Codes[0] {
			t.Error("growth moved a row")
		}
		fillAll(f, 2500)
		f.State().Linked.Store(2000)
		f.State().Linking.Store(2100)
		f.State().Slots.Store(200)
		atomic.StoreUint64(&f.State().Entry, 17)
		ok(t, f.Close())
		ok(t, f.Wait())

		f = opened(t, fsys, path)
		s := f.State()
		if s.Linked.Load() != 2000 || s.Linking.Load() != 2100 || s.Slots.Load() != 200 || s.Entry != 17 {
			t.Error("the state changed")
		}
		if !reflect.DeepEqual(f.Header(), header(small())) || f.Path() != path || f.Chunks().Rows() != 3072 {
			t.Errorf("it was opened with %d rows as %+v", f.Chunks().Rows(), f.Header())
		}
		checkAll(t, f, 2500)
		is(t, f.Verify(context.Background(), 2), ErrNotSealed)
		ok(t, f.Close())
	})
}

// Every byte of a chunk belongs to one element of one column, and elements are where the kernels want them.
func TestElementsDoNotOverlap(t *testing.T) {
	f := created(t, vfs.NewMem(), "a.col", 3000)
	defer f.Close()
	c := f.Chunks()
	start := uintptr(unsafe.Pointer(unsafe.SliceData(f.maps[1].Bytes())))
	used := make([]int, f.header.Layout.chunkBytes())
	mark := func(p unsafe.Pointer, n, align uintptr) {
		at := uintptr(p) - start
		if at%align != 0 {
			t.Fatalf("an element of %d bytes is at %d", n, at)
		}
		for i := range n {
			used[at+i]++
		}
	}
	for row := uint32(1024); row < 2048; row++ {
		sketch, code := unsafe.Pointer(&c.Sketch(row)[0]), unsafe.Pointer(&c.Code(row)[0])
		if uintptr(sketch) != uintptr(unsafe.Pointer(c.Sketches[1]))+uintptr(row-1024)*uintptr(c.SketchStride()) ||
			uintptr(code) != uintptr(unsafe.Pointer(c.Codes[1]))+uintptr(row-1024)*uintptr(c.CodeStride()) {
			t.Fatalf("row %d is not where a kernel looks for it", row)
		}
		mark(sketch, 32, 64)
		mark(unsafe.Pointer(c.SketchInfo(row)), 8, 8)
		mark(unsafe.Add(sketch, 40), 24, 8) // zeros up to the next sketch
		mark(code, 16, 16)
		mark(unsafe.Pointer(c.Info(row)), 12, 4)
		mark(unsafe.Add(code, 28), 4, 4) // and up to the next code
		mark(unsafe.Pointer(c.Sequence(row)), 8, 8)
		mark(unsafe.Pointer(&c.Links(row)[0]), 20, 4)
		mark(unsafe.Pointer(c.UpperIndex(row)), 4, 4)
	}
	for slot := uint32(128); slot < 256; slot++ {
		mark(unsafe.Pointer(&c.Upper(slot)[0]), 12, 4)
	}
	end := f.header.Layout.columnOffset(columns)
	for at, n := range used {
		if want := int64(at) < end; n > 1 || want != (n == 1) {
			t.Fatalf("byte %d of the chunk belongs to %d elements", at, n)
		}
	}
}

// layoutFor is that of codes of four bits and of sketches for long ones, as the store has them.
func layoutFor(dim, links, upperLinks int) Layout {
	sketch := 0
	if dim >= 640 {
		sketch = (dim + 127) / 128 * 16
	}
	return LayoutFor(dim, sketch, (dim+31)/32*16, links, upperLinks)
}

func TestLayoutFor(t *testing.T) {
	for _, tc := range []struct {
		dim, links, upper int
		want              Layout
	}{
		{768, 49, 17, Layout{768, 96, 384, 49, 17, 14, 11}},
		{784, 49, 17, Layout{784, 112, 400, 49, 17, 14, 11}},
		{1, 0, 0, Layout{1, 0, 16, 0, 0, 16, 0}},
		{64, 7, 3, Layout{64, 0, 32, 7, 3, 16, 17}},
		{1024, 0, 0, Layout{1024, 128, 512, 0, 0, 14, 0}},
		{131072, 49, 17, Layout{131072, 16384, 65536, 49, 17, 10, 7}},
		{524274, 49, 17, Layout{524274, 65536, 262144, 49, 17, 10, 7}},
		{maxDim, maxLinks, maxLinks, Layout{maxDim, maxDim / 8, maxDim / 2, maxLinks, maxLinks, 10, minSlotShift}},
	} {
		l := layoutFor(tc.dim, tc.links, tc.upper)
		if l != tc.want {
			t.Errorf("LayoutFor(%d, %d, %d) is %+v, chunks of %d bytes", tc.dim, tc.links, tc.upper, l, l.chunkBytes())
		}
		if err := l.validate(); err != nil {
			t.Error(err)
		}
	}
	for dim := 1; dim < 5000; dim += 7 {
		l := layoutFor(dim, 49, 17)
		if size := float64(l.chunkBytes()); size > chunkTarget*1.45 || size < chunkTarget*0.65 && l.ChunkShift < maxChunkShift {
			t.Errorf("dimension %d has chunks of %.0f bytes", dim, size)
		}
	}
}

func TestOpenRefusesOthers(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, path string) {
		ok(t, created(t, fsys, path, 1).Close())
		for name, change := range map[string]func(*Header){
			"epoch":       func(h *Header) { h.Epoch = "other" },
			"shard":       func(h *Header) { h.Shard++ },
			"created":     func(h *Header) { h.CreatedAt++ },
			"space":       func(h *Header) { h.Space++ },
			"generation":  func(h *Header) { h.Generation++ },
			"dimension":   func(h *Header) { h.Layout.Dim-- },
			"sketch":      func(h *Header) { h.Layout.Sketch += 16 },
			"code":        func(h *Header) { h.Layout.Code += 16 },
			"links":       func(h *Header) { h.Layout.Links++ },
			"upper links": func(h *Header) { h.Layout.UpperLinks++ },
		} {
			want := header(small())
			change(&want)
			if _, err := Open(fsys, path, want); !errors.Is(err, ErrIdentity) {
				t.Errorf("another %s: %v", name, err)
			}
		}
		// How a file is cut into chunks is its own affair.
		want := header(LayoutFor(30, 32, 16, 5, 3))
		f, err := Open(fsys, path, want)
		ok(t, err)
		if f.Header().Layout != small() {
			t.Errorf("the layout is %+v", f.Header().Layout)
		}
		ok(t, f.Close())
	})
}

func TestCreateRefuses(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, path string) {
		ok(t, created(t, fsys, path, 1).Close())
		_, err := Create(fsys, path, header(small()))
		is(t, err, fs.ErrExist)
		long := header(small())
		long.Epoch = strings.Repeat("x", 65)
		headers := []Header{{}, header(Layout{}), long}
		for _, change := range []func(*Layout){
			func(l *Layout) { l.Dim = 0 },
			func(l *Layout) { l.Dim = maxDim + 1 },
			func(l *Layout) { l.Sketch = -16 },
			func(l *Layout) { l.Sketch = 24 },
			func(l *Layout) { l.Sketch = maxDim + 16 },
			func(l *Layout) { l.Code = 0 },
			func(l *Layout) { l.Code = 24 },
			func(l *Layout) { l.Code = maxDim + 16 },
			func(l *Layout) { l.Links = -1 },
			func(l *Layout) { l.UpperLinks = maxLinks + 1 },
			func(l *Layout) { l.ChunkShift = 9 },
			func(l *Layout) { l.ChunkShift = 30 },
			func(l *Layout) { l.SlotShift = 3 },
			func(l *Layout) { l.UpperLinks = 0 },
		} {
			h := header(small())
			change(&h.Layout)
			headers = append(headers, h)
		}
		for i, h := range headers {
			if _, err := Create(fsys, path+"new", h); !errors.Is(err, ErrTooLarge) {
				t.Errorf("header %d: %v", i, err)
			}
		}
		// None of that harmed the file that is there.
		f := opened(t, fsys, path)
		is(t, f.Grow(math.MaxUint32), ErrTooLarge)
		ok(t, f.Close())
		_, err = Open(fsys, path+"x", header(small()))
		is(t, err, fs.ErrNotExist)
	})
}

// A process that died while a chunk was made leaves a file that is longer than its header says.
func TestOpenCutsAnUnfinishedChunk(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, path string) {
		f := created(t, fsys, path, 1500)
		fillAll(f, 1500)
		ok(t, f.Close())
		end := small().chunkOffset(2)
		for _, more := range []int64{1, small().chunkBytes(), small().chunkBytes() + 5} {
			raw, err := fsys.Open(path)
			ok(t, err)
			ok(t, raw.Allocate(end, more))
			_, err = raw.WriteAt([]byte("x"), end)
			ok(t, err)
			ok(t, raw.Close())
			f := opened(t, fsys, path)
			if f.Chunks().Rows() != 2048 {
				t.Errorf("it has %d rows", f.Chunks().Rows())
			}
			checkAll(t, f, 1500)
			ok(t, f.Grow(2049))
			if v := f.Chunks().Sketch(2048)[0]; v != 0 {
				t.Errorf("a new row begins with %d", v)
			}
			f.State().chunks.Store(2) // for the next round
			ok(t, f.Close())
		}
	})
}

// Rows and links are written and the file grows while others read.
func TestGrowthUnderReaders(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, path string) {
		const rows = 6000
		f := created(t, fsys, path, 0)
		var published atomic.Uint32
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for seen := uint32(0); seen < rows; {
					if !f.Acquire() {
						t.Error("the file was closed")
						return
					}
					seen = published.Load()
					c := f.Chunks()
					for _, row := range []uint32{0, seen / 2, seen - 1} {
						if row < seen && !holds(c, row) {
							t.Errorf("row %d of %d is not as it was written", row, seen)
						}
					}
					f.Release()
				}
			})
		}
		wg.Go(func() {
			for published.Load() < rows {
				if err := f.Sync(); err != nil {
					t.Error(err)
				}
			}
		})
		for row := range uint32(rows) {
			ok(t, f.Grow(row+1))
			fill(f.Chunks(), row)
			published.Store(row + 1)
			if row%1024 == 1023 {
				ok(t, f.Settle(int(row/1024)))
				ok(t, f.VerifyBlock(f.SettledBlocks()-1))
			}
		}
		wg.Wait()
		ok(t, f.Close())
	})
}

// The centre is what it was, or the file is damaged, whoever used it last.
func TestCentre(t *testing.T) {
	mem := vfs.NewMem()
	for name, h := range map[string]Header{"origin": {Layout: small()}, "large": header(layoutFor(MaxCentre, 5, 0)), "none": header(layoutFor(MaxCentre+1, 5, 0))} {
		f, err := Create(mem, name, h)
		ok(t, err)
		ok(t, f.Close())
		want := h.Centre
		h.Centre = nil
		f, err = Open(mem, name, h)
		ok(t, err)
		if got := f.Header().Centre; !slices.Equal(got, want) {
			t.Errorf("%s: a centre of %d numbers is one of %d", name, len(want), len(got))
		}
		ok(t, f.Close())
	}
	h := header(layoutFor(MaxCentre+1, 5, 0))
	h.Centre = make([]float32, MaxCentre+1)
	if _, err := Create(mem, "long", h); err == nil {
		t.Error("a centre has no room and was taken")
	}
	ok(t, created(t, mem, "a.col", 1).Close())
	b := contentOf(t, mem, "a.col")
	for _, at := range []int{centreOffset, centreOffset + 4*small().Dim - 1} {
		damaged := bytes.Clone(b)
		damaged[at] ^= 1
		file, err := mem.Create(fmt.Sprint(at))
		ok(t, err)
		_, err = file.WriteAt(damaged, 0)
		ok(t, errors.Join(err, file.Close()))
		_, err = Open(mem, fmt.Sprint(at), header(small()))
		is(t, err, ErrCorrupt)
	}
}
