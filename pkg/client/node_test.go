package client_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/worker"
)

const capacity = 200

// startGateway runs a gateway on a connection of its own until it is stopped.
func startGateway(t *testing.T, conn *bus.Conn) (stop func()) {
	t.Helper()
	env, _, release, err := daemon.NewEnv(conn, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	cfg := daemon.GatewayConfig{Gateway: gateway.DefaultConfig()}
	cfg.Topology.Shards, cfg.Gateway.Admission.Capacity = 1, capacity
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	g, err := daemon.StartGateway(ctx, cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if err := release(); err != nil {
			t.Error(err)
		}
	}
}

// A producer hands over several times the capacity. First no worker drains, so that it is refused; then one comes, and the
// gateway is stopped and another one started again and again. Each observation is in the log once, and its result says where.
func TestProducerThroughRefusalsAndRestarts(t *testing.T) {
	const n = 5 * capacity
	srv := bustest.Start(t)
	stop := startGateway(t, srv.Connect())
	conn := srv.Connect()
	if err := conn.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := client.New(conn.NC)
	p, err := c.Producer(client.ProducerConfig{Window: 2 * n, Batch: 20, Deadline: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var all []*client.Pending
	for i := range n {
		all = append(all, hand(t, p, "restarts", &api.Observation{Id: fmt.Sprint(i), Embedding: &api.Embedding{Data: event.AppendF32(nil, []float32{1, float32(i)})}}))
	}
	for p.Refused() == 0 {
		select {
		case <-t.Context().Done():
			t.Fatal("it was never refused")
		case <-time.After(10 * time.Millisecond):
		}
	}
	env, _, release, err := daemon.NewEnv(srv.Connect(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	cfg := daemon.WorkerConfig{Worker: worker.DefaultConfig()}
	cfg.Topology.Shards, cfg.Worker.Dir, cfg.Worker.Queue.Capacity = 1, t.TempDir(), capacity
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	w, err := daemon.StartWorker(t.Context(), cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	for part := 1; part <= 4; part++ {
		if _, err := all[part*n/5].Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		stop()
		stop = startGateway(t, srv.Connect())
	}
	positions := map[string]bool{}
	for i, pend := range all {
		r, err := pend.Wait(t.Context())
		if err != nil || r.GetId() != fmt.Sprint(i) || positions[r.GetPosition()] {
			t.Fatalf("observation %d: %v, %v", i, r, err)
		}
		positions[r.GetPosition()] = true
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	stream, err := conn.JS.Stream(t.Context(), bus.LogStream(0))
	if err != nil || stream.CachedInfo().State.Msgs != n+1 { // and the definition
		t.Errorf("the log has %+v, %v; want %d entries", stream.CachedInfo().State, err, n+1)
	}
	stop()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}
