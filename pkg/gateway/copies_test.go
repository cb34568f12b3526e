package gateway_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/node"
	"github.com/engram-memory/engram/pkg/wire"
	"github.com/engram-memory/engram/pkg/worker"
)

// twoCopies starts a node of one shard, and another worker beside its own, whose name is "second".
func twoCopies(t *testing.T) *bus.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cfg := node.DefaultConfig(t.TempDir())
	cfg.NATS, cfg.HTTP, cfg.Metrics, cfg.Topology.Shards = "127.0.0.1:0", "", "", 1
	n, err := node.Start(ctx, cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	conn, err := n.Connect(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if err := conn.WaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	topology, _, err := bus.EnsureTopology(ctx, conn.JS, bus.TopologyConfig{Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	m, err := metrics.NewWorker(prometheus.NewRegistry(), 10)
	if err != nil {
		t.Fatal(err)
	}
	second := worker.DefaultConfig()
	second.Name, second.Dir, second.NumWorkers = "second", t.TempDir(), 1
	w, err := worker.Start(ctx, worker.Options{
		Config: second, Conn: conn.NC, JetStream: conn.JS, Topology: topology, Metrics: m,
		RecallLatency: prometheus.ObserverFunc(func(float64) {}), Logger: zerolog.Nop(), Version: "0.0.1",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// consumerOf returns the name of the consumer of a worker.
func consumerOf(t *testing.T, js jetstream.JetStream, name string) string {
	t.Helper()
	s, err := js.Stream(t.Context(), bus.LogStream(0))
	if err != nil {
		t.Fatal(err)
	}
	for found := range s.ConsumerNames(t.Context()).Name() {
		if strings.Contains(found, name) {
			return found
		}
	}
	t.Fatalf("there is no consumer of %s", name)
	return ""
}

// A forget is acknowledged as searchable once no copy of the shard returns what it forgets: while one is behind it is not, and
// at the deadline the error says which.
func TestForgetWaitsForEveryCopy(t *testing.T) {
	conn := twoCopies(t)
	c := client.New(conn.NC)
	spoken, err := conn.NC.SubscribeSync(bus.HeartbeatSubject("second"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := spoken.NextMsg(requestTimeout); err != nil {
		t.Fatal(err)
	}
	// Whichever copy is asked, both have it.
	remember(t, c, "demo", &api.Observation{Id: "a", Text: "one"}, &api.Observation{Id: "b", Text: "two"}, &api.Observation{Id: "c", Text: "three"})
	forget(t, c, "demo", &api.ForgetRequest{Ids: []string{"a"}})
	for range 20 {
		if got := strings.Fields(ids(t, c, "demo")); slices.Contains(got, "a") {
			t.Fatalf("a copy has %q", got)
		}
	}

	name := consumerOf(t, conn.JS, "second")
	paused, err := conn.JS.PauseConsumer(t.Context(), bus.LogStream(0), name, time.Now().Add(time.Hour))
	if err != nil || !paused.Paused {
		t.Fatalf("%v, %v", paused, err)
	}
	_, err = c.Forget(t.Context(), "demo", &api.ForgetRequest{Ids: []string{"b"}, Acknowledgement: searchable, DeadlineMs: 700})
	var late *wire.Error
	if !errors.As(err, &late) || late.Code != wire.CodeDeadline || !strings.Contains(late.Message, `["second"]`) {
		t.Fatalf("with a copy that is held back: %v", err)
	}

	answered := make(chan error, 1)
	go func() {
		_, err := c.Forget(t.Context(), "demo", &api.ForgetRequest{Ids: []string{"c"}, Acknowledgement: searchable})
		answered <- err
	}()
	eventually(t, "the forget is in the log", func() bool {
		s, err := conn.JS.Stream(t.Context(), bus.LogStream(0))
		return err == nil && s.CachedInfo().State.LastSeq == 7 // the definition, three observations, and three forgets
	})
	select {
	case err := <-answered:
		t.Fatalf("it was answered before the copy went on: %v", err)
	default:
	}
	if _, err := conn.JS.ResumeConsumer(t.Context(), bus.LogStream(0), name); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if got := ids(t, c, "demo"); got != "" {
			t.Fatalf("a copy has %q", got)
		}
	}
}
