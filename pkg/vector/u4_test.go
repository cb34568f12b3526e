package vector

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// u4Dims are the dimensions for which kernels are compared: each width of a last block, the blocks after which sums are
// widened, and what is in use.
func u4Dims() []int {
	var dims []int
	for dim := 1; dim <= 300; dim++ {
		dims = append(dims, dim)
	}
	return append(dims, 384, 511, 512, 513, 545, 640, 768, 784, 1000, 1024, 1025, 1536, 1792, 1800, 2048, 2112, 4096, 5000)
}

// u4Place returns where component c of dim stands in a code, by the definition of the layout: the byte, and by how much it
// is shifted to the left there.
func u4Place(dim, c int) (at, shift int) {
	block, c := c/128, c%128
	r := min(64, U4Width(dim)-64*block)
	return 64*block + c%r, c / r * 4
}

// u4Row is a row of random numbers of four bits, and its code.
func u4Row(dim int, number func() int) (numbers []int, code []byte) {
	code = make([]byte, U4Width(dim))
	for c := range dim {
		x := number() & 15
		numbers = append(numbers, x)
		at, shift := u4Place(dim, c)
		code[at] |= byte(x << shift)
	}
	return numbers, code
}

// u4Column is rows in chunks of which each ends with the last byte of its last row.
type u4Column struct {
	chunks      []*byte
	shift       uint
	dim, stride int
	rows        [][]int
}

func newU4Column(number func() int, dim, pad, count int, shift uint) u4Column {
	size := U4Width(dim)
	c := u4Column{shift: shift, dim: dim, stride: size + pad}
	for at := 0; at < count; at += 1 << shift {
		rows := min(1<<shift, count-at)
		chunk := make([]byte, (rows-1)*c.stride+size+1)[1:]
		for i := range rows {
			numbers, code := u4Row(dim, number)
			copy(chunk[i*c.stride:], code)
			c.rows = append(c.rows, numbers)
		}
		c.chunks = append(c.chunks, &chunk[0])
	}
	return c
}

// checkU4 compares the inner products of q, in the order of the components, with the definition.
func checkU4(t *testing.T, l level, q []int8, c u4Column, ids []uint32) {
	t.Helper()
	// At an odd address, and longer than it must be.
	query := make([]int8, U4QuerySize(c.dim)+2)[1:]
	U4Query(query[:U4QuerySize(c.dim)], q)
	out := make([]int32, len(ids)+1)
	out[len(ids)] = 12345
	l.DotU4List(query, U4Width(c.dim), c.chunks, c.shift, c.stride, ids, out)
	for i, id := range ids {
		var want int32
		for at, x := range c.rows[id] {
			want += int32(q[at]) * int32(x)
		}
		if out[i] != want {
			t.Fatalf("dimension %d, %d ids: row %d is %d, want %d", c.dim, len(ids), id, out[i], want)
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

func TestU4DotList(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(1, 1))
		for _, dim := range u4Dims() {
			c := newU4Column(rng.Int, dim, rng.IntN(2)*rng.IntN(40), 21, uint(rng.IntN(5)))
			for count := range 10 {
				checkU4(t, l, codes(rng, dim), c, randomIDs(rng, count, 21))
			}
		}
	})
}

func TestU4DotListExtremes(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(2, 2))
		for _, dim := range append(u4Dims(), 16384) {
			c := newU4Column(func() int { return 15 }, dim, 0, 2, 1)
			for _, code := range []int8{127, -127, -128} {
				checkU4(t, l, filled(dim, code), c, []uint32{0, 1})
			}
			checkU4(t, l, extremes(rng, dim), c, []uint32{1})
		}
	})
}

func TestU4DotListInSeveralCalls(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(3, 3))
		for _, dim := range []int{64, 300, 2000} {
			c := newU4Column(rng.Int, dim, 8, 50, 3)
			for _, batches := range []int{1, 2, 3} {
				for more := -1; more <= listAhead+1; more++ {
					checkU4(t, l, codes(rng, dim), c, randomIDs(rng, batches*listBatch+more, 50))
				}
			}
		}
	})
}

func TestU4DotListOneChunk(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(4, 4))
		c := newU4Column(rng.Int, 100, 0, 9, 4)
		for _, c.shift = range []uint{4, 31, 32, 40, 63, 64, 100} {
			checkU4(t, l, codes(rng, 100), c, []uint32{8, 0, 7, 1, 6, 2, 5})
		}
	})
}

// TestU4KernelsIgnoreWhatIsNotThere has numbers and codes where there are no components, which kernels agree about.
func TestU4KernelsIgnoreWhatIsNotThere(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(5, 5))
		for dim := 1; dim < 1200; dim += 7 {
			width := U4Width(dim)
			q, row := codes(rng, U4QuerySize(dim)), make([]byte, width)
			for i := range row {
				row[i] = byte(rng.Uint32())
			}
			var got, want [1]int32
			l.DotU4List(q, width, []*byte{&row[0]}, 0, len(row), []uint32{0}, got[:])
			generic.DotU4List(q, width, []*byte{&row[0]}, 0, len(row), []uint32{0}, want[:])
			if got != want {
				t.Fatalf("dimension %d: %d, want %d", dim, got, want)
			}
		}
	})
}

func TestU4Query(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for _, dim := range append(u4Dims(), 0) {
		q := codes(rng, dim)
		got := codes(rng, U4QuerySize(dim))
		U4Query(got, q)
		want := make([]int8, len(got))
		for c, code := range q {
			at, shift := u4Place(dim, c)
			want[at/64*128+at%64+16*shift] = code
		}
		if !slices.Equal(got, want) {
			t.Fatalf("dimension %d: the query is %d, want %d", dim, got, want)
		}
		back := codes(rng, dim)
		if U4Components(back, got); !slices.Equal(back, q) {
			t.Fatalf("dimension %d: the components are %d, want %d", dim, back, q)
		}
	}
}

func ExampleU4Width() {
	for _, dim := range []int{1, 32, 33, 384, 768, 784} {
		fmt.Println(dim, U4Width(dim), U4QuerySize(dim))
	}
	// Output:
	// 1 16 128
	// 32 16 128
	// 33 32 128
	// 384 192 384
	// 768 384 768
	// 784 400 896
}

func TestU4Refuse(t *testing.T) {
	row := make([]byte, 64)
	chunks := []*byte{&row[0]}
	q := make([]int8, 128)
	out := make([]int32, 2)
	ids := []uint32{0, 1}
	for _, c := range []struct {
		name string
		call func(l level)
	}{
		{"id behind the last chunk", func(l level) { l.DotU4List(q, 16, chunks, 0, 16, ids, out) }},
		{"chunk that is nil", func(l level) { l.DotU4List(q, 16, []*byte{nil}, 1, 16, ids, out) }},
		{"out shorter than ids", func(l level) { l.DotU4List(q, 16, chunks, 1, 16, ids, out[:1]) }},
		{"stride below a row", func(l level) { l.DotU4List(q, 32, chunks, 1, 31, ids, out) }},
		{"query that is short", func(l level) { l.DotU4List(q[:127], 16, chunks, 1, 16, ids, out) }},
		{"query of one block for two", func(l level) { l.DotU4List(q, 80, chunks, 1, 80, ids, out) }},
		{"width of 0", func(l level) { l.DotU4List(q, 0, chunks, 1, 8, ids, out) }},
		{"width that is no multiple of 16", func(l level) { l.DotU4List(q, 24, chunks, 1, 24, ids, out) }},
		{"size that overflows", func(l level) { l.DotU4List(q, math.MaxInt-15, chunks, 1, 16, ids, out) }},
		{"query of another size", func(level) { U4Query(q[:64], make([]int8, 64)) }},
		{"code of another size", func(l level) { l.QuantizeU4(row[:16], make([]float32, 64)) }},
		{"levels of another size", func(level) { UnpackU4(q[:64], row[:32], 64) }},
		{"code of another dimension", func(level) { UnpackU4(q, row[:32], 65) }},
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

func FuzzU4DotList(f *testing.F) {
	for _, dim := range []int{1, 63, 64, 65, 127, 128, 129, 300, 768, 2100} {
		f.Add(uint64(dim), uint16(dim), uint8(dim), uint8(dim))
	}
	f.Fuzz(func(t *testing.T, seed uint64, length uint16, pad, count uint8) {
		dim := 1 + int(length%4096)
		rng := rand.New(rand.NewPCG(seed, uint64(length)))
		fill := codes
		if seed%3 == 0 {
			fill = extremes
		}
		c := newU4Column(rng.Int, dim, int(pad), 1+int(count)/4, uint(seed%7))
		for _, l := range levels() {
			checkU4(t, l, fill(rng, dim), c, randomIDs(rng, int(count), len(c.rows)))
		}
	})
}
