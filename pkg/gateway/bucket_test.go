package gateway

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/registry"
	"github.com/engram-memory/engram/pkg/wire"
)

// What comes while a rate is not bounded is not owed when it is bounded again.
func TestNothingIsOwedWithoutARate(t *testing.T) {
	stored := proto.Uint64(1 << 40)
	for bounded, with := range map[string]*api.Quota{
		"observations": {ObservationsPerSecond: proto.Float64(1000), StoredObservations: stored},
		"bytes":        {BytesPerSecond: proto.Float64(1000), StoredObservations: stored},
	} {
		for meanwhile, without := range map[string]*api.Quota{
			"stored observations": {StoredObservations: stored},
			"another rate":        {ObservationsPerSecond: with.BytesPerSecond, BytesPerSecond: with.ObservationsPerSecond},
			"no quota":            nil,
		} {
			t.Run(bounded+", then "+meanwhile, func(t *testing.T) {
				q, now := newQuotas(), time.Now()
				admit := func(quota *api.Quota, l load) *wire.Error {
					return q.admit(&registry.Entry{SpaceDefinition: &api.SpaceDefinition{Name: "a", Quota: quota}}, l, now)
				}
				// A debt of ten minutes, which ends with the bound.
				if err := admit(with, load{n: 600_000, bytes: 600_000}); err != nil {
					t.Fatal(err)
				}
				if err := admit(with, load{n: 1, bytes: 1}); err == nil || err.Code != wire.CodeQuota {
					t.Fatalf("beyond the rate: %v", err)
				}
				for range 60 {
					now = now.Add(time.Second)
					l := load{n: 5000, bytes: 5000}
					if without.GetObservationsPerSecond() > 0 {
						l.n = 1000
					}
					if without.GetBytesPerSecond() > 0 {
						l.bytes = 1000
					}
					if err := admit(without, l); err != nil {
						t.Fatalf("without the rate: %v", err)
					}
				}
				if err := admit(with, load{n: 1000, bytes: 1000}); err != nil {
					t.Fatalf("a second's worth when the rate is back: %v", err)
				}
				if err := admit(with, load{n: 1, bytes: 1}); err == nil || err.Code != wire.CodeQuota {
					t.Errorf("beyond it: %v", err)
				}
			})
		}
	}
}

// What is given back can be taken again, and not more.
func TestWhatIsGivenBack(t *testing.T) {
	q, now := newQuotas(), time.Now()
	e := &registry.Entry{SpaceDefinition: &api.SpaceDefinition{Name: "a", Quota: &api.Quota{ObservationsPerSecond: proto.Float64(10)}}}
	l := load{n: 10, bytes: 1 << 20}
	for range 3 {
		if err := q.admit(e, l, now); err != nil {
			t.Fatal(err)
		}
		q.release(e, l)
	}
	if err := q.admit(e, l, now); err != nil {
		t.Fatal(err)
	}
	if err := q.admit(e, load{n: 1}, now); err == nil || err.Code != wire.CodeQuota {
		t.Errorf("beyond what was given back: %v", err)
	}
}

// What a space that was dropped has used is let go of, and nobody is asked what it stores.
func TestUsageOfDroppedSpaces(t *testing.T) {
	q, now := newQuotas(), time.Now()
	entries := map[string]*registry.Entry{}
	for _, name := range []string{"lives", "dropped", "unknown"} {
		e := &registry.Entry{SpaceDefinition: &api.SpaceDefinition{Name: name, Quota: &api.Quota{StoredObservations: proto.Uint64(10)}}}
		if refused := q.admit(e, load{n: 1}, now); refused != nil {
			t.Fatal(refused)
		}
		entries[name] = e
	}
	entries["dropped"].Dropped = true
	delete(entries, "unknown")
	due := q.due(now, func(name string) *registry.Entry { return entries[name] })
	if len(due) != 1 || due[0].GetName() != "lives" || len(q.spaces) != 1 {
		t.Errorf("asked about %v, of %d spaces", due, len(q.spaces))
	}
}
