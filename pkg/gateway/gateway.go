package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/embed"
	"github.com/engram-memory/engram/pkg/filter"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/registry"
)

// Options are what a gateway works with. All are required.
type Options struct {
	Config    Config
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	Topology  bus.Topology
	Registry  *registry.Registry
	Embedders *embed.Set
	Metrics   *metrics.Gateway
	Logger    zerolog.Logger
}

// Gateway is the core that all transports call. Its methods may be called concurrently.
type Gateway struct {
	Options

	shards   []*shardState
	writers  []*writer
	defining singleflight.Group
	// memory bounds what is in flight to the log, bodies what is read of requests before that.
	memory, bodies *budget
	filters        *filter.Compiler
	// slow bounds the requests that wait for a definition or an embedder.
	slow chan struct{}

	progress  progress
	pressures *pressures
	quotas    *quotas
	work      sync.WaitGroup // goroutines of requests
	ctx       context.Context
	cancel    context.CancelFunc

	background sync.WaitGroup // what runs until cancel
}

// maxSlow is how many requests may wait at once for a definition or an embedder.
const maxSlow = 1024

// New starts a gateway's core; Close ends it.
func New(ctx context.Context, opt Options) (*Gateway, error) {
	if err := opt.Config.Validate(); err != nil {
		return nil, fmt.Errorf("configuration of the gateway: %w", err)
	}
	if name := opt.Config.Space.Embedder; name != noEmbedder {
		if _, err := opt.Embedders.Lookup(name); err != nil {
			return nil, fmt.Errorf("configuration of the gateway: space.embedder: %w; http:<model> needs ENGRAM_EMBED_URL and ENGRAM_EMBED_MODEL", err)
		}
	}
	filters, err := filter.NewCompiler()
	if err != nil {
		return nil, err
	}
	g := &Gateway{Options: opt, filters: filters, slow: make(chan struct{}, maxSlow)}
	g.ctx, g.cancel = context.WithCancel(context.WithoutCancel(ctx))
	g.memory = &budget{limit: int64(opt.Config.Admission.MaxMemory), gauge: opt.Metrics.QueueMemory}
	g.bodies = &budget{limit: int64(opt.Config.Admission.MaxMemory), gauge: opt.Metrics.QueueMemory}
	for n := range opt.Topology.Shards {
		g.shards = append(g.shards, newShardState(opt.Config.Admission, opt.Metrics.Shard(n), g.memory))
	}
	if err := g.startProgress(ctx); err != nil {
		g.cancel()
		return nil, err
	}
	g.pressures, g.quotas = newPressures(), newQuotas()
	g.background.Go(g.broadcast)
	g.background.Go(g.countStored)
	for _, s := range g.shards {
		g.writers = append(g.writers, newWriter(opt.JetStream, opt.Config.Batch, s))
	}
	return g, nil
}

// Ready tells why the gateway cannot take observations, nil when it can.
func (g *Gateway) Ready() error {
	if !g.Conn.IsConnected() {
		return errors.New("NATS is not connected")
	}
	for n, s := range g.shards {
		if err := s.failure(); err != nil {
			return fmt.Errorf("the log of shard %d took no write of the last %v or longer: %w; a NATS server whose disk was full takes none until it has room and is restarted",
				n, failingFor, err)
		}
	}
	return nil
}

// failingFor is for how long every write to a shard must have failed before the gateway says that it is not ready.
const failingFor = 5 * time.Second

// Close answers what was taken and stops. The transports are stopped before.
func (g *Gateway) Close() error {
	g.work.Wait() // requests that still wait for a definition or an embedder: bounded by their deadlines
	for _, w := range g.writers {
		w.close()
	}
	err := g.stopProgress()
	g.cancel()
	g.work.Wait() // those that wait for searchable
	g.background.Wait()
	return err
}

// deadline returns when a request must be answered: its own wish within the gateway's limit.
func (g *Gateway) deadline(now time.Time, wish uint32) time.Time {
	d := g.Config.Deadline
	if own := time.Duration(wish) * time.Millisecond; own > 0 && own < d {
		d = own
	}
	return now.Add(d)
}
