package worker

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
)

// Every poison event is in the quarantine once, with where it stands and why, whoever meets it again: a restart, another
// copy, a rebuild from nothing.
func TestPoisonGoesToTheQuarantineOnce(t *testing.T) {
	w := newWorld(t)
	c, _ := w.first(3)
	want := map[string]string{}
	var entries []bus.Entry
	all := poisons(t)
	for _, p := range all {
		entries = append(entries, bus.Entry{Subject: p.subject, Data: p.data})
	}
	last := w.write(entries...)
	for i, p := range all {
		want[w.position(last-uint64(len(all)-1-i))] = string(p.reason)
	}
	last = w.publish(several(3, 6)...)
	c.reach(t, last)
	w.expectAll(0, 6)

	check := func(when string) {
		t.Helper()
		got := w.quarantine()
		if len(got) != len(all) {
			t.Fatalf("%s: %d events are in the quarantine, want %d", when, len(got), len(all))
		}
		for _, q := range got {
			i := slices.IndexFunc(all, func(p poisoned) bool {
				return p.subject == q.GetSubject() && bytes.Equal(p.data, q.GetData())
			})
			if i < 0 || want[q.GetPosition()] != q.GetReason() || q.GetMessage() == "" ||
				q.header.Get(bus.HeaderPosition) != q.GetPosition() || q.header.Get(bus.HeaderReason) != q.GetReason() {
				t.Errorf("%s: %v with headers %v; want the reason %q", when, q.QuarantineEvent, q.header, want[q.GetPosition()])
			}
		}
	}
	check("at first")
	if n := c.shard().quarantined.Load(); n != uint64(len(all)) {
		t.Errorf("%d were counted, want %d", n, len(all))
	}
	if n := counted(c.Metrics.Quarantined("unknown_space")); n != 2 {
		t.Errorf("the metric says %d for unknown_space, want 2", n)
	}
	c.close(t)

	c = w.start(nil)
	c.reach(t, last)
	check("after a restart")
	copied := w.start(func(o *Options) { o.Config.Name, o.Config.Dir = "w1", t.TempDir() })
	copied.reach(t, last)
	check("with a copy")
	copied.close(t)
	c.close(t)

	if err := os.RemoveAll(filepath.Join(w.dir, "shard-0")); err != nil {
		t.Fatal(err)
	}
	c = w.start(nil)
	c.reach(t, last)
	w.expectAll(0, 6)
	check("after a rebuild")
}

type tripwire struct {
	panics, tries atomic.Int64
}

// trip makes the index panic over one observation.
func (c *tested) trip(id string, before func()) *tripwire {
	apply, wire := c.pool.apply, new(tripwire)
	c.pool.apply = func(s *store, evs []*storeEvent, applied uint64) (int, error) {
		for i, e := range evs {
			if e.ID != id {
				continue
			}
			if len(evs) == 1 {
				wire.tries.Add(1)
				before()
			}
			// What stands before it has been applied when it happens.
			if _, err := apply(s, evs[:i], applied); err != nil {
				return 0, err
			}
			wire.panics.Add(1)
			panic(fmt.Sprintf("cannot link %s", id))
		}
		return apply(s, evs, applied)
	}
	return wire
}

// An event over which the index panics is tried alone, then put into the quarantine; those of its batch are applied once.
func TestPanicInTheIndex(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	trip := c.trip("boom", func() {})
	boom := w.publish(append(append([]*api.LogEvent{define("a", 3)}, several(0, 10)...), observe("a", "boom", 1, 2, 3))...)
	last := w.publish(several(10, 20)...)
	c.reach(t, last)
	w.expectAll(0, 20)
	if n := w.count("a"); n != 20 {
		t.Errorf("%d observations, want 20", n)
	}
	if got, want := counted(c.Metrics.WorkerPanics), int(trip.panics.Load()); got != want || trip.tries.Load() != 1 {
		t.Errorf("%d panics counted of %d; tried alone %d times, want once", got, want, trip.tries.Load())
	}
	q := w.quarantine()
	if len(q) != 1 || q[0].GetReason() != "panic" || q[0].GetPosition() != w.position(boom) || !strings.Contains(q[0].GetMessage(), "cannot link boom") {
		t.Fatalf("in the quarantine: %v", q)
	}
	e := new(api.LogEvent)
	if err := proto.Unmarshal(q[0].GetData(), e); err != nil || e.GetObserve().GetId() != "boom" {
		t.Errorf("the event in the quarantine is %v, %v", e, err)
	}
}

// An event that the index refuses was deleted from the log meanwhile: its space does not wait for it for ever.
func TestPanicOverADeletedEvent(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	var boom atomic.Uint64
	published := newGate(t)
	c.trip("boom", func() {
		published.wait()
		w.delete(boom.Load())
	})
	boom.Store(w.publish(define("a", 3), observe("a", "boom", 1, 2, 3)))
	published.open()
	c.reach(t, w.publish(several(0, 3)...))
	w.expectAll(0, 3)
	q := w.quarantine()
	if len(q) != 1 || q[0].GetPosition() != w.position(boom.Load()) || len(q[0].GetData()) != 0 || q[0].GetSubject() != bus.LogSubject(0, "a") {
		t.Fatalf("in the quarantine: %v", q)
	}
}

// While the quarantine cannot be reached the shard stands still at the poison; what came before it is searchable.
func TestQuarantineAway(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	if err := w.conn.JS.DeleteStream(within(t), bus.QuarantineStream); err != nil {
		t.Fatal(err)
	}
	var entries []bus.Entry
	for _, e := range append([]*api.LogEvent{define("a", 3)}, several(0, 5)...) {
		data, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, bus.Entry{Subject: bus.LogSubject(0, "a"), Data: data})
	}
	// One atomic batch, so that they are fetched together.
	last := w.write(append(entries, bus.Entry{Subject: bus.LogSubject(0, "a"), Data: []byte("\xff")}, entries[len(entries)-1])...)
	c.reach(t, last-2)
	w.expectAll(0, 5)
	until(t, "it is said", func() bool { return c.log.count("cannot be quarantined") > 0 })
	if m := c.shard().mark.read(); m.applied != last-2 {
		t.Errorf("applied %d, past the poison at %d that is nowhere", m.applied, last-1)
	}
	if _, _, err := bus.EnsureTopology(within(t), w.conn.JS, bus.TopologyConfig{}); err != nil {
		t.Fatal(err)
	}
	c.reach(t, last)
	if n := len(w.quarantine()); n != 1 {
		t.Errorf("%d events are in the quarantine, want 1", n)
	}
}
