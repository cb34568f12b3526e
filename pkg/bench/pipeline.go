package bench

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/node"
)

// Pipeline runs the node's parts over an embedded JetStream, loads it, and measures. Progress, if it is set, is called
// now and then with a sentence about the phase.
func Pipeline(ctx context.Context, cfg Config, log zerolog.Logger, progress func(string)) (rep Report, err error) {
	if err := cfg.Validate(); err != nil {
		return rep, err
	}
	src, err := openSource(&cfg)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, src.close()) }()
	q, err := openQueries(&cfg, src)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, q.close()) }()
	rep = Report{
		Observations: cfg.Observations, Spaces: cfg.Spaces, Dim: src.dim, Load: cfg.Load, Profile: cfg.Profile, Rate: cfg.Rate,
		RecallRate: cfg.RecallRate, Batch: cfg.Batch, Producers: cfg.Producers, Window: cfg.Window, Shards: cfg.Shards,
		GOMAXPROCS: runtime.GOMAXPROCS(0),
	}
	if err := pipeline(ctx, &cfg, src, q, &rep, log, progress); err != nil {
		return rep, err
	}
	if !cfg.Raw {
		return rep, nil
	}
	progress("measuring raw JetStream")
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	if rep.RawPerSecond, err = raw(ctx, &cfg, src); err != nil {
		return rep, err
	}
	if cfg.Rate == 0 { // a paced run says nothing of what could be done
		ratio := rep.SearchablePerSecond / rep.RawPerSecond
		rep.RatioToRaw = &ratio
	}
	return rep, nil
}

func pipeline(ctx context.Context, cfg *Config, src *source, q *queries, rep *Report, log zerolog.Logger, progress func(string)) (err error) {
	dir, remove, err := daemon.TempDir(ctx, cfg.Data, "engram-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	nc := node.DefaultConfig(dir)
	nc.NATS, nc.HTTP, nc.Metrics = "", "", ""
	nc.Worker.Profile = cfg.Profile
	nc.Topology.Shards = cfg.Shards
	n, err := node.Start(ctx, nc, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	r := &run{cfg: cfg, src: src, q: q, rep: rep, node: n, progress: progress}
	return r.measure(ctx)
}

// run is one pipeline run against a node.
type run struct {
	cfg      *Config
	src      *source
	q        *queries
	rep      *Report
	node     *node.Node
	progress func(string)
}

func (r *run) measure(ctx context.Context) error {
	conn, err := r.node.Connect("bench")
	if err != nil {
		return err
	}
	defer conn.Close()
	c := client.New(conn.NC)
	load, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()

	r.progress("loading")
	l := &loader{cfg: r.cfg, src: r.src, last: map[int]uint64{}}
	rec := &recaller{}
	fresh := newStaleness(r.node)
	l.acked = fresh.acked
	background, stop := context.WithCancel(load)
	var beside sync.WaitGroup
	var recallErr error
	beside.Go(func() { recallErr = rec.run(background, c, r.q, r.cfg) })
	beside.Go(func() { fresh.run(background) })
	cpu := cpuSeconds()
	start := time.Now()
	err = r.produce(load, l, start)
	accepted := time.Since(start)
	if err == nil {
		err = r.node.Await(load, l.last)
	}
	searchable := time.Since(start)
	r.rep.CPUSeconds = cpuSeconds() - cpu
	stop()
	beside.Wait()
	if err = errors.Join(err, recallErr); err != nil {
		return err
	}
	n := float64(r.cfg.Observations)
	r.rep.AcceptedPerSecond, r.rep.SearchablePerSecond = n/accepted.Seconds(), n/searchable.Seconds()
	r.rep.SecondsUntilDrained = (searchable - accepted).Seconds()
	if rate := r.node.DrainRate(); rate > 0 {
		r.rep.StalenessBound = float64(r.node.Capacity()*len(l.last)) / rate * 1000
	}
	r.rep.Rejected = l.rejected.Load()
	r.rep.Staleness = percentilesOf(fresh.ms)
	s := sorted(rec.ms)
	r.rep.Recall = RecallPercentiles{quantile(s, .5), quantile(s, .99)}
	r.rep.Recalls, r.rep.RecallErrors = len(rec.ms), rec.errors

	verify, cancelVerify := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancelVerify()
	return r.verify(verify, c)
}

// verify asks the index what it has.
func (r *run) verify(ctx context.Context, c *client.Client) (err error) {
	r.rep.RSSMax = peakRSS()
	spaces, err := c.Spaces(ctx, "")
	if err != nil {
		return err
	}
	for _, s := range spaces.GetSpaces() {
		r.rep.RowsInTail += s.GetRowsInTail()
		r.rep.RowsInGraph += s.GetRowsInGraph()
	}
	r.progress("asking the index for every observation")
	if r.rep.Lost, r.rep.Duplicated, err = count(ctx, c, r.cfg, r.src); err != nil {
		return err
	}
	r.progress("comparing recalls with an exact scan")
	r.rep.RecallAt10, err = recallAt10(ctx, c, r.cfg, r.src, r.q)
	return err
}

// produce runs the producers, each with a connection of its own.
func (r *run) produce(ctx context.Context, l *loader, start time.Time) error {
	pace := &pacer{rate: r.cfg.Rate, shape: r.cfg.Load, total: float64(r.cfg.Observations), start: start}
	errs := make([]error, r.cfg.Producers)
	var all sync.WaitGroup
	for p := range r.cfg.Producers {
		conn, err := r.node.Connect("producer")
		if err != nil {
			errs[p] = err
			break
		}
		all.Go(func() {
			defer conn.Close()
			errs[p] = l.produce(ctx, client.New(conn.NC), p, pace)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
