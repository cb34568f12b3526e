package registry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/registry"
)

// buckets starts a server with the streams of Engram.
func buckets(t *testing.T) *bustest.Server {
	t.Helper()
	s := bustest.Start(t)
	if _, _, err := bus.EnsureTopology(t.Context(), s.Connect().JS, bus.TopologyConfig{Shards: 1}); err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, c *bus.Conn) *registry.Registry {
	t.Helper()
	r, err := registry.Open(t.Context(), c.JS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func definition(name string, dim uint32) *api.SpaceDefinition {
	return &api.SpaceDefinition{Name: name, Dimension: dim, Metric: api.Metric_METRIC_L2, Embedder: "lexical", Engine: "hnsw", Vectors: api.Vectors_VECTORS_F16, CreatedAt: 7}
}

func drop(d *api.SpaceDefinition) { d.Dropped = true }

func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !so(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it is still not so that %s", what)
		}
	}
}

func TestLifeOfASpace(t *testing.T) {
	s := buckets(t)
	a, b := open(t, s.Connect()), open(t, s.Connect())
	ctx := t.Context()
	if e, err := a.Lookup(ctx, "demo"); e != nil || err != nil || e.Living() || a.Get("demo") != nil {
		t.Fatalf("before: %v, %v", e, err)
	}
	e, err := a.Create(ctx, definition("demo", 3))
	if err != nil {
		t.Fatal(err)
	}
	want := definition("demo", 3)
	want.Generation = 1
	if !proto.Equal(e.SpaceDefinition, want) || !e.Living() || a.Get("demo") != e {
		t.Fatalf("created %v", e)
	}
	// The other one knows it when it asks, at once.
	if e, err = b.Lookup(ctx, "demo"); err != nil || !proto.Equal(e.SpaceDefinition, want) {
		t.Fatalf("looked up %v, %v", e, err)
	}
	// What is there is not made again.
	if e, err = b.Create(ctx, definition("demo", 9)); err != nil || e.GetDimension() != 3 {
		t.Fatalf("created again: %v, %v", e, err)
	}
	if e, err = b.Update(ctx, e, drop); err != nil || e.Living() || b.Get("demo").Living() {
		t.Fatalf("dropped: %v, %v", e, err)
	}
	waitFor(t, "the other one has heard of the drop", func() bool { return !a.Get("demo").Living() })
	if e, err = b.Create(ctx, definition("demo", 9)); err != nil || e.GetGeneration() != 2 || e.GetDimension() != 9 {
		t.Fatalf("the next generation: %v, %v", e, err)
	}
	// A dropped space is looked up, too.
	if e, err = a.Lookup(ctx, "demo"); err != nil || e.GetGeneration() != 2 {
		t.Fatalf("looked up after the drop: %v, %v", e, err)
	}
	// One that is opened later reads all.
	if e := open(t, s.Connect()).Get("demo"); e.GetGeneration() != 2 {
		t.Fatalf("opened later: %v", e)
	}
	if _, err := a.Lookup(ctx, "no key"); err == nil {
		t.Error("a name that is no key was looked up")
	}
}

func TestUpdateOfSomethingChanged(t *testing.T) {
	s := buckets(t)
	a, b := open(t, s.Connect()), open(t, s.Connect())
	e, err := a.Create(t.Context(), definition("demo", 3))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Update(t.Context(), e, func(d *api.SpaceDefinition) { d.LoggedSequence = 7 }); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Update(t.Context(), e, drop); !errors.Is(err, registry.ErrChanged) {
		t.Errorf("an update of an old revision: %v", err)
	}
	if got := a.Get("demo"); !got.Living() || got.GetLoggedSequence() != 7 || e.GetLoggedSequence() != 0 {
		t.Errorf("after: %v, and what was read before is %v", got, e)
	}
}

// Many at once: one definition wins, and all are told that one; also where a dropped space is made again.
func TestCreateRace(t *testing.T) {
	s := buckets(t)
	rs := []*registry.Registry{open(t, s.Connect()), open(t, s.Connect())}
	for generation := range uint32(3) {
		var mu sync.Mutex
		var done sync.WaitGroup
		got := map[uint32]int{}
		for i := range 20 {
			done.Go(func() {
				e, err := rs[i%2].Create(t.Context(), definition("demo", uint32(i+1)))
				if err != nil || e.GetGeneration() != generation+1 {
					t.Errorf("generation %d: %v, %v", generation+1, e, err)
					return
				}
				mu.Lock()
				got[e.GetDimension()]++
				mu.Unlock()
			})
		}
		done.Wait()
		if len(got) != 1 {
			t.Fatalf("generation %d has the dimensions %v", generation+1, got)
		}
		e, err := rs[0].Lookup(t.Context(), "demo")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rs[0].Update(t.Context(), e, drop); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the other one has heard of the drop", func() bool { return !rs[1].Get("demo").Living() })
	}
}

func TestAll(t *testing.T) {
	s := buckets(t)
	r := open(t, s.Connect())
	for i := range 5 {
		e, err := r.Create(t.Context(), definition(fmt.Sprint("s", i), 1))
		if err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			if _, err := r.Update(t.Context(), e, drop); err != nil {
				t.Fatal(err)
			}
		}
	}
	var names []string
	r.All(func(e *registry.Entry) bool { names = append(names, e.GetName()); return true })
	slices.Sort(names)
	if got := fmt.Sprint(names); got != "[s0 s1 s3 s4]" {
		t.Error(got)
	}
	n := 0
	r.All(func(*registry.Entry) bool { n++; return n < 2 })
	if n != 2 {
		t.Errorf("it went on %d times", n)
	}
}

// What this version cannot read is no space, is not written over, and is no reason to fall.
func TestUnreadableDefinition(t *testing.T) {
	c := buckets(t).Connect()
	r := open(t, c)
	kv, err := c.JS.KeyValue(t.Context(), registry.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "broken", []byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "newer", []byte(`{"name":"newer","dimension":3,"fieldOfTomorrow":1}`)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the newer one is known", func() bool { return r.Get("newer").Living() })
	if e, err := r.Lookup(t.Context(), "broken"); e != nil || err != nil {
		t.Errorf("looked up %v, %v", e, err)
	}
	if e, err := r.Create(t.Context(), definition("broken", 1)); err == nil {
		t.Errorf("created %v over what was there", e)
	}
	if err := kv.Delete(t.Context(), "newer"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the deleted one is gone", func() bool { return r.Get("newer") == nil })
}

// After an outage the bucket is followed again at once, and what was missed is made up for.
func TestOutage(t *testing.T) {
	s := buckets(t)
	c, other := s.Connect(), s.Connect()
	r := open(t, c)
	writer := open(t, other)
	if _, err := writer.Create(t.Context(), definition("demo", 3)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the space is known", func() bool { return r.Get("demo").Living() })
	for round := range 2 {
		s.Restart()
		for _, conn := range []*bus.Conn{c, other} {
			if err := conn.WaitConnected(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		waitFor(t, "the bucket can be written", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			e, err := writer.Lookup(ctx, "demo")
			if err != nil {
				return false
			}
			_, err = writer.Update(ctx, e, func(d *api.SpaceDefinition) { d.CreatedAt = int64(100 + round) })
			return err == nil
		})
		waitFor(t, "the change is known", func() bool { return r.Get("demo").GetCreatedAt() == int64(100+round) })
	}
}

func TestCloseWithoutAServer(t *testing.T) {
	s := buckets(t)
	c := s.Connect()
	r, err := registry.Open(t.Context(), c.JS)
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	waitFor(t, "the connection is known to be lost", func() bool { return !c.NC.IsConnected() })
	start := time.Now()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestOpenWithoutABucket(t *testing.T) {
	c := bustest.Start(t).Connect()
	if _, err := registry.Open(t.Context(), c.JS); err == nil {
		t.Error("opened")
	}
}
