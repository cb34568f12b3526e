package vecstore_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"weak"

	"github.com/engram-memory/engram/pkg/vecstore"
)

var (
	testSource = vecstore.Source{Epoch: "vecstore", Shard: 2, CreatedAt: 1_700_000_000_000_000_000}
	testNow    = time.Unix(1_800_000_000, 0)
	anyScore   = float32(math.Inf(-1))
)

// everything is a K above the number of rows of any test.
const everything = 1 << 20

// history is a log: events with the sequences 1, 2, 3, and what a shard that has taken them should hold, as of any of them.
type history struct {
	events []vecstore.Event
	rng    *rand.Rand
}

func newHistory(seed uint64) *history { return &history{rng: rand.New(rand.NewPCG(seed, 1))} }

func (h *history) last() uint64 { return uint64(len(h.events)) }

func (h *history) add(e vecstore.Event) uint64 {
	e.Sequence, e.Published = h.last()+1, testNow.UnixNano()
	h.events = append(h.events, e)
	return e.Sequence
}

func (h *history) define(d vecstore.Definition) {
	if d.Generation == 0 {
		d.Generation = 1
	}
	d.CreatedAt = testNow.UnixNano()
	h.add(vecstore.Event{Kind: vecstore.KindDefine, Space: d.Name, Definition: &d})
}

// observe adds an observation whose body says what it is, so that a mix-up shows.
func (h *history) observe(space, id string, v []float32) {
	h.add(vecstore.Event{
		Kind: vecstore.KindObserve, Space: space, ID: id, Vector: pack(v), Body: fmt.Appendf(nil, "%s/%s at %d", space, id, h.last()+1),
	})
}

func (h *history) forget(space string, ids ...string) {
	h.add(vecstore.Event{Kind: vecstore.KindForget, Space: space, IDs: ids})
}

// take returns the events from..to, in memory of their own, as they are delivered.
func (h *history) take(from, to uint64) []*vecstore.Event {
	var events []*vecstore.Event
	for i := from; i <= to; i++ {
		e := h.events[i-1]
		events = append(events, &e)
	}
	return events
}

func (h *history) vector(dim int) []float32 {
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(h.rng.NormFloat64())
	}
	return v
}

// held is what a space holds: its observations, by id.
type held map[string]*vecstore.Event

// as returns what a space holds as of a sequence; nil when there is no such space.
func (h *history) as(space string, sequence uint64) held {
	var rows held
	for i := range h.events[:sequence] {
		if e := &h.events[i]; e.Space == space {
			rows = rows.take(e)
		}
	}
	return rows
}

func (rows held) take(e *vecstore.Event) held {
	switch e.Kind {
	case vecstore.KindDefine:
		return held{}
	case vecstore.KindDrop:
		return nil
	case vecstore.KindObserve:
		rows[e.ID] = e
	case vecstore.KindForget:
		for _, id := range e.IDs {
			delete(rows, id)
		}
	}
	return rows
}

// newest returns the rows, the newest first.
func (rows held) newest() []*vecstore.Event {
	var list []*vecstore.Event
	for _, e := range rows {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *vecstore.Event) int { return int(b.Sequence) - int(a.Sequence) })
	return list
}

// same tells what is wrong with a row that should be e.
func same(got vecstore.Row, e *vecstore.Event) error {
	if got.ID != e.ID || got.Sequence != e.Sequence || string(got.Body) != string(e.Body) || !slices.Equal(got.Vector, e.Vector) {
		return fmt.Errorf("%q at %d with the body %q, want %q at %d", got.ID, got.Sequence, got.Body, e.ID, e.Sequence)
	}
	return nil
}

// compare tells what a space answers that is not what it should hold: exactly, whatever it is asked.
func (rows held) compare(s *vecstore.Shard, space string, asOf uint64) error {
	at := vecstore.At{Now: testNow, AsOf: asOf}
	want := rows.newest()
	list, more, err := s.List(space, 0, everything, at)
	if err != nil {
		return fmt.Errorf("List of %q: %w", space, err)
	}
	if more || len(list) != len(want) {
		return fmt.Errorf("List of %q has %d rows, %t; want %d", space, len(list), more, len(want))
	}
	var ids []string
	for i, row := range list {
		if err := same(row, want[i]); err != nil {
			return fmt.Errorf("List of %q: %w", space, err)
		}
		ids = append(ids, row.ID)
	}
	got, err := s.Get(space, append(ids, "nobody"), at)
	if err != nil {
		return fmt.Errorf("Get in %q: %w", space, err)
	}
	if len(got) != len(want) {
		return fmt.Errorf("Get in %q has %d rows; want %d", space, len(got), len(want))
	}
	for i, row := range got {
		if err := same(row, want[i]); err != nil {
			return fmt.Errorf("Get in %q: %w", space, err)
		}
	}
	return nil
}

func open(t *testing.T, dir string, opt vecstore.Options) (*vecstore.Shard, vecstore.Recovery) {
	t.Helper()
	s, rec, err := vecstore.Open(dir, testSource, opt)
	if err != nil {
		t.Fatal(err)
	}
	abandonLater(t, s)
	return s, rec
}

// abandonLater closes a shard at the end of a test that has not closed it. One that was closed is not kept until then, nor is the
// disk in memory that it was on: some tests open hundreds.
func abandonLater(t *testing.T, s *vecstore.Shard) {
	kept := weak.Make(s)
	t.Cleanup(func() {
		if s := kept.Value(); s != nil {
			s.Abandon()
		}
	})
}

// write adds and flushes events.
func write(s *vecstore.Shard, events []*vecstore.Event) error {
	for _, e := range events {
		if err := s.Appender().Add(e); err != nil {
			return fmt.Errorf("Add of event %d: %w", e.Sequence, err)
		}
	}
	return s.Appender().Flush()
}

// apply applies events that were written, space by space. applied is the sequence through which all are applied already.
func apply(s *vecstore.Shard, applied uint64, events []*vecstore.Event) error {
	batches := map[any][]*vecstore.Event{}
	for _, e := range events {
		if key := e.SpaceKey(); key != nil {
			batches[key] = append(batches[key], e)
		}
	}
	for _, batch := range batches {
		if n, err := s.Apply(batch, applied); err != nil {
			return fmt.Errorf("Apply of event %d: %w", batch[n].Sequence, err)
		}
	}
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// feed writes and applies the events of a history that a shard does not have yet, up to a sequence.
func feed(t *testing.T, s *vecstore.Shard, h *history, to uint64) {
	t.Helper()
	applied := s.Appended()
	events := h.take(applied+1, to)
	must(t, write(s, events))
	must(t, apply(s, applied, events))
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
