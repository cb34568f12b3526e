package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/embed"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/node"
	"github.com/engram-memory/engram/pkg/registry"
	"github.com/engram-memory/engram/pkg/wire"
)

// shards of every set of logs here: two, so that a space can be in the wrong one.
const shards = 2

// shared is one node for the tests that stop nothing; each has spaces of its own.
var shared *node.Node

func TestMain(m *testing.M) {
	code, err := withNode(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withNode(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "engram-gateway-test")
	if err != nil {
		return 1, err
	}
	defer func() { err = orElse(err, os.RemoveAll(dir)) }()
	cfg := node.DefaultConfig(dir)
	cfg.NATS, cfg.HTTP, cfg.Metrics, cfg.Topology.Shards = "127.0.0.1:0", "127.0.0.1:0", "", shards
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if shared, err = node.Start(ctx, cfg, zerolog.New(os.Stderr).Level(zerolog.ErrorLevel)); err != nil {
		return 1, err
	}
	defer func() { err = orElse(err, shared.Close()) }()
	return m.Run(), nil
}

func orElse(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// connect opens a connection to the shared node.
func connect(t *testing.T) *bus.Conn {
	t.Helper()
	conn, err := shared.Connect(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// core starts the core of a gateway of its own on a connection, and closes it when the test ends.
func core(t *testing.T, conn *bus.Conn, change func(*gateway.Config)) *gateway.Gateway {
	t.Helper()
	g, release := open(t, conn, change)
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		release()
	})
	return g
}

// open starts the core of a gateway. The caller closes it, and then releases what it works with.
func open(t *testing.T, conn *bus.Conn, change func(*gateway.Config)) (g *gateway.Gateway, release func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := conn.WaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	topology, _, err := bus.EnsureTopology(ctx, conn.JS, bus.TopologyConfig{Shards: shards})
	if err != nil {
		t.Fatal(err)
	}
	defs, err := registry.Open(ctx, conn.JS)
	if err != nil {
		t.Fatal(err)
	}
	m, err := metrics.NewGateway(metrics.NewRegistry(), 10)
	if err != nil {
		t.Fatal(err)
	}
	cfg := gateway.DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	g, err = gateway.New(ctx, gateway.Options{
		Config: cfg, Conn: conn.NC, JetStream: conn.JS, Topology: topology, Registry: defs,
		Embedders: embed.NewSet(embed.NewLexical()), Metrics: m, Logger: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return g, func() {
		if err := defs.Close(); err != nil {
			t.Error(err)
		}
	}
}

type answer struct {
	resp    *api.ObserveResponse
	refused *wire.Error
}

// observe begins a request and returns the channel of its answer.
func observe(g *gateway.Gateway, space string, req *api.ObserveRequest) <-chan answer {
	c := make(chan answer, 1)
	g.Observe(space, req, func(resp *api.ObserveResponse, refused *wire.Error) { c <- answer{resp, refused} })
	return c
}

// must waits for the answer to a request and fails the test where it has an error anywhere.
func must(t *testing.T, c <-chan answer) []*api.ObserveResult {
	t.Helper()
	a := <-c
	if a.refused != nil {
		t.Fatal(a.refused)
	}
	for i, r := range a.resp.GetResults() {
		if r.GetError() != nil {
			t.Fatalf("result %d: %v", i, r.GetError())
		}
	}
	return a.resp.GetResults()
}

func one(o *api.Observation) *api.ObserveRequest {
	return &api.ObserveRequest{Observations: []*api.Observation{o}}
}

func f32(v ...float32) *api.Embedding {
	return &api.Embedding{Data: event.AppendF32(nil, v), Encoding: api.Encoding_ENCODING_F32}
}

func sequence(t *testing.T, position string) uint64 {
	t.Helper()
	p, err := event.ParsePosition(position)
	if err != nil {
		t.Fatal(err)
	}
	return p.Sequence
}

// lastSequences tells how far each stream is that an observation could be written to: the logs, the quarantine, and the
// definitions of spaces.
func lastSequences(t *testing.T, js jetstream.JetStream) map[string]uint64 {
	t.Helper()
	names := []string{bus.QuarantineStream, "KV_" + bus.SpacesBucket}
	for n := range shards {
		names = append(names, bus.LogStream(n))
	}
	out := map[string]uint64{}
	for _, name := range names {
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = s.CachedInfo().State.LastSeq
	}
	return out
}

// logged returns the messages of a space in the log, in order.
func logged(t *testing.T, js jetstream.JetStream, space string) []jetstream.Msg {
	t.Helper()
	shard := event.ShardOf(space, shards)
	c, err := js.OrderedConsumer(t.Context(), bus.LogStream(shard), jetstream.OrderedConsumerConfig{FilterSubjects: []string{bus.LogSubject(shard, space)}})
	if err != nil {
		t.Fatal(err)
	}
	var all []jetstream.Msg
	for {
		batch, err := c.FetchNoWait(1000)
		if err != nil {
			t.Fatal(err)
		}
		n := len(all)
		for m := range batch.Messages() {
			all = append(all, m)
		}
		if batch.Error() != nil {
			t.Fatal(batch.Error())
		}
		if len(all) == n {
			return all
		}
	}
}

func streamSequence(t *testing.T, m jetstream.Msg) uint64 {
	t.Helper()
	meta, err := m.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	return meta.Sequence.Stream
}

// post sends a request over HTTP to the node and returns the status, the headers and the body.
func post(t *testing.T, base, path, contentType, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func newClient(conn *bus.Conn) *client.Client { return client.New(conn.NC) }

// requestTimeout is reached only when something is broken.
const requestTimeout = 10 * time.Second

func openRegistry(t *testing.T, js jetstream.JetStream) *registry.Registry {
	t.Helper()
	r, err := registry.Open(t.Context(), js)
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

// eventually asks every few milliseconds until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !so(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it is still not so that %s", what)
		}
	}
}

// spaces counts the names of unique.
var spaces atomic.Int64

// unique returns a name that no other test, and no other run of this one, has a space under.
func unique(name string) string { return fmt.Sprintf("%s-%d", name, spaces.Add(1)) }
