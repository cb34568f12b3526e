package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// loader sends the observations of a run and remembers the highest sequence of each shard.
type loader struct {
	cfg      *Config
	src      *source
	rejected atomic.Uint64

	// acked is told the highest sequence of each request's observations when it is acknowledged.
	acked func(shard int, sequence uint64)

	mu   sync.Mutex
	last map[int]uint64
}

// requests cuts the observations into the requests of one producer: by space, in order.
func (l *loader) requests(producer int, emit func(space int, rows []int) error) error {
	pending := make([][]int, l.cfg.Spaces)
	for i := range l.cfg.Observations {
		if i/l.cfg.Batch%l.cfg.Producers != producer {
			continue
		}
		sp := l.src.space(i)
		pending[sp] = append(pending[sp], i)
		if len(pending[sp]) == l.cfg.Batch {
			if err := emit(sp, pending[sp]); err != nil {
				return err
			}
			pending[sp] = nil
		}
	}
	for sp, rows := range pending {
		if len(rows) > 0 {
			if err := emit(sp, rows); err != nil {
				return err
			}
		}
	}
	return nil
}

// produce sends one producer's share with up to Window requests in flight.
func (l *loader) produce(ctx context.Context, c *client.Client, producer int, pace *pacer) error {
	window := make(chan struct{}, l.cfg.Window)
	var inFlight sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := l.requests(producer, func(space int, rows []int) error {
		req := &api.ObserveRequest{Observations: make([]*api.Observation, len(rows))}
		for j, i := range rows {
			o, err := l.src.observation(i)
			if err != nil {
				return err
			}
			req.Observations[j] = o
		}
		if err := pace.wait(ctx, len(rows)); err != nil {
			return context.Cause(ctx)
		}
		select {
		case window <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		inFlight.Go(func() {
			defer func() { <-window }()
			if err := l.send(ctx, c, space, req); err != nil {
				cancel(err)
			}
		})
		return nil
	})
	inFlight.Wait()
	return errors.Join(err, context.Cause(ctx))
}

func (l *loader) send(ctx context.Context, c *client.Client, space int, req *api.ObserveRequest) error {
	resp, err := c.ObserveRetrying(ctx, spaceName(space), req, func(e *wire.Error) {
		if e.Code == wire.CodeBackpressure {
			l.rejected.Add(uint64(len(req.GetObservations())))
		}
	})
	if err != nil {
		return fmt.Errorf("observing in space %s: %w", spaceName(space), err)
	}
	var p event.Position
	for _, r := range resp.GetResults() {
		if r.GetError() != nil {
			return fmt.Errorf("observing %s in space %s: %w", r.GetId(), spaceName(space), wire.FromProto(r.GetError()))
		}
		each, err := event.ParsePosition(r.GetPosition())
		if err != nil {
			return err
		}
		if each.Sequence > p.Sequence {
			p = each
		}
	}
	l.acked(p.Shard, p.Sequence)
	l.mu.Lock()
	l.last[p.Shard] = max(l.last[p.Shard], p.Sequence)
	l.mu.Unlock()
	return nil
}

// pacer hands out a load's rate to all producers.
type pacer struct {
	rate  float64
	shape string
	total float64
	start time.Time

	mu   sync.Mutex
	sent float64
}

// due returns when the n-th observation is due after the start.
func (p *pacer) due(n float64) time.Duration {
	seconds := n / p.rate
	switch p.shape {
	case "ramp":
		// From a fifth of the rate to all of it, in a line: n = rate·(0.2·t + 0.4·t²/T), with T such that all are sent.
		whole := p.total / (0.6 * p.rate)
		a, b := 0.4/whole, 0.2
		seconds = (-b + math.Sqrt(b*b+4*a*n/p.rate)) / (2 * a)
	case "burst":
		// One second at three times the rate, two seconds of nothing.
		full := n / (3 * p.rate)
		cycles := float64(int(full))
		seconds = 3*cycles + (full - cycles)
	}
	return time.Duration(seconds * float64(time.Second))
}

func (p *pacer) wait(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return ctx.Err()
	}
	p.mu.Lock()
	due := p.start.Add(p.due(p.sent))
	p.sent += float64(n)
	p.mu.Unlock()
	t := time.NewTimer(time.Until(due))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
