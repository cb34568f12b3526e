package metrics

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// minPoll is the shortest interval between two reads of the same info. Asking
// JetStream faster than this, from many processes, is known to hurt a cluster.
const minPoll = time.Second

// StreamInfoer is the part of [jetstream.Stream] that is polled.
type StreamInfoer interface {
	Info(ctx context.Context, opts ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error)
}

// ConsumerInfoer is the part of [jetstream.Consumer] that is polled.
type ConsumerInfoer interface {
	Info(ctx context.Context) (*jetstream.ConsumerInfo, error)
}

// JetStreamCollector reads the info of streams and of this process's consumers in
// a goroutine of its own, and a scrape sees the values of the last read: however
// often it is scraped, JetStream is asked at most once a second for each. When a
// read fails the last values stay, and engram_jetstream_poll_failures_total rises.
// It is safe for concurrent use.
type JetStreamCollector struct {
	interval time.Duration
	gauges   jetStreamGauges
	failures prometheus.Counter

	mu        sync.Mutex
	streams   map[string]StreamInfoer
	consumers map[consumerID]ConsumerInfoer
}

type consumerID struct{ stream, consumer string }

// NewJetStreamCollector registers the metrics, without values yet. interval is
// the pause between two rounds of reading, at least one second.
func NewJetStreamCollector(reg prometheus.Registerer, interval time.Duration) (*JetStreamCollector, error) {
	if interval < minPoll {
		return nil, fmt.Errorf("the interval for reading JetStream's state is %v; it must be at least %v", interval, minPoll)
	}
	c := &JetStreamCollector{
		interval: interval,
		gauges:   newJetStreamGauges(),
		failures: prometheus.NewCounter(counterOpts(namePollFailures,
			"Reads of stream or consumer info that failed; their gauges are those of the last one that did not.")),
		streams:   map[string]StreamInfoer{},
		consumers: map[consumerID]ConsumerInfoer{},
	}
	if err := register(reg, "JetStream collector", append(c.gauges.all(), c.failures)...); err != nil {
		return nil, err
	}
	return c, nil
}

// AddStream has the stream read from the next round on; a second call with its
// name replaces the first.
func (c *JetStreamCollector) AddStream(name string, s StreamInfoer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams[name] = s
}

// AddConsumer has a consumer of this process read from the next round on; a
// second call with its names replaces the first.
func (c *JetStreamCollector) AddConsumer(stream, consumer string, i ConsumerInfoer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.consumers[consumerID{stream, consumer}] = i
}

// RemoveStream ends the reading of the stream and removes its series.
func (c *JetStreamCollector) RemoveStream(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.streams, name)
	c.gauges.dropStream(name)
}

// RemoveConsumer ends the reading of the consumer and removes its series.
func (c *JetStreamCollector) RemoveConsumer(stream, consumer string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := consumerID{stream, consumer}
	delete(c.consumers, id)
	c.gauges.dropConsumer(id)
}

// Run reads until ctx is done, the first time at once, and then returns nil.
// There must be no two calls at a time.
func (c *JetStreamCollector) Run(ctx context.Context) error {
	for {
		c.poll(ctx)
		// A timer from the end of the round, not a ticker: after a round that took
		// long, a ticker would start the next one at once.
		pause := time.NewTimer(c.interval)
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
	}
}

// poll reads everything once, one request after another.
func (c *JetStreamCollector) poll(ctx context.Context) {
	streams, consumers := c.targets()
	for name, s := range streams {
		info, err := ask(ctx, c.interval, func(ctx context.Context) (*jetstream.StreamInfo, error) { return s.Info(ctx) })
		c.mu.Lock()
		switch {
		case c.streams[name] != s: // removed or replaced meanwhile
		case err != nil:
			c.failed(ctx)
		default:
			c.gauges.setStream(name, info)
		}
		c.mu.Unlock()
	}
	for id, i := range consumers {
		info, err := ask(ctx, c.interval, i.Info)
		c.mu.Lock()
		switch {
		case c.consumers[id] != i:
		case err != nil:
			c.failed(ctx)
		default:
			c.gauges.setConsumer(id, info)
		}
		c.mu.Unlock()
	}
}

// ask bounds one request, so that a server that does not answer holds up a round
// for no longer than timeout each.
func ask[T any](ctx context.Context, timeout time.Duration, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return request(ctx)
}

// failed counts a failure, unless it is only that Run was told to stop.
func (c *JetStreamCollector) failed(ctx context.Context) {
	if ctx.Err() == nil {
		c.failures.Inc()
	}
}

// targets copies what there is to read, so that no lock is held during requests.
func (c *JetStreamCollector) targets() (map[string]StreamInfoer, map[consumerID]ConsumerInfoer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.streams), maps.Clone(c.consumers)
}
