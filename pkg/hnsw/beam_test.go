package hnsw

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A beam of any length keeps the nearest candidates that count, in order, whatever is hidden among them, and gives each of them out
// once, the nearest first.
func TestBeam(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for round := range 3000 {
		ef, part := 1+rng.IntN(12), rng.IntN(5)
		var b beam
		b.reset(ef)
		type offer struct {
			distance float32
			row      uint32
			hidden   bool
		}
		var offers []offer
		popped := map[uint32]bool{}
		for row := range uint32(60) {
			o := offer{float32(rng.IntN(25)), row, rng.IntN(4) < part}
			if o.distance < b.bound() {
				marked := row
				if o.hidden {
					marked |= hidden
				}
				at := b.insert(o.distance, marked)
				if e := b.entries[at]; e.marked&rowMask != row || e.distance != o.distance {
					t.Fatalf("round %d: row %d is not where it was put", round, row)
				}
				offers = append(offers, o)
			}
			if rng.IntN(3) == 0 {
				before := slices.Clone(b.entries)
				got, ok := b.pop()
				first := slices.IndexFunc(before, func(e entry) bool { return e.marked&expanded == 0 })
				if ok != (first >= 0) || ok && (got != before[first].marked&rowMask || popped[got]) {
					t.Fatalf("round %d: pop gave %d, %t of %v", round, got, ok, before)
				}
				popped[got] = popped[got] || ok
			}

			// What there should be: the nearest that count, the earlier one of two that are as near, and what is hidden
			// and not behind them.
			var counted []offer
			for _, o := range offers {
				if !o.hidden {
					counted = append(counted, o)
				}
			}
			slices.SortStableFunc(counted, func(a, b offer) int { return int(a.distance - b.distance) })
			counted = counted[:min(len(counted), ef)]
			var shown []uint32
			for i, e := range b.entries {
				if i > 0 && e.distance < b.entries[i-1].distance {
					t.Fatalf("round %d: %v is not in order", round, b.entries)
				}
				if e.marked&hidden == 0 {
					shown = append(shown, e.marked&rowMask)
				}
				if popped[e.marked&rowMask] != (e.marked&expanded != 0) {
					t.Fatalf("round %d: row %d is marked %x", round, e.marked&rowMask, e.marked)
				}
			}
			if len(shown) != len(counted) || b.counted != len(counted) {
				t.Fatalf("round %d: %d candidates, counted as %d, want %d", round, len(shown), b.counted, len(counted))
			}
			for i, o := range counted {
				if i := slices.Index(shown, o.row); i < 0 && o.distance < counted[len(counted)-1].distance {
					t.Fatalf("round %d: %d was lost of %v", round, o.row, counted)
				}
				_ = i
			}
			if full := len(counted) == ef; full && b.entries[len(b.entries)-1].marked&hidden != 0 {
				t.Fatalf("round %d: the last one of %v is hidden", round, b.entries)
			} else if full && b.bound() != counted[ef-1].distance || !full && b.bound() != inf {
				t.Fatalf("round %d: the bound is %g", round, b.bound())
			}
			for _, o := range offers {
				there := slices.ContainsFunc(b.entries, func(e entry) bool { return e.marked&rowMask == o.row })
				if o.hidden && o.distance < b.bound() && !there {
					t.Fatalf("round %d: %d, which is hidden and near, was lost", round, o.row)
				}
			}
		}
	}
}
