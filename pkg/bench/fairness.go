package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/node"
	"github.com/engram-memory/engram/pkg/wire"
)

// FairnessConfig is a run of Fairness.
type FairnessConfig struct {
	Dim int
	// Duration is that of each part.
	Duration time.Duration
	// Rate is observations a second of the quiet space, each a request.
	Rate float64
	// Batch is observations a request of the flood, Window its requests under way.
	Batch, Window int
	Data          string
	Seed          uint64
}

// Validate tells what of the configuration cannot be.
func (c *FairnessConfig) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Dim > 0 && c.Dim <= event.MaxDimension, "--dim is %d; it can be 1 to %d", c.Dim, event.MaxDimension)
	check(c.Duration >= time.Second, "--duration is %v; it must be at least 1s", c.Duration)
	check(c.Rate > 0, "--rate is %v; it must be above 0", c.Rate)
	check(c.Batch > 0 && c.Batch <= event.MaxBatch && c.Window > 0, "--batch is %d and --window %d; they must be above 0, and a batch has up to %d", c.Batch, c.Window, event.MaxBatch)
	return errors.Join(errs...)
}

// FairnessReport is what Fairness measured. Alone the quiet space has a shard for itself; then another space floods it with
// normal observations, and then with high ones.
type FairnessReport struct {
	Alone     QuietReport `json:"alone"`
	Flooded   QuietReport `json:"beside_a_flood"`
	HighFlood QuietReport `json:"beside_a_high_flood"`
	// Ratio is the p99 of being searchable beside a flood over that alone.
	Ratio      float64 `json:"searchable_p99_ratio"`
	Rate       float64 `json:"rate"`
	Dim        int     `json:"dim"`
	GOMAXPROCS int     `json:"gomaxprocs"`
}

// QuietReport is what became of the quiet space's observations, and of the flood's.
type QuietReport struct {
	Sent    int `json:"sent"`
	Refused int `json:"refused"`
	Failed  int `json:"failed"`
	// Accepted and Searchable are from sending to each; every other observation waits to be searchable.
	Accepted      Percentiles `json:"accepted_ms"`
	Searchable    Percentiles `json:"searchable_ms"`
	FloodAccepted float64     `json:"flood_accepted_per_second"`
	FloodRefused  uint64      `json:"flood_refused"`
}

// Fairness measures what one space that floods its shard does to a quiet one beside it.
func Fairness(ctx context.Context, cfg FairnessConfig, log zerolog.Logger, progress func(string)) (rep FairnessReport, err error) {
	if err := cfg.Validate(); err != nil {
		return rep, err
	}
	rep = FairnessReport{Rate: cfg.Rate, Dim: cfg.Dim, GOMAXPROCS: runtime.GOMAXPROCS(0)}
	dir, remove, err := daemon.TempDir(ctx, cfg.Data, "engram-bench-")
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	nc := node.DefaultConfig(dir)
	nc.NATS, nc.HTTP, nc.Metrics = "", "", ""
	nc.Topology.Shards = 1
	n, err := node.Start(ctx, nc, log)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	f := &fairness{cfg: &cfg, node: n, vectors: randomEmbeddings(rand.New(rand.NewPCG(cfg.Seed, 13)), cfg.Dim)}
	for _, part := range []struct {
		name     string
		priority api.Priority
		rep      *QuietReport
	}{
		{"the quiet space alone", api.Priority_PRIORITY_UNSPECIFIED, &rep.Alone},
		{"beside a flood", api.Priority_PRIORITY_NORMAL, &rep.Flooded},
		{"beside a flood of high priority", api.Priority_PRIORITY_HIGH, &rep.HighFlood},
	} {
		progress(part.name)
		if err := f.part(ctx, part.priority, part.rep); err != nil {
			return rep, err
		}
	}
	if rep.Alone.Searchable.P99 > 0 {
		rep.Ratio = rep.Flooded.Searchable.P99 / rep.Alone.Searchable.P99
	}
	return rep, nil
}

type fairness struct {
	cfg     *FairnessConfig
	node    *node.Node
	vectors []*api.Embedding
	next    atomic.Uint64
}

func (f *fairness) observation(p api.Priority) *api.Observation {
	i := f.next.Add(1)
	return &api.Observation{Id: fmt.Sprint(i), Embedding: f.vectors[i%uint64(len(f.vectors))], Priority: p}
}

// part floods with a priority, or not at all, and sends the quiet space's observations once the flood is refused.
func (f *fairness) part(ctx context.Context, flood api.Priority, rep *QuietReport) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	conn, err := f.node.Connect("quiet")
	if err != nil {
		return err
	}
	defer conn.Close()
	quiet := client.New(conn.NC)
	var all sync.WaitGroup
	if flood != api.Priority_PRIORITY_UNSPECIFIED {
		own, err := f.node.Connect("flood")
		if err != nil {
			return err
		}
		defer own.Close()
		full := make(chan struct{})
		var once sync.Once
		var accepted, refused atomic.Uint64
		for range f.cfg.Window {
			all.Go(func() {
				f.flood(ctx, client.New(own.NC), flood, &accepted, &refused, func() { once.Do(func() { close(full) }) })
			})
		}
		defer all.Wait()
		defer stop()
		select {
		case <-full:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(f.cfg.Duration + 30*time.Second):
			return errors.New("the flood was never refused; give it a larger --window or --batch")
		}
		start, before, ignored := time.Now(), accepted.Load(), refused.Load()
		defer func() {
			rep.FloodAccepted = float64(accepted.Load()-before) / time.Since(start).Seconds()
			rep.FloodRefused = refused.Load() - ignored
		}()
	}
	return f.quiet(ctx, quiet, rep)
}

// floodPause is after how long the flood tries again. With what it offers then, about as much is refused as a shard sustains
// several times; more would show how many bytes a processor can move.
const floodPause = 250 * time.Millisecond

// flood sends requests one after the other, whatever becomes of them. A refusal is followed by a short pause, not by the one
// that it asks for.
func (f *fairness) flood(ctx context.Context, c *client.Client, p api.Priority, accepted, refused *atomic.Uint64, full func()) {
	for ctx.Err() == nil {
		req := new(api.ObserveRequest)
		for range f.cfg.Batch {
			req.Observations = append(req.Observations, f.observation(p))
		}
		_, err := c.Observe(ctx, "flood", req)
		switch {
		case err == nil:
			accepted.Add(uint64(f.cfg.Batch))
		case wire.AsError(err).Code == wire.CodeBackpressure:
			refused.Add(uint64(f.cfg.Batch))
			full()
			select {
			case <-ctx.Done():
			case <-time.After(floodPause):
			}
		}
	}
}

func (f *fairness) quiet(ctx context.Context, c *client.Client, rep *QuietReport) error {
	var mu sync.Mutex
	var all sync.WaitGroup
	var accepted, searchable []float64
	tick := time.NewTicker(time.Duration(float64(time.Second) / f.cfg.Rate))
	defer tick.Stop()
	for start := time.Now(); time.Since(start) < f.cfg.Duration; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			all.Wait()
			return context.Cause(ctx)
		}
		wait := rep.Sent%2 == 1
		rep.Sent++
		all.Go(func() {
			req := &api.ObserveRequest{Observations: []*api.Observation{f.observation(api.Priority_PRIORITY_NORMAL)}}
			if wait {
				req.Acknowledgement = api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE
			}
			sent := time.Now()
			resp, err := c.Observe(ctx, "quiet", req)
			took := float64(time.Since(sent)) / 1e6
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil && wire.AsError(err).Code == wire.CodeBackpressure:
				rep.Refused++
			case err != nil || resp.GetResults()[0].GetError() != nil:
				rep.Failed++
			case wait:
				searchable = append(searchable, took)
			default:
				accepted = append(accepted, took)
			}
		})
	}
	all.Wait()
	rep.Accepted, rep.Searchable = percentilesOf(accepted), percentilesOf(searchable)
	return nil
}
