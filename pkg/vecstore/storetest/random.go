package storetest

import (
	"fmt"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// testRandomOperations does what a worker does, in a random order with a fixed seed, and compares with the model on
// the way.
func testRandomOperations(t *testing.T, f Factory) {
	h := newHarness(t, f)
	h.opt.SegmentSize = 16 << 10
	h.kill()
	const spaces, ids = 6, 30
	operations := 2000
	if f.Memory {
		operations = 1000 // a copy of the file system each time it dies takes longer
	}
	generations := map[string]uint32{}
	var waiting []*vecstore.Event // flushed, not applied
	applied := uint64(0)
	applyAll := func() {
		// In a space, any order gives the same; the watermark stays behind until all is applied.
		h.rng.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
		for _, e := range waiting {
			h.apply(applied, e)
		}
		waiting, applied = nil, h.seq
	}
	counts := map[string]int{}
	for n := range operations {
		name := fmt.Sprint("s", h.rng.IntN(spaces))
		sp := h.model.spaces[name]
		id := func() string { return fmt.Sprint(h.rng.IntN(ids)) }
		op, dice := "", h.rng.IntN(1000)
		switch {
		case sp == nil || dice < 10:
			op = "define"
			if sp == nil || dice < 3 {
				generations[name]++
			}
			h.add(h.define(name, uint32(1+h.rng.IntN(6)), vecstore.Metric(1+h.rng.IntN(3)), generations[name]))
		case dice < 25:
			op = "drop"
			h.add(h.drop(name, generations[name]-uint32(h.rng.IntN(2))))
		case dice < 150:
			op = "forget"
			e := h.forget(name, id(), id(), id())
			h.add(e)
			waiting = append(waiting, e)
		case dice < 180:
			op = "checkpoint"
			h.checkpoint()
		case dice < 190:
			op = "close"
			h.reopen()
			waiting, applied = nil, h.seq
		case dice < 200:
			op = "kill"
			h.kill()
			waiting, applied = nil, h.seq
		case dice < 300:
			op = "apply"
			applyAll()
		default:
			op = "observe"
			var events []*vecstore.Event
			for range 1 + h.rng.IntN(4) {
				e := h.observe(name, id(), h.vector(int(sp.def.Dimension)))
				if h.rng.IntN(10) == 0 {
					e.ExpiresAt = h.now.UnixNano() + int64(h.rng.IntN(3)-1)
				}
				events = append(events, e)
			}
			h.add(events...)
			waiting = append(waiting, events...)
		}
		counts[op]++
		if n%100 == 0 || op == "close" || op == "kill" {
			applyAll()
			h.check()
		}
	}
	for _, op := range []string{"define", "drop", "forget", "checkpoint", "close", "kill", "apply", "observe"} {
		if counts[op] < 8 {
			t.Errorf("%d operations were %s, which is too few to test it", counts[op], op)
		}
	}
	applyAll()
	h.settle()
}
