package vector

import (
	"math/rand/v2"
	"testing"
)

// sketchPlace returns where a place of the query stands in a sketch of width bytes, by the definition of the layout.
func sketchPlace(width, place int) (at, bit int) {
	block, place := place/256, place%256
	if 32*block+32 <= width {
		return 32*block + place%32, place / 32
	}
	i, row := place%32, place/32
	return 32*block + i%16, row + i/16*4
}

func TestSketchU4(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, dim := range u4Dims() {
		c := active.u4Code(gaussian(rng, dim))
		positive := make([]int8, dim)
		set := 0
		for i := range positive {
			positive[i] = int8(c.number(i) >> 3)
			set += int(positive[i])
		}
		places := make([]int8, U4QuerySize(dim))
		U4Query(places, positive)
		for place, want := range places {
			at, bit := sketchPlace(len(c.sketch), place)
			if got := c.sketch[at] >> bit & 1; got != byte(want) {
				t.Fatalf("dimension %d: the bit of place %d is %d", dim, place, got)
			}
		}
		for _, x := range c.sketch {
			for ; x != 0; x &= x - 1 {
				set--
			}
		}
		if set != 0 {
			t.Fatalf("dimension %d: there are bits where there are no components", dim)
		}
	}
}

// checkSketches compares the sums of random sketches with the definition.
func checkSketches(t *testing.T, l level, rng *rand.Rand, q []int8, pad, count int, shift uint) {
	t.Helper()
	width := len(q) / 8
	query := append([]int8{1}, q...)[1:] // at an odd address
	stride, rows := width+pad, 21
	var chunks []*byte
	var all [][]byte
	for at := 0; at < rows; at += 1 << shift {
		n := min(1<<shift, rows-at)
		chunk := make([]byte, (n-1)*stride+width+1)[1:]
		for i := range n {
			row := chunk[i*stride:][:width]
			for b := range row {
				row[b] = byte(rng.Uint32())
			}
			all = append(all, row)
		}
		chunks = append(chunks, &chunk[0])
	}
	ids := randomIDs(rng, count, rows)
	out := make([]int32, count+1)
	out[count] = 12345
	l.DotSketchList(query, width, chunks, shift, stride, ids, out)
	for i, id := range ids {
		var want int32
		for place, code := range q {
			at, bit := sketchPlace(width, place)
			want += int32(code) * int32(all[id][at]>>bit&1)
		}
		if out[i] != want {
			t.Fatalf("%d bytes, %d ids: row %d is %d, want %d", width, count, id, out[i], want)
		}
	}
	if out[count] != 12345 {
		t.Fatalf("%d bytes: wrote behind %d ids", width, count)
	}
}

func TestSketchDotList(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(8, 8))
		for size := 128; size <= 5000; size += 128 {
			for _, fill := range []func(*rand.Rand, int) []int8{codes, extremes} {
				for _, count := range []int{0, 1, 2, 9, listBatch, listBatch + listAhead + 1} {
					checkSketches(t, l, rng, fill(rng, size), rng.IntN(2)*rng.IntN(40), count, uint(rng.IntN(6)))
				}
			}
		}
	})
}

// TestSketchDotListExtremes has sums as far from zero as they can be.
func TestSketchDotListExtremes(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		for size := 128; size <= 16384; size += 128 {
			row := make([]byte, size/8)
			for i := range row {
				row[i] = 0xff
			}
			for _, code := range []int8{127, -127, -128} {
				var out [1]int32
				l.DotSketchList(filled(size, code), len(row), []*byte{&row[0]}, 0, len(row), []uint32{0}, out[:])
				if want := int32(size) * int32(code); out[0] != want {
					t.Fatalf("%d codes of %d: %d, want %d", size, code, out[0], want)
				}
			}
		}
	})
}

func TestSketchRefuse(t *testing.T) {
	row := make([]byte, 64)
	chunks := []*byte{&row[0]}
	q, out, ids := make([]int8, 256), make([]int32, 2), []uint32{0, 1}
	for name, call := range map[string]func(l level){
		"id behind the last chunk":        func(l level) { l.DotSketchList(q, 16, chunks, 0, 16, ids, out) },
		"chunk that is nil":               func(l level) { l.DotSketchList(q, 16, []*byte{nil}, 1, 16, ids, out) },
		"out shorter than ids":            func(l level) { l.DotSketchList(q, 16, chunks, 1, 16, ids, out[:1]) },
		"stride below a row":              func(l level) { l.DotSketchList(q, 32, chunks, 1, 31, ids, out) },
		"query that is short":             func(l level) { l.DotSketchList(q[:255], 32, chunks, 1, 32, ids, out) },
		"width of 0":                      func(l level) { l.DotSketchList(q, 0, chunks, 1, 8, ids, out) },
		"width that is no multiple of 16": func(l level) { l.DotSketchList(q, 24, chunks, 1, 24, ids, out) },
		"sketch of another size":          func(level) { SketchU4(row[:32], row[:64]) },
		"sketch of no code":               func(level) { SketchU4(row[:16], row[:48:48][:0]) },
	} {
		forLevels(t, func(t *testing.T, l level) {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call(l)
		})
	}
}

func FuzzSketchDotList(f *testing.F) {
	for _, blocks := range []uint8{1, 2, 3, 6, 7, 14, 15, 16} {
		f.Add(uint64(blocks), blocks, blocks, blocks)
	}
	f.Fuzz(func(t *testing.T, seed uint64, blocks, pad, count uint8) {
		rng := rand.New(rand.NewPCG(seed, uint64(blocks)))
		fill := codes
		if seed%3 == 0 {
			fill = extremes
		}
		q := fill(rng, 128*(1+int(blocks%48)))
		for _, l := range levels() {
			checkSketches(t, l, rng, q, int(pad), int(count), uint(seed%7))
		}
	})
}
