package storetest

import (
	"fmt"
	"testing"

	"github.com/engram-memory/engram/pkg/vecstore"
)

func (h *harness) wantPosition(appended, durable uint64) {
	h.t.Helper()
	if h.shard.Appended() != appended || h.shard.Durable() != durable {
		h.t.Fatalf("appended %d, durable %d; want %d, %d", h.shard.Appended(), h.shard.Durable(), appended, durable)
	}
}

func testPosition(t *testing.T, f Factory) {
	h := newHarness(t, f)
	if h.shard.Source() != source {
		t.Fatalf("Source() = %v", h.shard.Source())
	}
	h.wantPosition(0, 0)
	h.checkpoint() // of nothing
	h.wantPosition(0, 0)
	h.take(h.define("s", 2, vecstore.Dot, 1), h.observe("s", "a", h.vector(2)))
	h.wantPosition(2, 0)
	h.checkpoint()
	h.wantPosition(2, 2)

	// An event that was added and not flushed is nowhere.
	e := h.observe("s", "b", h.vector(2))
	if err := h.shard.Appender().Add(e); err != nil {
		t.Fatal(err)
	}
	h.wantPosition(2, 2)
	h.checkpoint()
	h.wantPosition(2, 2)
	h.kill()
	h.wantPosition(2, 2)
	h.check()
	h.add(e)
	h.apply(2, e)
	h.wantPosition(3, 2)

	// A gap in the log is passed, with and without an event behind it.
	h.seq = 100
	h.take(h.observe("s", "c", h.vector(2)))
	h.wantPosition(101, 2)
	h.shard.Appender().Skip(200)
	h.shard.Appender().Skip(150)
	h.flush()
	h.wantPosition(200, 2)
	h.checkpoint()
	h.wantPosition(200, 200)
	h.kill()
	h.wantPosition(200, 200)
	h.seq = 200
	h.take(h.observe("s", "d", h.vector(2)))
	h.kill()
	h.wantPosition(201, 200)
	h.reopen()
	h.wantPosition(201, 201)
	size := h.shard.LogBytes()
	h.checkpoint() // nothing is new
	if h.shard.LogBytes() != size {
		t.Error("a checkpoint with nothing new wrote something")
	}
	h.check()
}

// testKilled ends the process after every flush, with a checkpoint before it now and then.
func testKilled(t *testing.T, f Factory) {
	h := newHarness(t, f)
	h.opt.SegmentSize = 2000
	h.kill()
	h.take(h.define("s", 4, vecstore.Cosine, 1))
	for i := range 40 {
		h.add(h.observe("s", fmt.Sprint(i%15), h.vector(4)), h.observe("s", fmt.Sprint("x", i), h.vector(4)))
		if i%7 == 0 {
			h.add(h.forget("s", fmt.Sprint(i%4), fmt.Sprint("x", i-1)))
		}
		if i%5 == 0 {
			h.checkpoint()
		}
		rec := h.kill() // what was flushed is there, whether it had been applied or not
		if rec.Torn != 0 || rec.Bytes != h.shard.LogBytes() || rec.Entries < int(h.seq) {
			t.Fatalf("recovered %+v of %d bytes and %d events", rec, h.shard.LogBytes(), h.seq)
		}
		if h.shard.Appended() != h.seq {
			t.Fatalf("Appended() = %d after a kill, want %d", h.shard.Appended(), h.seq)
		}
		h.check()
	}
}

// testDistrust opens a shard as after a failed fsync: at its last checkpoint, wherever the segments end.
func testDistrust(t *testing.T, f Factory) {
	for name, size := range map[string]int64{"one segment": 0, "many segments": 600, "a segment each": 1} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, f)
			h.opt.SegmentSize = size
			h.kill()
			h.take(h.define("s", 4, vecstore.Cosine, 1))
			for i := range 10 {
				h.take(h.observe("s", fmt.Sprint(i), h.vector(4)))
			}
			h.checkpoint()
			position := h.seq
			var later []*vecstore.Event
			for i := range 10 {
				e := h.observe("s", fmt.Sprint(i+5), h.vector(4))
				if err := h.shard.Appender().Add(e); err != nil {
					t.Fatal(err)
				}
				h.flush()
				later = append(later, e)
			}
			h.opt.Distrust = true
			rec := h.kill()
			if rec.Torn == 0 {
				t.Errorf("nothing was cut off: %+v", rec)
			}
			h.wantPosition(position, position)
			h.check()
			h.add(later...) // delivered again, and taken
			h.apply(position, later...)
			h.opt.Distrust = false
			h.settle()
			h.opt.Distrust = true
			h.reopen()
			h.wantPosition(h.seq, h.seq)
			h.check()
		})
	}
	t.Run("no checkpoint", func(t *testing.T) {
		h := newHarness(t, f)
		h.opt.SegmentSize, h.opt.Distrust = 300, true
		h.add(h.define("s", 4, vecstore.Cosine, 1), h.observe("s", "a", h.vector(4)))
		h.add(h.observe("s", "b", h.vector(4)))
		h.model, h.seq = newModel(), 0
		h.kill()
		h.wantPosition(0, 0)
		h.check()
		h.fill("s", 4, 10, vecstore.Dot)
		h.settle()
	})
}

// testCheckpointCost checks that a checkpoint of many spaces is what one of few is: the same bytes, in the same files.
func testCheckpointCost(t *testing.T, f Factory) {
	cost := func(spaces int) (bytes int64, files int) {
		h := newHarness(t, f)
		var events []*vecstore.Event
		for s := range spaces {
			name := fmt.Sprint("space-", s)
			events = append(events, h.define(name, 4, vecstore.Cosine, 1))
			for i := range 5 {
				events = append(events, h.observe(name, fmt.Sprint(i), h.vector(4)))
			}
		}
		h.take(events...)
		size := h.shard.LogBytes()
		h.checkpoint()
		if h.shard.Durable() != h.seq {
			t.Fatalf("Durable() = %d after a checkpoint, want %d", h.shard.Durable(), h.seq)
		}
		names, err := h.opt.FS.List(h.dir)
		if err != nil {
			t.Fatal(err)
		}
		bytes, files = h.shard.LogBytes()-size, len(names)
		h.kill()
		h.check()
		return bytes, files
	}
	fewBytes, fewFiles := cost(10)
	manyBytes, manyFiles := cost(1000)
	if fewBytes != manyBytes || fewFiles != manyFiles || fewBytes == 0 {
		t.Fatalf("a checkpoint of 10 spaces costs %d bytes in %d files, of 1,000 spaces %d in %d", fewBytes, fewFiles, manyBytes, manyFiles)
	}
}
