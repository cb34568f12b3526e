package gateway_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/wire"
)

func untilSearchable(key string, o *api.Observation) *api.ObserveRequest {
	return &api.ObserveRequest{
		Observations: []*api.Observation{o}, IdempotencyKey: key,
		Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE,
	}
}

// A write that was accepted before its space was dropped is not there any more, so its retry must not be told that it is.
func TestWriteRepeatedAcrossADrop(t *testing.T) {
	space := unique("lives")
	c := newClient(connect(t))
	o := func() *api.Observation { return &api.Observation{Id: "a", Embedding: f32(1, 0)} }
	if _, err := c.Observe(t.Context(), space, untilSearchable("k", o())); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Forget(t.Context(), space, &api.ForgetRequest{All: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Observe(t.Context(), space, untilSearchable("k", o())); err == nil || wire.AsError(err).Code != wire.CodeConflict {
		t.Errorf("the same write after a drop: %v, want a conflict", err)
	}
	if _, err := c.Observe(t.Context(), space, untilSearchable("other", o())); err != nil {
		t.Errorf("another write after a drop: %v", err)
	}
	expectThere(t, c, space, "a")
}

func expectThere(t *testing.T, c *client.Client, space, id string) {
	t.Helper()
	resp, err := c.Get(t.Context(), space, &api.GetRequest{Ids: []string{id}})
	if err != nil || len(resp.GetObservations()) != 1 {
		t.Errorf("getting %q from %s: %v, %v", id, space, resp.GetObservations(), err)
	}
}

// What is durable and cannot be applied must not be called searchable. A drop that somebody writes to the log directly
// is one way to get there.
func TestSearchableIsNotSaidOfTheQuarantine(t *testing.T) {
	space := unique("undermined")
	conn := connect(t)
	c := newClient(conn)
	if _, err := c.Observe(t.Context(), space, untilSearchable("", &api.Observation{Id: "a", Embedding: f32(1, 0)})); err != nil {
		t.Fatal(err)
	}
	data, err := proto.Marshal(&api.LogEvent{Event: &api.LogEvent_Drop{Drop: &api.DropEvent{Space: space, Generation: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	shard := event.ShardOf(space, shards)
	out := bus.PublishAll(t.Context(), conn.JS, []bus.Entry{{Subject: bus.LogSubject(shard, space), ID: space + "#direct", Data: data}})
	if out[0].Err != nil {
		t.Fatal(out[0].Err)
	}
	req := untilSearchable("", &api.Observation{Id: "b", Embedding: f32(0, 1)})
	resp, err := c.Observe(t.Context(), space, req)
	if err != nil {
		t.Fatal(err)
	}
	r := resp.GetResults()[0]
	if r.GetSearchable() || r.GetError().GetCode() != string(wire.CodeUnknownSpace) || !strings.Contains(r.GetError().GetMessage(), "quarantine") {
		t.Errorf("the result is %v", r)
	}
}

// A log that was lost and made again does not hold the definitions that the bucket knows of.
func TestLogMadeAgain(t *testing.T) {
	conn := connect(t)
	space := unique("relogged")
	shard := event.ShardOf(space, shards)
	g, release := open(t, conn, func(*gateway.Config) {})
	must(t, observe(g, space, one(&api.Observation{Id: "a", Embedding: f32(1, 0)})))
	release()
	if err := conn.JS.DeleteStream(context.Background(), bus.LogStream(shard)); err != nil {
		t.Fatal(err)
	}
	g, release = open(t, conn, func(*gateway.Config) {}) // makes the stream again
	defer release()
	c := newClient(conn)
	resp := must(t, observe(g, space, untilSearchable("", &api.Observation{Id: "b", Embedding: f32(0, 1)})))
	if !resp[0].GetSearchable() {
		t.Errorf("the result is %v", resp[0])
	}
	expectThere(t, c, space, "b")
}
