package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/node"
)

// TransportsConfig is a run that sends the same load through one transport after the other.
type TransportsConfig struct {
	// Observations is what one turn of one transport sends; Rounds is the number of turns of each.
	Observations, Rounds int
	Dim                  int
	// Batch is observations a request or frame, Window the requests or frames in flight of each of the Producers.
	Batch, Producers, Window int
	Data                     string
	Timeout                  time.Duration
}

// Validate tells what of the configuration cannot be.
func (c *TransportsConfig) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	// A turn stays below where backpressure would begin, so that transports are compared, not the worker.
	check(c.Observations > 0 && c.Observations <= mostOfTurn, "--observations is %d; it can be 1 to %d", c.Observations, mostOfTurn)
	check(c.Rounds > 0, "--rounds must be above 0")
	check(c.Dim > 0 && c.Dim <= event.MaxDimension, "--dim is %d; it can be 1 to %d", c.Dim, event.MaxDimension)
	check(c.Batch > 0 && c.Batch <= event.MaxBatch, "--batch is %d; it can be 1 to %d", c.Batch, event.MaxBatch)
	check(c.Producers > 0 && c.Window > 0, "--producers and --window must be above 0")
	check(c.Timeout > 0, "--timeout is %v; it must be above 0", c.Timeout)
	return errors.Join(errs...)
}

const mostOfTurn = 7500

// TransportsReport is what such a run measured: observations a second until the last acknowledgement, the median of the
// turns, and the ratio of each to NATS.
type TransportsReport struct {
	Observations int                        `json:"observations"`
	Rounds       int                        `json:"rounds"`
	Dim          int                        `json:"dim"`
	Batch        int                        `json:"batch"`
	Producers    int                        `json:"producers"`
	Window       int                        `json:"window"`
	Transports   map[string]TransportResult `json:"transports"`
}

// TransportResult is what one transport did.
type TransportResult struct {
	PerSecond   float64   `json:"accepted_per_second"`
	RatioToNATS float64   `json:"ratio_to_nats"`
	Turns       []float64 `json:"turns"`
}

// transport sends the frames of one producer to a space, and returns when all are acknowledged, with the highest position.
type transport func(ctx context.Context, space string, batches [][]*api.Observation, window int) (event.Position, error)

// Transports runs it.
func Transports(ctx context.Context, cfg TransportsConfig, log zerolog.Logger, phase func(string)) (rep TransportsReport, err error) {
	if err := cfg.Validate(); err != nil {
		return rep, err
	}
	dir, remove, err := daemon.TempDir(ctx, cfg.Data, "engram-bench-")
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	nc := node.DefaultConfig(dir)
	nc.NATS, nc.HTTP, nc.Metrics = "127.0.0.1:0", "127.0.0.1:0", ""
	phase("starting a node")
	n, err := node.Start(ctx, nc, log)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	ways := map[string]transport{
		"nats": overNATS(n.NATSURL()), "grpc": overGRPC(n.HTTPAddr()),
		"websocket": overWebSocket(n.HTTPAddr(), false), "websocket_json": overWebSocket(n.HTTPAddr(), true),
	}
	names := []string{"nats", "grpc", "websocket", "websocket_json"}
	src, err := openSource(&Config{Dim: cfg.Dim, Observations: cfg.Observations, Spaces: 1, Seed: 1, Load: "steady"})
	if err != nil {
		return rep, err
	}
	turns := map[string][]float64{}
	for round := range cfg.Rounds + 1 { // the first one warms up
		for i := range names {
			name := names[(i+round)%len(names)]
			phase(fmt.Sprintf("round %d of %d: %s", round, cfg.Rounds, name))
			rate, err := turn(ctx, cfg, n, src, ways[name], fmt.Sprintf("bench-%s-%d", strings.ReplaceAll(name, "_", "-"), round))
			if err != nil {
				return rep, fmt.Errorf("sending through %s: %w", name, err)
			}
			if round > 0 {
				turns[name] = append(turns[name], rate)
			}
		}
	}
	rep = TransportsReport{cfg.Observations, cfg.Rounds, cfg.Dim, cfg.Batch, cfg.Producers, cfg.Window, map[string]TransportResult{}}
	for _, name := range names {
		rep.Transports[name] = TransportResult{PerSecond: median(turns[name]), RatioToNATS: median(turns[name]) / median(turns["nats"]), Turns: turns[name]}
	}
	return rep, nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// turn sends the load once and waits until it is searchable, so that the next turn finds an idle node.
func turn(ctx context.Context, cfg TransportsConfig, n *node.Node, src *source, send transport, space string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	load := make([][][]*api.Observation, cfg.Producers)
	for i := 0; i < cfg.Observations; i += cfg.Batch {
		var batch []*api.Observation
		for j := i; j < min(i+cfg.Batch, cfg.Observations); j++ {
			o, err := src.observation(j)
			if err != nil {
				return 0, err
			}
			batch = append(batch, o)
		}
		p := i / cfg.Batch % cfg.Producers
		load[p] = append(load[p], batch)
	}
	var all sync.WaitGroup
	errs := make([]error, cfg.Producers)
	last := make([]event.Position, cfg.Producers)
	start := time.Now()
	for p := range cfg.Producers {
		all.Go(func() { last[p], errs[p] = send(ctx, space, load[p], cfg.Window) })
	}
	all.Wait()
	took := time.Since(start)
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	wait := map[int]uint64{}
	for _, at := range last {
		wait[at.Shard] = max(wait[at.Shard], at.Sequence)
	}
	if err := n.Await(ctx, wait); err != nil {
		return 0, fmt.Errorf("waiting until all is searchable: %w", err)
	}
	return float64(cfg.Observations) / took.Seconds(), nil
}

func overNATS(url string) transport {
	return func(ctx context.Context, space string, batches [][]*api.Observation, window int) (event.Position, error) {
		conn, err := nats.Connect(url, nats.Name("engram-bench"))
		if err != nil {
			return event.Position{}, fmt.Errorf("connecting to the node: %w", err)
		}
		defer conn.Close()
		c := client.New(conn)
		places := make(chan struct{}, window)
		var all sync.WaitGroup
		var mu sync.Mutex
		var last event.Position
		var failed error
		for _, batch := range batches {
			places <- struct{}{}
			all.Go(func() {
				defer func() { <-places }()
				resp, err := c.ObserveRetrying(ctx, space, &api.ObserveRequest{Observations: batch}, nil)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					last, err = highest(last, resp.GetResults())
				}
				failed = errors.Join(failed, err)
			})
		}
		all.Wait()
		return last, failed
	}
}

func highest(last event.Position, results []*api.ObserveResult) (event.Position, error) {
	for _, r := range results {
		at, err := event.ParsePosition(r.GetPosition())
		if err != nil {
			return last, fmt.Errorf("an observation was not taken: %v: %w", r.GetError(), err)
		}
		if at.Sequence > last.Sequence {
			last = at
		}
	}
	return last, nil
}
