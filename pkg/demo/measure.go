package demo

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/engram-memory/engram/pkg/client"
)

// demonstration loads a source and measures meanwhile.
type demonstration struct {
	src      *source
	loader   *loader
	reader   *client.Client
	nc       *nats.Conn // the reader's
	progress progress
}

// load publishes everything and waits until it is searchable. Heartbeats are listened to, recalls asked and progress
// shown from before the first request until the last observation is searchable; all of that has ended on return.
func (d *demonstration) load(ctx context.Context) (*Result, error) {
	heartbeats, err := watch(d.nc)
	if err != nil {
		return nil, err
	}
	recalls := &recaller{client: d.reader, topics: &d.loader.topics}
	// A recall that fails ends the load.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() {
		if err := recalls.run(ctx, stop); err != nil {
			cancel(err)
		}
	})
	beside.Go(func() { d.progress.run(stop, func() state { return d.state(heartbeats) }) })

	done, err := d.publish(ctx)
	close(stop)
	beside.Wait()
	if stopped := heartbeats.stop(); err == nil {
		err = stopped
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	accepted := int(d.loader.accepted.Load())
	seconds := done.at.Sub(*d.loader.began.Load()).Seconds()
	return &Result{
		Source: d.src.name, Spaces: len(d.loader.topics.names()), Observations: accepted, Searchable: done.searchable,
		Seconds: round(seconds), ObservationsPerSecond: round(float64(accepted) / max(seconds, 1e-6)),
		StalenessP99MS: heartbeats.staleness.percentile(0.99), Heartbeats: heartbeats.staleness.len(),
		RecallP99MS: recalls.latency.percentile(0.99), Recalls: recalls.latency.len(),
	}, nil
}

func (d *demonstration) publish(ctx context.Context) (settled, error) {
	if err := d.loader.load(ctx, d.src); err != nil {
		return settled{}, err
	}
	return settle(ctx, int(d.loader.accepted.Load()), settleTimeout, counter(d.reader))
}

// counter asks a node how many observations its spaces hold.
func counter(c *client.Client) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		resp, err := c.Spaces(ctx, "")
		count := 0
		for _, s := range resp.GetSpaces() {
			count += int(s.GetObservations())
		}
		return count, err
	}
}

// state is what the progress shows.
func (d *demonstration) state(h *heartbeats) state {
	l := d.loader
	s := state{read: l.read.Load(), whole: l.whole.Load(), accepted: l.accepted.Load(), staleness: h.last()}
	if began := l.began.Load(); began != nil {
		s.rate = float64(s.accepted) / time.Since(*began).Seconds()
	}
	return s
}
