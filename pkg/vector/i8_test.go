package vector

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// codes returns n codes that begin at an odd address, so that no load of a kernel is aligned.
func codes(rng *rand.Rand, n int) []int8 {
	c := make([]int8, n+1)[1:]
	for i := range c {
		c[i] = int8(rng.IntN(255) - 127)
	}
	return c
}

// extremes returns n codes of ±127, where the sum of two products is the largest that there is.
func extremes(rng *rand.Rand, n int) []int8 {
	c := codes(rng, n)
	for i := range c {
		c[i] = 127
		if rng.IntN(8) == 0 {
			c[i] = -127
		}
	}
	return c
}

func filled(n int, code int8) []int8 {
	return slices.Repeat([]int8{code}, n)
}

// plainDot is the definition, in 64 bits.
func plainDot(a, b []int8) int32 {
	var sum int64
	for i := range a {
		sum += int64(a[i]) * int64(b[i])
	}
	return int32(sum)
}

// forLevels runs a test for each set of kernels that this processor has.
func forLevels(t *testing.T, test func(t *testing.T, l level)) {
	for _, l := range levels() {
		t.Run(l.String(), func(t *testing.T) { test(t, l) })
	}
}

func TestDotI8(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(1, 1))
		for n := range 600 {
			for _, pair := range [][2][]int8{
				{codes(rng, n), codes(rng, n)},
				{extremes(rng, n), extremes(rng, n)},
				{filled(n, 127), filled(n, 127)},
				{filled(n, 127), filled(n, -127)},
				{filled(n, -127), filled(n, -127)},
				{codes(rng, n), filled(n, 0)},
			} {
				a, b := pair[0], pair[1]
				if got, want := l.DotI8(a, b), plainDot(a, b); got != want {
					t.Fatalf("length %d: DotI8 = %d, want %d", n, got, want)
				}
				if got, want := l.DotI8(b, a), plainDot(a, b); got != want {
					t.Fatalf("length %d, swapped: DotI8 = %d, want %d", n, got, want)
				}
			}
		}
	})
}

func TestDotI8Block(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(2, 2))
		for n := range 300 {
			count := rng.IntN(12)
			stride := n + rng.IntN(3)*rng.IntN(40)
			for _, fill := range []func(*rand.Rand, int) []int8{codes, extremes} {
				q, rows := fill(rng, n), fill(rng, max(0, (count-1)*stride+n))
				checkBlock(t, l, q, rows, stride, count)
			}
		}
	})
}

func checkBlock(t *testing.T, l level, q, rows []int8, stride, count int) {
	t.Helper()
	out := make([]int32, count+1)
	out[count] = 12345
	l.DotI8Block(q, rows, stride, out[:count])
	for i, got := range out[:count] {
		if want := plainDot(q, rows[i*stride:][:len(q)]); got != want {
			t.Fatalf("length %d, stride %d: row %d of %d is %d, want %d", len(q), stride, i, count, got, want)
		}
	}
	if out[count] != 12345 {
		t.Fatalf("length %d: wrote behind row %d", len(q), count)
	}
}

func TestDotI8BlockInSeveralCalls(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(3, 3))
		for _, count := range []int{gatherBatch - 1, gatherBatch, gatherBatch + 1, gatherBatch + 2, gatherBatch + gatherAhead, 3*gatherBatch + 3} {
			checkBlock(t, l, codes(rng, 33), codes(rng, count*40), 40, count)
		}
	})
}

// column is rows in chunks, each of which ends with the last code of its last row where exact is set.
type column struct {
	chunks []*int8
	shift  uint
	stride int
	rows   [][]int8
}

func newColumn(rng *rand.Rand, fill func(*rand.Rand, int) []int8, n, stride, rows int, shift uint) column {
	c := column{shift: shift, stride: stride}
	for at := 0; at < rows; at += 1 << shift {
		count := min(1<<shift, rows-at)
		chunk := fill(rng, (count-1)*stride+max(n, 1))
		c.chunks = append(c.chunks, &chunk[0])
		for i := range count {
			c.rows = append(c.rows, chunk[i*stride:][:n])
		}
	}
	return c
}

func checkList(t *testing.T, l level, q []int8, c column, ids []uint32) {
	t.Helper()
	out := make([]int32, len(ids)+1)
	out[len(ids)] = 12345
	l.DotI8List(q, c.chunks, c.shift, c.stride, ids, out)
	for i, id := range ids {
		if want := plainDot(q, c.rows[id]); out[i] != want {
			t.Fatalf("length %d, %d ids: row %d is %d, want %d", len(q), len(ids), id, out[i], want)
		}
	}
	if out[len(ids)] != 12345 {
		t.Fatalf("length %d: wrote behind %d ids", len(q), len(ids))
	}
}

func TestDotI8List(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(4, 4))
		for n := range 300 {
			stride, shift := n+rng.IntN(2)*rng.IntN(40), uint(rng.IntN(5))
			for _, fill := range []func(*rand.Rand, int) []int8{codes, extremes} {
				c := newColumn(rng, fill, n, stride, 50, shift)
				q := fill(rng, n)
				for _, count := range []int{0, 1, 2, 3, 4, 5, 7, 8, gatherBatch - 1, gatherBatch, gatherBatch + 1, gatherBatch + gatherAhead + 1, 3 * gatherBatch} {
					ids := make([]uint32, count)
					for i := range ids {
						ids[i] = uint32(rng.IntN(len(c.rows)))
					}
					checkList(t, l, q, c, ids)
				}
			}
		}
	})
}

func TestDotI8ListOneChunk(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(5, 5))
		c := newColumn(rng, codes, 64, 64, 9, 4)
		for _, c.shift = range []uint{4, 31, 32, 40, 63, 64, 100} {
			checkList(t, l, codes(rng, 64), c, []uint32{8, 0, 7, 1, 6, 2, 5})
		}
	})
}

func TestI8KernelsRefuse(t *testing.T) {
	chunk := make([]int8, 8*32)
	q := make([]int8, 32)
	for _, c := range []struct {
		name string
		call func(l level)
	}{
		{"b shorter than a", func(l level) { l.DotI8(q, q[:31]) }},
		{"rows one byte short", func(l level) { l.DotI8Block(q, chunk[:32*7+31], 32, make([]int32, 8)) }},
		{"rows shorter than one", func(l level) { l.DotI8Block(q, chunk[:31], 32, make([]int32, 1)) }},
		{"stride below the length", func(l level) { l.DotI8Block(q, chunk, 31, make([]int32, 2)) }},
		{"negative stride", func(l level) { l.DotI8Block(nil, chunk, -1, make([]int32, 2)) }},
		{"stride whose product overflows", func(l level) { l.DotI8Block(q, chunk, 1<<62, make([]int32, 5)) }},
		{"id behind the last chunk", func(l level) {
			l.DotI8List(q, []*int8{&chunk[0]}, 3, 32, []uint32{0, 8}, make([]int32, 2))
		}},
		{"chunk that is nil", func(l level) { l.DotI8List(q, []*int8{nil}, 3, 32, []uint32{1}, make([]int32, 1)) }},
		{"out shorter than ids", func(l level) {
			l.DotI8List(q, []*int8{&chunk[0]}, 3, 32, []uint32{0, 1}, make([]int32, 1))
		}},
		{"list with a stride below the length", func(l level) {
			l.DotI8List(q, []*int8{&chunk[0]}, 3, 31, []uint32{0, 1}, make([]int32, 2))
		}},
	} {
		forLevels(t, func(t *testing.T, l level) { mustPanic(t, c.name, func() { c.call(l) }) })
	}
}

func FuzzDotI8(f *testing.F) {
	for _, n := range []int{0, 1, 31, 32, 33, 63, 64, 65, 127, 300, 768} {
		f.Add(uint64(n), uint16(n), uint8(n), uint8(n))
	}
	f.Add(uint64(122), uint16(0), uint8(201), uint8(233)) // rows of nothing, with gaps between
	f.Fuzz(func(t *testing.T, seed uint64, length uint16, pad, count uint8) {
		n := int(length % 2048)
		rng := rand.New(rand.NewPCG(seed, uint64(length)))
		fill := codes
		if seed%3 == 0 {
			fill = extremes
		}
		c := newColumn(rng, fill, n, n+int(pad), 1+int(count)/4, uint(seed%7))
		q := fill(rng, n)
		ids := make([]uint32, count)
		for i := range ids {
			ids[i] = uint32(rng.IntN(len(c.rows)))
		}
		block := fill(rng, max(0, (int(count)-1)*(n+int(pad))+n))
		for _, l := range levels() {
			checkList(t, l, q, c, ids)
			checkBlock(t, l, q, block, n+int(pad), int(count))
			if got, want := l.DotI8(q, c.rows[0]), plainDot(q, c.rows[0]); got != want {
				t.Fatalf("%s, length %d: DotI8 = %d, want %d", l, n, got, want)
			}
		}
	})
}
