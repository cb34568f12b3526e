package vector

import (
	"math/rand/v2"
	"testing"
)

// planeDims are the dimensions for which the kernels are compared: each width of a last block, and what is in use.
func planeDims() []int {
	var dims []int
	for dim := 1; dim <= 300; dim++ {
		dims = append(dims, dim)
	}
	return append(dims, 384, 768, 784, 1000, 1536, 1792, 1800, 2048, 2112, 4096, 5000)
}

// planeColumn is rows of planes planes, in chunks of which each ends with the last byte of its last row.
type planeColumn struct {
	chunks                       []*byte
	shift                        uint
	width, planes, stride, count int
}

func newPlaneColumn(rng *rand.Rand, fill func() byte, dim, planes, pad, count int, shift uint) planeColumn {
	c := planeColumn{shift: shift, width: PlaneWidth(dim), planes: planes, count: count}
	c.stride = c.width*planes + pad
	for at := 0; at < count; at += 1 << shift {
		rows := min(1<<shift, count-at)
		chunk := make([]byte, (rows-1)*c.stride+c.width*planes+1)[1:]
		for i := range chunk {
			chunk[i] = fill()
		}
		c.chunks = append(c.chunks, &chunk[0])
	}
	_ = rng
	return c
}

func checkPlanes(t *testing.T, l level, q []int8, c planeColumn, ids []uint32) {
	t.Helper()
	got, want := make([]int32, len(ids)+1), make([]int32, len(ids))
	got[len(ids)] = 12345
	l.DotPlanesList(q, c.width, c.planes, c.chunks, c.shift, c.stride, ids, got)
	generic.DotPlanesList(q, c.width, c.planes, c.chunks, c.shift, c.stride, ids, want)
	for i, id := range ids {
		if got[i] != want[i] {
			t.Fatalf("width %d, %d planes, %d ids: row %d is %d, want %d", c.width, c.planes, len(ids), id, got[i], want[i])
		}
	}
	if got[len(ids)] != 12345 {
		t.Fatalf("width %d: wrote behind %d ids", c.width, len(ids))
	}
}

func TestPlanesDotList(t *testing.T) {
	forLevels(t, func(t *testing.T, l level) {
		rng := rand.New(rand.NewPCG(4, 4))
		random := func() byte { return byte(rng.Uint32()) }
		ones := func() byte { return 0xff }
		for _, dim := range planeDims() {
			for _, planes := range []int{1, 3} {
				c := newPlaneColumn(rng, random, dim, planes, rng.IntN(2)*rng.IntN(40), 21, uint(rng.IntN(5)))
				full := newPlaneColumn(rng, ones, dim, planes, 0, 3, 1)
				for count := range 10 {
					ids := make([]uint32, count)
					for i := range ids {
						ids[i] = uint32(rng.IntN(c.count))
					}
					checkPlanes(t, l, codes(rng, PlaneQuerySize(dim)), c, ids)
					checkPlanes(t, l, extremes(rng, PlaneQuerySize(dim)), c, ids)
				}
				for _, q := range []int8{127, -127, -128} {
					checkPlanes(t, l, filled(PlaneQuerySize(dim), q), full, []uint32{0, 1, 2})
				}
			}
		}
	})
}
