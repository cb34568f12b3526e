package worker

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/metrics"
)

// world is a server with the logs of one shard, and the directory of one worker.
type world struct {
	t      *testing.T
	server *bustest.Server
	conn   *bus.Conn
	topo   bus.Topology
	dir    string
	writes atomic.Uint64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, server: bustest.Start(t), dir: t.TempDir()}
	w.conn = w.server.Connect()
	var err error
	if w.topo, _, err = bus.EnsureTopology(within(t), w.conn.JS, bus.TopologyConfig{Shards: 1}); err != nil {
		t.Fatal(err)
	}
	return w
}

// tested is a worker under test with what it measures and logs.
type tested struct {
	*Worker
	log      *lines
	registry *prometheus.Registry
	answered atomic.Int64
}

func (w *world) options(change func(*Options)) (Options, *tested) {
	w.t.Helper()
	c := &tested{log: new(lines), registry: prometheus.NewRegistry()}
	m, err := metrics.NewWorker(c.registry, 10)
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Name, cfg.Dir, cfg.NumWorkers, cfg.Checkpoint, cfg.Heartbeat = "w0", w.dir, 2, 40*time.Millisecond, 50*time.Millisecond
	opt := Options{
		Config: cfg, Conn: w.conn.NC, JetStream: w.conn.JS, Topology: w.topo, Metrics: m, Version: "0.0.1",
		RecallLatency: prometheus.ObserverFunc(func(float64) { c.answered.Add(1) }), Logger: zerolog.New(c.log),
	}
	if change != nil {
		change(&opt)
	}
	return opt, c
}

// start runs a worker until the test ends, or until it is closed before.
func (w *world) start(change func(*Options)) *tested {
	w.t.Helper()
	opt, c := w.options(change)
	var err error
	if c.Worker, err = Start(within(w.t), opt); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("log of worker %s:\n%s", opt.Config.Name, c.log.text())
		}
		c.close(w.t)
	})
	return c
}

func (c *tested) close(t testing.TB) {
	t.Helper()
	if c.ctx.Err() != nil {
		return
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func (c *tested) shard() *shard { return c.held()[0] }

func (c *tested) applied() uint64 { return c.shard().mark.read().applied }

// reach waits until everything up to a sequence is searchable.
func (c *tested) reach(t testing.TB, sequence uint64) {
	t.Helper()
	until(t, fmt.Sprintf("applied reaches %d", sequence), func() bool { return c.applied() >= sequence })
}

// fresh waits until the worker knows of nothing that is not searchable.
func (c *tested) fresh(t testing.TB) {
	t.Helper()
	until(t, "staleness returns to 0", func() bool { return c.Staleness(time.Now()) == 0 })
}

// publish writes events to the log and returns the sequence of the last one.
func (w *world) publish(events ...*api.LogEvent) uint64 {
	w.t.Helper()
	entries := make([]bus.Entry, len(events))
	for i, e := range events {
		data, err := proto.Marshal(e)
		if err != nil {
			w.t.Fatal(err)
		}
		entries[i] = bus.Entry{Subject: bus.LogSubject(0, spaceIn(e)), Data: data}
	}
	return w.write(entries...)
}

func (w *world) write(entries ...bus.Entry) uint64 {
	w.t.Helper()
	for i := range entries {
		entries[i].ID = fmt.Sprint("write ", w.writes.Add(1))
	}
	var last uint64
	for _, o := range bus.PublishAll(within(w.t), w.conn.JS, entries) {
		if o.Err != nil {
			w.t.Fatal(o.Err)
		}
		last = o.Sequence
	}
	return last
}

// ask sends a request to a shard and returns the code of a refusal.
func (w *world) ask(verb string, req, resp proto.Message) (code string) {
	w.t.Helper()
	return w.refusal(verb, req, resp).GetCode()
}

// refusal is ask for the whole of a refusal, nil for none.
func (w *world) refusal(verb string, req, resp proto.Message) *api.Error {
	w.t.Helper()
	body, err := proto.Marshal(req)
	if err != nil {
		w.t.Fatal(err)
	}
	msg, err := w.conn.NC.RequestWithContext(within(w.t), bus.ShardSubject(0, verb), body)
	if err != nil {
		w.t.Fatalf("%s: %v", verb, err)
	}
	if msg.Header.Get(micro.ErrorCodeHeader) != "" {
		refusal := new(api.Error)
		if err := proto.Unmarshal(msg.Data, refusal); err != nil {
			w.t.Fatal(err)
		}
		return refusal
	}
	if err := proto.Unmarshal(msg.Data, resp); err != nil {
		w.t.Fatal(err)
	}
	return nil
}

func (w *world) recall(req *api.RecallRequest) *api.RecallResponse {
	w.t.Helper()
	resp := new(api.RecallResponse)
	if code := w.ask(bus.VerbRecall, req, resp); code != "" {
		w.t.Fatalf("recall was refused: %s", code)
	}
	return resp
}

// nearest returns the id of the hit that is nearest to direction(i).
func (w *world) nearest(i int) string {
	w.t.Helper()
	resp := w.recall(&api.RecallRequest{Space: "a", Embedding: embedding(direction(i)...), K: proto.Uint32(1)})
	if len(resp.GetHits()) != 1 {
		w.t.Fatalf("%d hits for %d, want 1", len(resp.GetHits()), i)
	}
	return resp.GetHits()[0].GetId()
}

// expectAll checks that several(from, to) are what a recall finds.
func (w *world) expectAll(from, to int) {
	w.t.Helper()
	for i := from; i < to; i++ {
		if id := w.nearest(i); id != fmt.Sprint(i) {
			w.t.Fatalf("the nearest to %d is %q", i, id)
		}
	}
}

func (w *world) count(space string) int {
	w.t.Helper()
	resp := new(api.SpacesResponse)
	if code := w.ask(bus.VerbSpaces, &api.SpacesRequest{Space: space}, resp); code != "" || len(resp.GetSpaces()) != 1 {
		w.t.Fatalf("space %q: refused with %q, or none of: %v", space, code, resp)
	}
	return int(resp.GetSpaces()[0].GetObservations())
}

func (w *world) position(sequence uint64) string {
	return event.Position{Epoch: w.topo.Epoch, Sequence: sequence}.String()
}

func (w *world) stream(name string) jetstream.Stream {
	w.t.Helper()
	s, err := w.conn.JS.Stream(within(w.t), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) delete(sequences ...uint64) {
	w.t.Helper()
	for _, q := range sequences {
		if err := w.stream(bus.LogStream(0)).DeleteMsg(within(w.t), q); err != nil {
			w.t.Fatal(err)
		}
	}
}

// poison is a message of the quarantine.
type poison struct {
	*api.QuarantineEvent
	header nats.Header
}

func (w *world) quarantine() []poison {
	w.t.Helper()
	s := w.stream(bus.QuarantineStream)
	var all []poison
	for q := uint64(1); q <= s.CachedInfo().State.LastSeq; q++ {
		msg, err := s.GetMsg(within(w.t), q)
		if err != nil {
			w.t.Fatal(err)
		}
		p := poison{new(api.QuarantineEvent), msg.Header}
		if err := proto.Unmarshal(msg.Data, p.QuarantineEvent); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// aside lists what was set aside in the worker's directory.
func (w *world) aside() []string {
	w.t.Helper()
	found, err := filepath.Glob(filepath.Join(w.dir, "*.aside-*"))
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

// heartbeats says until ctx ends that a worker has a copy that is durable up to a position.
func (w *world) heartbeats(ctx context.Context, worker string, created int64, position uint64) {
	w.t.Helper()
	b, err := proto.Marshal(&api.Heartbeat{Worker: worker, Epoch: w.topo.Epoch, Shards: []*api.ShardStatus{
		{StreamCreatedAt: created, Durable: position, Applied: position},
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for sleep(ctx, 100*time.Millisecond) {
			_ = w.conn.NC.Publish(bus.HeartbeatSubject(worker), b)
		}
	}()
	w.t.Cleanup(func() { <-done })
}
