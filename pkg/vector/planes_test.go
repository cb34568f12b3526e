package vector

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// planeDims are the dimensions for which kernels are compared: each width of a last block, the blocks after which sums
// are widened, and what is in use.
func planeDims() []int {
	var dims []int
	for dim := 1; dim <= 300; dim++ {
		dims = append(dims, dim)
	}
	return append(dims, 384, 768, 784, 1000, 1536, 1792, 1800, 2048, 2112, 4096, 5000)
}

// planePlace returns where component c of dim stands in a plane, by the definition of the layout.
func planePlace(dim, c int) (block, index, bit int) {
	block, c = c/256, c%256
	r := min(32, PlaneWidth(dim)-32*block)
	return block, c % r, c / r
}

func planeBit(plane []byte, dim, c int) int {
	block, index, bit := planePlace(dim, c)
	return int(plane[32*block+index]) >> bit & 1
}

// planeRow is a row of random numbers of planes bits, and its code.
func planeRow(dim, planes int, number func() int) (numbers []int, code []byte) {
	width := PlaneWidth(dim)
	code = make([]byte, planes*width)
	for c := range dim {
		x := number() & (1<<planes - 1)
		numbers = append(numbers, x)
		block, index, bit := planePlace(dim, c)
		for p := range planes {
			code[p*width+32*block+index] |= byte(x >> (planes - 1 - p) & 1 << bit)
		}
	}
	return numbers, code
}

// planeColumn is rows of planes planes, in chunks of which each ends with the last byte of its last row.
type planeColumn struct {
	chunks              []*byte
	shift               uint
	dim, planes, stride int
	rows                [][]int
}

func newPlaneColumn(number func() int, dim, planes, pad, count int, shift uint) planeColumn {
	size := PlaneWidth(dim) * planes
	c := planeColumn{shift: shift, dim: dim, planes: planes, stride: size + pad}
	for at := 0; at < count; at += 1 << shift {
		rows := min(1<<shift, count-at)
		chunk := make([]byte, (rows-1)*c.stride+size+1)[1:]
		for i := range rows {
			numbers, code := planeRow(dim, planes, number)
			copy(chunk[i*c.stride:], code)
			c.rows = append(c.rows, numbers)
		}
		c.chunks = append(c.chunks, &chunk[0])
	}
	return c
}

// checkPlanes compares the inner products of q, in the order of the components, with the definition.
func checkPlanes(t *testing.T, l level, q []int8, c planeColumn, ids []uint32) {
	t.Helper()
	// At an odd address, and longer than it must be.
	query := make([]int8, PlaneQuerySize(c.dim)+2)[1:]
	PlaneQuery(query[:PlaneQuerySize(c.dim)], q)
	out := make([]int32, len(ids)+1)
	out[len(ids)] = 12345
	l.DotPlanesList(query, PlaneWidth(c.dim), c.planes, c.chunks, c.shift, c.stride, ids, out)
	for i, id := range ids {
		var want int32
		for at, x := range c.rows[id] {
			want += int32(q[at]) * int32(x)
		}
		if out[i] != want {
			t.Fatalf("dimension %d, %d planes, %d ids: row %d is %d, want %d", c.dim, c.planes, len(ids), id, out[i], want)
		}
	}
	if out[len(ids)] != 12345 {
		t.Fatalf("dimension %d: wrote behind %d ids", c.dim, len(ids))
	}
}

func randomIDs(rng *rand.Rand, count, rows int) []uint32 {
	ids := make([]uint32, count)
	for i := range ids {
		ids[i] = uint32(rng.IntN(rows))
	}
	return ids
}

func TestPlanesDotList(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(1, 1))
		for _, dim := range planeDims() {
			for _, planes := range []int{1, 3} {
				c := newPlaneColumn(rng.Int, dim, planes, rng.IntN(2)*rng.IntN(40), 21, uint(rng.IntN(5)))
				for count := range 10 {
					checkPlanes(t, l, codes(rng, dim), c, randomIDs(rng, count, 21))
				}
			}
		}
	})
}

func TestPlanesDotListExtremes(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(2, 2))
		ones := func() int { return -1 }
		for _, dim := range append(planeDims(), 16384) {
			for _, planes := range []int{1, 2, 3, 4} {
				c := newPlaneColumn(ones, dim, planes, 0, 2, 1)
				for _, code := range []int8{127, -127, -128} {
					checkPlanes(t, l, filled(dim, code), c, []uint32{0, 1})
				}
				checkPlanes(t, l, extremes(rng, dim), c, []uint32{1})
			}
		}
	})
}

func TestPlanesDotListInSeveralCalls(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(3, 3))
		for _, dim := range []int{64, 300, 2000} {
			c := newPlaneColumn(rng.Int, dim, 3, 8, 50, 3)
			for _, batches := range []int{1, 2, 3} {
				for more := -1; more <= planesAhead+1; more++ {
					checkPlanes(t, l, codes(rng, dim), c, randomIDs(rng, batches*planesBatch+more, 50))
				}
			}
		}
	})
}

func TestPlanesDotListOneChunk(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(4, 4))
		c := newPlaneColumn(rng.Int, 100, 1, 0, 9, 4)
		for _, c.shift = range []uint{4, 31, 32, 40, 63, 64, 100} {
			checkPlanes(t, l, codes(rng, 100), c, []uint32{8, 0, 7, 1, 6, 2, 5})
		}
	})
}

// TestPlanesKernelsIgnoreWhatIsNotThere has bits and codes where there are no components, which kernels agree about.
func TestPlanesKernelsIgnoreWhatIsNotThere(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(5, 5))
		for dim := 1; dim < 600; dim += 7 {
			width := PlaneWidth(dim)
			q, row := codes(rng, PlaneQuerySize(dim)), make([]byte, 3*width)
			for i := range row {
				row[i] = byte(rng.Uint32())
			}
			var got, want [1]int32
			l.DotPlanesList(q, width, 3, []*byte{&row[0]}, 0, len(row), []uint32{0}, got[:])
			generic.DotPlanesList(q, width, 3, []*byte{&row[0]}, 0, len(row), []uint32{0}, want[:])
			if got != want {
				t.Fatalf("dimension %d: %d, want %d", dim, got, want)
			}
		}
	})
}

func TestPlanesQuery(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for _, dim := range append(planeDims(), 0) {
		q := codes(rng, dim)
		got := codes(rng, PlaneQuerySize(dim))
		PlaneQuery(got, q)
		want := make([]int8, len(got))
		for c, code := range q {
			block, index, bit := planePlace(dim, c)
			want[256*block+32*bit+index] = code
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("dimension %d: code %d is %d, want %d", dim, i, got[i], want[i])
			}
		}
		if got, want := SumI8(q), plainDot(q, filled(dim, 1)); got != want {
			t.Fatalf("dimension %d: the sum is %d, want %d", dim, got, want)
		}
	}
}

func ExamplePlaneWidth() {
	for _, dim := range []int{1, 64, 65, 384, 768} {
		fmt.Println(dim, PlaneWidth(dim), PlaneQuerySize(dim))
	}
	// Output:
	// 1 8 256
	// 64 8 256
	// 65 16 256
	// 384 48 512
	// 768 96 768
}

func TestPlanesRefuse(t *testing.T) {
	row := make([]byte, 64)
	chunks := []*byte{&row[0]}
	q := make([]int8, 256)
	out := make([]int32, 2)
	ids := []uint32{0, 1}
	for _, c := range []struct {
		name string
		call func(l level)
	}{
		{"id behind the last chunk", func(l level) { l.DotPlanesList(q, 8, 1, chunks, 0, 8, ids, out) }},
		{"chunk that is nil", func(l level) { l.DotPlanesList(q, 8, 1, []*byte{nil}, 1, 8, ids, out) }},
		{"out shorter than ids", func(l level) { l.DotPlanesList(q, 8, 1, chunks, 1, 8, ids, out[:1]) }},
		{"stride below a row", func(l level) { l.DotPlanesList(q, 8, 3, chunks, 1, 23, ids, out) }},
		{"query that is short", func(l level) { l.DotPlanesList(q[:255], 8, 1, chunks, 1, 8, ids, out) }},
		{"query of one block for two", func(l level) { l.DotPlanesList(q, 40, 1, chunks, 1, 40, ids, out) }},
		{"no planes", func(l level) { l.DotPlanesList(q, 8, 0, chunks, 1, 8, ids, out) }},
		{"width of 0", func(l level) { l.DotPlanesList(q, 0, 1, chunks, 1, 8, ids, out) }},
		{"width that is no multiple of 8", func(l level) { l.DotPlanesList(q, 12, 1, chunks, 1, 12, ids, out) }},
		{"nine planes", func(l level) { l.DotPlanesList(q, 8, 9, chunks, 0, 72, ids[:1], out) }},
		{"size that overflows", func(l level) { l.DotPlanesList(q, math.MaxInt-7, 4, chunks, 1, 8, ids, out) }},
		{"query of another size", func(level) { PlaneQuery(q[:128], make([]int8, 64)) }},
		{"sketch of another size", func(l level) { l.QuantizePlanes(row[:16], row[:24], make([]float32, 64)) }},
		{"rest of another size", func(l level) { l.QuantizePlanes(row[:8], row[:23], make([]float32, 64)) }},
		{"levels of another size", func(l level) { l.UnpackPlanes(q[:64], row[:8], row[:24], 64) }},
		{"sketch of another dimension", func(l level) { l.UnpackPlanes(q, row[:8], row[:24], 65) }},
	} {
		forLevels(t, func(t *testing.T, l level) {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", c.name)
				}
			}()
			c.call(l)
		})
	}
}

func FuzzPlanesDotList(f *testing.F) {
	for _, dim := range []int{1, 63, 64, 65, 255, 256, 257, 300, 768, 2100} {
		f.Add(uint64(dim), uint16(dim), uint8(dim), uint8(dim))
	}
	f.Fuzz(func(t *testing.T, seed uint64, length uint16, pad, count uint8) {
		dim := 1 + int(length%4096)
		rng := rand.New(rand.NewPCG(seed, uint64(length)))
		fill := codes
		if seed%3 == 0 {
			fill = extremes
		}
		c := newPlaneColumn(rng.Int, dim, 1+int(seed%4), int(pad), 1+int(count)/4, uint(seed%7))
		for _, l := range levels() {
			checkPlanes(t, l, fill(rng, dim), c, randomIDs(rng, int(count), len(c.rows)))
		}
	})
}
