package bus_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/streams"
)

// What a stream has no more is told from what it has, and from what it never had.
func TestRemoved(t *testing.T) {
	ctx := testContext(t)
	conn := bustest.Start(t).Connect()
	mustEnsure(t, conn.JS, bus.TopologyConfig{Shards: 1})
	publish(t, conn.JS, 0, 9)
	stream, err := conn.JS.Stream(ctx, bus.LogStream(0))
	if err != nil {
		t.Fatal(err)
	}
	expect := func(from, to uint64, want bool) {
		t.Helper()
		if got, err := bus.Removed(ctx, conn.JS, 0, from, to); err != nil || got != want {
			t.Errorf("%d to %d: removed %v, %v", from, to, got, err)
		}
	}
	expect(3, 3, false)
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(3)); err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{5, 6, 9} {
		if err := stream.DeleteMsg(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	expect(1, 2, true)
	expect(1, 3, false)
	expect(5, 6, true)
	expect(4, 6, false)
	expect(5, 7, false)
	expect(9, 9, true)
	expect(9, 10, false)
	if err := stream.Purge(ctx); err != nil {
		t.Fatal(err)
	}
	expect(1, 9, true)
	expect(1, 10, false)
}

func TestStreamIdentity(t *testing.T) {
	ctx := testContext(t)
	srv := bustest.Start(t)
	conn := srv.Connect()
	js := conn.JS
	mustEnsure(t, js, bus.TopologyConfig{Shards: 1})

	look := func(wantLast, wantFirst uint64) bus.Identity {
		t.Helper()
		id, last, first, err := bus.StreamIdentity(ctx, js, 0)
		if err != nil {
			t.Fatal(err)
		}
		if last != wantLast || first != wantFirst {
			t.Errorf("last %d, first %d, want %d and %d", last, first, wantLast, wantFirst)
		}
		return id
	}
	original := look(0, 1)
	publish(t, js, 0, 5)
	look(5, 1)
	stream, err := js.Stream(ctx, bus.LogStream(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(4)); err != nil {
		t.Fatal(err)
	}
	look(5, 4)
	if err := stream.Purge(ctx); err != nil {
		t.Fatal(err)
	}
	look(5, 6)

	// Neither a restart nor a change of settings makes it another stream.
	srv.Restart()
	if err := conn.WaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	cfg, err := streams.Log(0)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxBytes = 1 << 30
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if after := look(5, 6); !after.Equal(original) || after.String() != original.String() {
		t.Errorf("the identity was %v, and is %v after a restart", original, after)
	}

	// Made again under the same name, it is another.
	if err := js.DeleteStream(ctx, bus.LogStream(0)); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := bus.StreamIdentity(ctx, js, 0); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("without the stream: %v", err)
	}
	mustEnsure(t, js, bus.TopologyConfig{})
	if other := look(0, 1); other.Equal(original) || other.String() == original.String() {
		t.Errorf("a new stream has the identity %v of the old one", other)
	}
}

func TestIdentityText(t *testing.T) {
	srv := bustest.Start(t)
	js := srv.Connect().JS
	mustEnsure(t, js, bus.TopologyConfig{Shards: 1})
	id, _, _, err := bus.StreamIdentity(testContext(t), js, 0)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339Nano, id.String())
	if back := (bus.Identity{CreatedAt: at}); err != nil || !back.Equal(id) || back.IsZero() {
		t.Errorf("%v was read back as %v (%v)", id, back, err)
	}
	if !(bus.Identity{}).IsZero() {
		t.Error("the zero identity is not zero")
	}
}
