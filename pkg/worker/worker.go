package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/dirlock"
	"github.com/engram-memory/engram/pkg/filter"
	"github.com/engram-memory/engram/pkg/membership"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// Options are what a worker works with. All are required, but for Group and JetStreamMetrics.
type Options struct {
	Config    Config
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	Topology  bus.Topology
	Metrics   *metrics.Worker
	// RecallLatency observes how long each recall took here, in seconds.
	RecallLatency prometheus.Observer
	// Group is who shares the shards, where their configuration does not name them; a worker without one holds those of its
	// configuration, or all. It is left when the worker is closed.
	Group *membership.Group
	// JetStreamMetrics follows this worker's consumers, if it is set.
	JetStreamMetrics *metrics.JetStreamCollector
	Logger           zerolog.Logger
	Version          string
}

// Worker holds shards. Start makes one, Close ends it.
type Worker struct {
	Options

	lock        *dirlock.Lock
	pool        *pool
	utilization []prometheus.Gauge
	soon        chan struct{}
	recalls     chan struct{} // places of recalls that run
	search      searcher
	auditor     *auditor
	filters     *filter.Compiler
	linking     *vecstore.Linking // threads of all shards; nil where each has its own
	maps        *vecstore.Maps    // of the row logs of all shards
	snapshots   *snapshots        // nil where there are none

	placed bool    // the group places shards here
	placer *placer // nil where it does not
	drains micro.Service

	mu        sync.RWMutex
	shards    []*shard
	opening   map[int]string // why each shard that is being opened is, or cannot be
	consumers map[int]jetstream.Consumer
	polled    map[int]string // names of consumers that JetStreamMetrics follows
	reconnect map[int]chan struct{}

	// lostAt is when the connection was lost, Unix nanoseconds; 0 while there is one.
	lostAt atomic.Int64
	status chan nats.Status

	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// searcher is what answers recalls: Shard.Search, or in a test what answers as a test needs it.
type searcher func(*vecstore.Shard, string, vecstore.Query) (vecstore.Result, error)

// Start opens the shards that the configuration names and begins to follow their logs and to answer for them; those that a group
// places here are opened after it has returned. ctx bounds the start alone.
func Start(ctx context.Context, opt Options) (*Worker, error) {
	if err := opt.Config.Resolve(); err != nil {
		return nil, fmt.Errorf("configuration of the worker: %w", err)
	}
	placed := opt.Group != nil && len(opt.Config.Shards) == 0
	why := "named in the configuration of the worker"
	if len(opt.Config.Shards) == 0 && !placed {
		why = "the worker holds all shards"
		for n := range opt.Topology.Shards {
			opt.Config.Shards = append(opt.Config.Shards, n)
		}
	}
	for _, n := range opt.Config.Shards {
		if n >= opt.Topology.Shards {
			return nil, fmt.Errorf("configuration of the worker: shards lists %d, and there are the shards 0 to %d", n, opt.Topology.Shards-1)
		}
	}
	filters, err := filter.NewCompiler()
	if err != nil {
		return nil, err
	}
	snapshots, err := openSnapshots(ctx, &opt)
	if err != nil {
		return nil, err
	}
	lock, err := dirlock.Acquire(filepath.Join(opt.Config.Dir, "LOCK"))
	if err != nil {
		return nil, errors.Join(err, snapshots.close())
	}
	w := &Worker{
		Options: opt, placed: placed, lock: lock, pool: newPool(opt.Config, opt.Metrics, opt.Logger), soon: make(chan struct{}, 1),
		recalls: make(chan struct{}, opt.Config.RecallWorkers), search: (*vecstore.Shard).Search, consumers: map[int]jetstream.Consumer{}, opening: map[int]string{}, polled: map[int]string{}, reconnect: map[int]chan struct{}{},
	}
	w.auditor, w.linking = newAuditor(opt.Config.Index, opt.Metrics), vecstore.NewLinking(opt.Config.Index.LinkThreads)
	w.maps, w.filters, w.snapshots = vecstore.NewMaps(opt.Config.Index.MapBytes), filters, snapshots
	for id := range w.pool.workers {
		w.utilization = append(w.utilization, opt.Metrics.Utilization(id))
	}
	w.ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w.watchConnection() // before anything is asked of NATS, so that no loss of the connection goes unseen
	for _, n := range opt.Config.Shards {
		if err := w.hold(ctx, n, why); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	if placed {
		w.placer = newPlacer(w)
		if w.drains, err = w.serveDrain(); err != nil {
			return nil, errors.Join(err, w.Close())
		}
		w.placer.start()
	}
	w.done.Go(func() { w.heartbeats(w.ctx) })
	search := w.search
	w.done.Go(func() { w.auditor.run(w.ctx, search) })
	return w, nil
}

// storeOptions returns the options of a shard's store.
func (w *Worker) storeOptions() vecstore.Options {
	shards := len(w.Config.Shards)
	if shards == 0 {
		shards = w.Topology.Shards // all of them may be placed here
	}
	opt := w.Config.store(shards)
	opt.Linking, opt.Maps = w.linking, w.maps
	opt.OnLink = func(rows int, took time.Duration) { w.Metrics.HNSWInsert.Observe(took.Seconds() / float64(rows)) }
	return opt
}

// holds returns a shard, nil where it is not held.
func (w *Worker) holds(number int) *shard {
	for _, s := range w.held() {
		if s.number == number {
			return s
		}
	}
	return nil
}

// note notes why a shard is being opened, or that it is not any more.
func (w *Worker) note(number int, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if why == "" {
		delete(w.opening, number)
	} else {
		w.opening[number] = why
	}
}

func (w *Worker) held() []*shard {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return slices.Clone(w.shards)
}

// consuming notes the consumer of a shard for those who look at it from outside, nil while it has none.
func (w *Worker) consuming(shard int, c jetstream.Consumer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.consumers[shard] = c
	if c != nil && w.JetStreamMetrics != nil {
		w.polled[shard] = c.CachedInfo().Name
		w.JetStreamMetrics.AddConsumer(bus.LogStream(shard), w.polled[shard], c)
	}
}

func (w *Worker) consumerOf(shard int) jetstream.Consumer {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.consumers[shard]
}

// reconnected gets a token each time the connection was made anew.
func (w *Worker) reconnected(shard int) <-chan struct{} {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.reconnect[shard]
}

func (w *Worker) watchConnection() {
	w.status = w.Conn.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	w.done.Go(func() {
		for {
			select {
			case <-w.ctx.Done():
				return
			case st, ok := <-w.status:
				if !ok {
					return
				}
				w.connectionIs(st)
			}
		}
	})
}

func (w *Worker) connectionIs(st nats.Status) {
	if st != nats.CONNECTED {
		if w.lostAt.CompareAndSwap(0, time.Now().UnixNano()) {
			w.disconnected()
		}
		return
	}
	if w.lostAt.Swap(0) == 0 {
		return
	}
	// What was on its way when the connection broke is delivered again only after AckWait, so each consumer is set to
	// this worker's own position again.
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, c := range w.reconnect {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// disconnected has copies that others may have as well answer no reads, when the connection is back, before they are fresh again:
// gateways do not wait for a copy that they do not hear.
func (w *Worker) disconnected() {
	if !w.placed {
		return
	}
	for _, s := range w.held() {
		if s.answers() {
			s.suspect()
		}
	}
}

// Ready tells why a recall here would not be fresh, nil when it would.
func (w *Worker) Ready() error {
	if !w.Conn.IsConnected() {
		return errors.New("NATS is not connected")
	}
	if w.placer != nil {
		if err := w.placer.ready(); err != nil {
			return err
		}
	}
	for _, s := range w.held() {
		if w.consumerOf(s.number) == nil {
			return fmt.Errorf("shard %d does not follow its log yet", s.number)
		}
	}
	return nil
}

// Close gives up the shards that other workers can take, stops answering, stops following, takes a last checkpoint of each
// shard, and closes their files.
func (w *Worker) Close() error {
	var errs []error
	if w.placer != nil {
		w.placer.stop()
	}
	errs = append(errs, w.silence())
	if w.drains != nil {
		errs = append(errs, w.drains.Stop())
	}
	errs = append(errs, w.leave())
	w.cancel()
	w.done.Wait()
	for _, s := range w.held() {
		s.running.Wait()
	}
	w.pool.close()
	w.Conn.RemoveStatusListener(w.status)
	if w.JetStreamMetrics != nil {
		for shard, name := range w.polled {
			w.JetStreamMetrics.RemoveConsumer(bus.LogStream(shard), name)
		}
	}
	for _, s := range w.held() {
		errs = append(errs, s.close())
	}
	errs = append(errs, w.snapshots.close(), w.lock.Release())
	return errors.Join(errs...)
}

// silence ends the services of all shards at once: each may wait for requests that have come.
func (w *Worker) silence() error {
	held := w.held()
	errs := make([]error, len(held))
	var all sync.WaitGroup
	for i, s := range held {
		all.Go(func() { errs[i] = s.silence() })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Staleness is the largest staleness of the shards held.
func (w *Worker) Staleness(now time.Time) time.Duration {
	var most time.Duration
	for _, s := range w.held() {
		most = max(most, s.staleness(now))
	}
	return most
}

// Await returns once everything up to a sequence of each shard is searchable here, or with the context's error.
func (w *Worker) Await(ctx context.Context, sequences map[int]uint64) error {
	for _, s := range w.held() {
		if err := s.mark.await(ctx, sequences[s.number]); err != nil {
			return fmt.Errorf("waiting for sequence %d of shard %d: %w", sequences[s.number], s.number, err)
		}
	}
	return nil
}

// Applied is the sequence up to which everything of a shard is searchable here, 0 for a shard that is not held.
func (w *Worker) Applied(shard int) uint64 {
	for _, s := range w.held() {
		if s.number == shard {
			return s.mark.read().applied
		}
	}
	return 0
}

// DrainRate is how many observations a second were last made searchable while there was a backlog, of all shards held.
func (w *Worker) DrainRate() float64 {
	var sum float64
	for _, s := range w.held() {
		sum += math.Float64frombits(s.drainRate.Load())
	}
	return sum
}
