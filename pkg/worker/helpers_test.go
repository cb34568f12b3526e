package worker

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// patience bounds every wait. It is far below the 30 s after which the log delivers again what was not acknowledged, so
// a test that passes did not wait for that.
const patience = 15 * time.Second

// until waits for a condition.
func until(t testing.TB, what string, met func() bool) {
	t.Helper()
	const every = 2 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	// Ticks rather than a deadline: while the process is stopped there are none.
	for ticks := 0; !met(); ticks++ {
		if ticks > int(patience/every) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
		<-tick.C
	}
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// lines is a log that can be looked at while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(s string) int { return strings.Count(l.text(), s) }

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

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

func spaceIn(e *api.LogEvent) string {
	switch k := e.GetEvent().(type) {
	case *api.LogEvent_Observe:
		return k.Observe.GetSpace()
	case *api.LogEvent_Define:
		return k.Define.GetName()
	case *api.LogEvent_Forget:
		return k.Forget.GetSpace()
	case *api.LogEvent_Drop:
		return k.Drop.GetSpace()
	}
	return "a"
}

func define(space string, dim uint32) *api.LogEvent {
	return &api.LogEvent{Event: &api.LogEvent_Define{Define: &api.SpaceDefinition{
		Name: space, Dimension: dim, Metric: api.Metric_METRIC_COSINE, Generation: 1, Engine: "exact",
	}}}
}

func observe(space, id string, v ...float32) *api.LogEvent {
	return &api.LogEvent{Event: &api.LogEvent_Observe{Observe: &api.Observation{Space: space, Id: id, Text: "text of " + id, Embedding: embedding(v...)}}}
}

func embedding(v ...float32) *api.Embedding {
	return &api.Embedding{Data: event.AppendF32(nil, v), Encoding: api.Encoding_ENCODING_F32}
}

// several are observations of space "a", of which the i-th is the nearest one to direction(i).
func several(from, to int) []*api.LogEvent {
	var events []*api.LogEvent
	for i := from; i < to; i++ {
		events = append(events, observe("a", fmt.Sprint(i), direction(i)...))
	}
	return events
}

// direction goes round a circle, up to i = 300.
func direction(i int) []float32 {
	sin, cos := math.Sincos(float64(i) / 50)
	return []float32{float32(sin), float32(cos), 0.5}
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

// bench is index workers and shards without a log: tasks are handed over by the test.
type bench struct {
	t *testing.T
	*Worker
}

func newBench(t *testing.T, shards int, change func(*Config)) *bench {
	t.Helper()
	m, err := metrics.NewWorker(prometheus.NewRegistry(), 10)
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.NumWorkers, cfg.IdleSleep = 3, 0
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Resolve(); err != nil {
		t.Fatal(err)
	}
	b := &bench{t, &Worker{Options: Options{Config: cfg, Metrics: m, Logger: zerolog.Nop()}, pool: newPool(cfg, m, zerolog.Nop())}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	for n := range shards {
		b.shards = append(b.shards, b.openBare(n))
		b.pool.attach(b.shards[n])
	}
	var watching sync.WaitGroup
	watching.Go(b.watch)
	t.Cleanup(func() {
		b.cancel()
		watching.Wait()
		b.pool.close()
		for _, s := range b.shards {
			if err := s.store.Load().Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return b
}

// watch ends the context when nothing has become searchable for a long time in which this process ran. A deadline would
// also pass while the machine, or somebody with a signal, keeps it from running; of the ticks that it misses, one is kept.
func (b *bench) watch() {
	const every = 20 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ticks, before := 0, uint64(0); ticks < int(2*patience/every); ticks++ {
		select {
		case <-tick.C:
		case <-b.ctx.Done():
			return
		}
		applied := uint64(0)
		for _, s := range b.shards {
			applied += s.mark.read().applied
		}
		if applied != before {
			ticks, before = 0, applied
		}
	}
	b.cancel()
}

func (b *bench) openBare(n int) *shard {
	b.t.Helper()
	s, err := b.newShard(n)
	if err != nil {
		b.t.Fatal(err)
	}
	store, _, err := vecstore.Open(b.t.TempDir(), vecstore.Source{Epoch: "e"}, vecstore.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	s.view(store)
	return s
}

// byHand stops the index workers, and returns the first one for the test to drive.
func (b *bench) byHand() *indexWorker {
	b.pool.close()
	return b.pool.workers[0]
}

// push hands events to a shard as fetching does; they get the next sequences.
func (b *bench) push(shard int, events ...vecstore.Event) uint64 {
	b.t.Helper()
	s := b.shards[shard]
	app := s.store.Load().Appender()
	var tasks []*task
	for _, e := range events {
		e.Sequence = s.mark.fetched() + 1
		ticket, err := s.mark.begin(b.ctx, slot{sequence: e.Sequence, published: time.Now(), bytes: 1}, 0)
		if err != nil {
			b.t.Fatal(err)
		}
		tk := &task{event: e, ticket: ticket, shard: s, high: e.Kind == vecstore.KindForget}
		if err := app.Add(&tk.event); err != nil {
			b.t.Fatal(err)
		}
		tasks = append(tasks, tk)
	}
	if err := s.hand(b.ctx, app, tasks); err != nil {
		b.t.Fatal(err)
	}
	return s.mark.fetched()
}

func (b *bench) await(shard int, sequence uint64) {
	b.t.Helper()
	if err := b.shards[shard].mark.await(b.ctx, sequence); err != nil {
		b.t.Fatalf("sequence %d of shard %d did not become searchable, and nothing else did for %v: %v", sequence, shard, 2*patience, err)
	}
}

func definition(space string) vecstore.Event {
	return vecstore.Event{Kind: vecstore.KindDefine, Space: space, Definition: &vecstore.Definition{
		Name: space, Dimension: 1, Metric: vecstore.Dot, Generation: 1,
	}}
}

func row(space, id string, v float32) vecstore.Event {
	return vecstore.Event{Kind: vecstore.KindObserve, Space: space, ID: id, Vector: event.AppendF32(nil, []float32{v})}
}

func counted(c prometheus.Collector) int { return int(testutil.ToFloat64(c)) }

// gate holds up who waits at it until it is opened, at the latest when the test ends, so that what fails does not hang.
type gate struct {
	opened chan struct{}
	open   func()
}

func newGate(t testing.TB) gate {
	opened := make(chan struct{})
	g := gate{opened, sync.OnceFunc(func() { close(opened) })}
	t.Cleanup(g.open)
	return g
}

func (g gate) wait() { <-g.opened }

type (
	store      = vecstore.Shard
	storeEvent = vecstore.Event
)
