package storetest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

var source = vecstore.Source{Epoch: "storetest", Shard: 5, CreatedAt: 1_700_000_000_000_000_000}

// harness is a shard, the events of its log so far, and the model of it.
type harness struct {
	t     *testing.T
	f     Factory
	dir   string
	opt   vecstore.Options
	mem   *vfs.Mem // nil on the real file system
	shard *vecstore.Shard
	model *model
	rng   *rand.Rand
	seq   uint64
	now   time.Time
}

func newHarness(t *testing.T, f Factory) *harness {
	h := &harness{
		t: t, f: f, opt: f.Options, model: newModel(), rng: rand.New(rand.NewPCG(1, 2)), now: time.Unix(1_800_000_000, 0),
	}
	if f.Memory {
		h.dir, h.mem = "shard", vfs.NewMem()
		h.opt.FS = h.mem
	} else {
		h.dir, h.opt.FS = t.TempDir(), vfs.OS()
	}
	h.open()
	return h
}

func (h *harness) open() vecstore.Recovery {
	h.t.Helper()
	shard, rec, err := vecstore.Open(h.dir, source, h.opt)
	if err != nil {
		h.t.Fatalf("Open: %v", err)
	}
	h.t.Cleanup(func() {
		if err := shard.Abandon(); err != nil {
			h.t.Errorf("Abandon: %v", err)
		}
	})
	h.shard = shard
	return rec
}

// reopen ends the shard in the orderly way and opens it again.
func (h *harness) reopen() vecstore.Recovery {
	h.t.Helper()
	if err := h.shard.Close(); err != nil {
		h.t.Fatalf("Close: %v", err)
	}
	return h.open()
}

// kill leaves the files as they are, as the death of the process does, and opens them again.
func (h *harness) kill() vecstore.Recovery {
	h.t.Helper()
	if h.mem != nil {
		h.crash(h.mem.Kill())
	} else {
		h.abandon()
	}
	return h.open()
}

// losePower keeps of the files what is durable, and some of the rest, and opens them again. It is for a shard that has
// flushed nothing since its last checkpoint, and does nothing on the real file system.
func (h *harness) losePower() {
	h.t.Helper()
	if h.mem == nil {
		return
	}
	h.crash(h.mem.LosePower(h.rng))
	h.open()
}

// crash goes on with what is left of the files.
func (h *harness) crash(left *vfs.Mem) {
	h.abandon()
	h.mem, h.opt.FS = left, left
}

func (h *harness) abandon() {
	h.t.Helper()
	if err := h.shard.Abandon(); err != nil {
		h.t.Fatalf("Abandon: %v", err)
	}
}

func (h *harness) checkpoint() {
	h.t.Helper()
	if err := h.shard.Checkpoint(h.now); err != nil {
		h.t.Fatalf("Checkpoint: %v", err)
	}
}

// event numbers an event as the next one of the log.
func (h *harness) event(e vecstore.Event) *vecstore.Event {
	h.seq++
	e.Sequence, e.Published = h.seq, h.now.UnixNano()
	return &e
}

func (h *harness) define(name string, dim uint32, metric vecstore.Metric, generation uint32) *vecstore.Event {
	return h.event(vecstore.Event{Kind: vecstore.KindDefine, Space: name, Definition: &vecstore.Definition{
		Name: name, Dimension: dim, Metric: metric, Generation: generation, Engine: h.f.Engine, Vectors: h.f.Vectors,
		Embedder: "none", CreatedAt: h.now.UnixNano(),
	}})
}

// observe makes an observation whose body says what it is, so that a mix-up shows.
func (h *harness) observe(space, id string, vector []float32) *vecstore.Event {
	e := h.event(vecstore.Event{Kind: vecstore.KindObserve, Space: space, ID: id, Vector: pack(vector)})
	e.Body = fmt.Appendf(nil, "%s/%s at %d", space, id, e.Sequence)
	return e
}

func (h *harness) forget(space string, ids ...string) *vecstore.Event {
	return h.event(vecstore.Event{Kind: vecstore.KindForget, Space: space, IDs: ids})
}

func (h *harness) drop(space string, generation uint32) *vecstore.Event {
	return h.event(vecstore.Event{Kind: vecstore.KindDrop, Space: space, Generation: generation})
}

// add writes events to the row log and the model.
func (h *harness) add(events ...*vecstore.Event) {
	h.t.Helper()
	for _, e := range events {
		if err := h.shard.Appender().Add(e); err != nil {
			h.t.Fatalf("Add of event %d: %v", e.Sequence, err)
		}
		h.model.take(e)
	}
	h.flush()
}

func (h *harness) flush() {
	h.t.Helper()
	if err := h.shard.Appender().Flush(); err != nil {
		h.t.Fatalf("Flush: %v", err)
	}
}

// apply applies events that were added, those of a space together.
func (h *harness) apply(applied uint64, events ...*vecstore.Event) {
	h.t.Helper()
	var keys []any
	batches := map[any][]*vecstore.Event{}
	for _, e := range events {
		key := e.SpaceKey()
		if key == nil {
			continue
		}
		if batches[key] == nil {
			keys = append(keys, key)
		}
		batches[key] = append(batches[key], e)
	}
	for _, key := range keys {
		if n, err := h.shard.Apply(batches[key], applied); err != nil || n != len(batches[key]) {
			h.t.Fatalf("Apply = %d, %v; want %d", n, err, len(batches[key]))
		}
	}
}

// take adds events and applies them, all that were made before being applied.
func (h *harness) take(events ...*vecstore.Event) {
	h.t.Helper()
	applied := h.shard.Appended()
	h.add(events...)
	h.apply(applied, events...)
}

// vector returns a random one.
func (h *harness) vector(dim int) []float32 {
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(h.rng.NormFloat64())
	}
	return v
}

func pack(v []float32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func unpack(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}
