package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// MixedConfig of a run of recalls beside inserts.
type MixedConfig struct {
	// Base is a file of rows to insert, .npy or IDX, and Queries of rows to look for; empty for generated ones of Dim
	// components.
	Base, Queries string
	Dim           int
	// Before is how many rows are there, all linked, when the measuring starts, Rows how many are inserted meanwhile, as
	// fast as they are taken.
	Before, Rows int
	// Threads is how many threads may run Go code at once, LinkThreads how many of them link rows.
	Threads, LinkThreads int
	// Rate is how many queries a second are asked, each timed from when it was due; 0 for one after the other.
	Rate float64
	// Ef is the length of the candidate list; 0 for that of the balanced effort.
	Ef int
	// Checkpoint is the time between two checkpoints, 0 for none.
	Checkpoint time.Duration
	Metric     vecstore.Metric
	Data       string
}

// Validate tells what of the configuration cannot be.
func (c *MixedConfig) Validate() error {
	switch {
	case c.Before < 1 || c.Rows < 1 || c.Before+c.Rows > math.MaxInt32:
		return fmt.Errorf("--before is %d and --rows %d; they must be above 0, and together at most %d", c.Before, c.Rows, math.MaxInt32)
	case c.Base == "" && (c.Dim < 1 || c.Dim > maxDim):
		return fmt.Errorf("--dim is %d; it can be 1 to %d", c.Dim, maxDim)
	case c.Queries != "" && c.Base == "":
		return errors.New("--queries needs a --base")
	case c.Threads < 1 || c.LinkThreads < 1:
		return fmt.Errorf("--threads is %d and --link-threads %d; they must be above 0", c.Threads, c.LinkThreads)
	case c.Rate < 0 || c.Rate > 1e6 || c.Ef < 0 || c.Checkpoint < 0:
		return errors.New("--rate can be 0 to a million; --ef and --checkpoint cannot be negative")
	}
	return nil
}

// MixedReport is what a run of recalls beside inserts measured.
type MixedReport struct {
	Dim     int `json:"dim"`
	Before  int `json:"before"`
	Rows    int `json:"rows"`
	Threads int `json:"threads"`
	// LinkThreads of them link rows.
	LinkThreads int     `json:"link_threads"`
	Rate        float64 `json:"rate"`
	// InsertsPerSecond is that of the rows inserted beside the queries, until all are linked.
	InsertsPerSecond float64 `json:"inserts_per_second"`
	// QueriesPerSecond is of the queries beside them, Queries their number.
	QueriesPerSecond float64 `json:"queries_per_second"`
	Queries          int     `json:"queries"`
	// Recall is how long they took, Alone how long such queries took before, with nothing beside them.
	Recall Latency `json:"recall_ms"`
	Alone  Latency `json:"alone_ms"`
	// LongestTail is the largest number of rows that were waiting to be linked when a query was asked.
	LongestTail int     `json:"longest_tail"`
	CPUSeconds  float64 `json:"cpu_seconds"`
	WallSeconds float64 `json:"wall_seconds"`
	RSS         uint64  `json:"rss_bytes"`
}

// Latency is of milliseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

func latencyOf(ms []float64) Latency {
	ms = sorted(ms)
	return Latency{quantile(ms, .5), quantile(ms, .99), quantile(ms, .999), quantile(ms, 1)}
}

// mixedRun is one run.
type mixedRun struct {
	cfg     MixedConfig
	shard   *vecstore.Shard
	src     *rowSource
	queries [][]float32
	rep     MixedReport
}

// Mixed asks queries while rows are inserted at full speed.
func Mixed(ctx context.Context, cfg MixedConfig, progress func(string)) (rep MixedReport, err error) {
	if err := cfg.Validate(); err != nil {
		return rep, err
	}
	dir, remove, err := daemon.TempDir(ctx, cfg.Data, "engram-bench-mixed-")
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	in, err := openRows(cfg.Base, cfg.Queries, dir, cfg.Dim, cfg.Before+cfg.Rows)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cfg.Threads))
	r := &mixedRun{cfg: cfg, src: in.src, queries: in.queries}
	r.shard, _, err = vecstore.Open(dir, benchSource(0), vecstore.Options{LinkThreads: cfg.LinkThreads})
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, r.shard.Abandon()) }()
	r.rep = MixedReport{
		Dim: in.src.dim, Before: cfg.Before, Rows: cfg.Rows, Threads: cfg.Threads, LinkThreads: cfg.LinkThreads, Rate: cfg.Rate,
	}
	if err := r.run(ctx, progress); err != nil {
		return rep, err
	}
	return r.rep, nil
}

func (r *mixedRun) run(ctx context.Context, progress func(string)) error {
	progress("inserting what is there before")
	f := newFiller(r.shard, r.src)
	err := f.define(vecstore.Definition{Name: indexSpace, Dimension: uint32(r.src.dim), Metric: r.cfg.Metric, Generation: 1})
	if err == nil {
		err = f.fill(ctx, 0, r.cfg.Before)
	}
	if err == nil {
		err = r.shard.Link(ctx, indexSpace)
	}
	if err != nil {
		return err
	}
	progress("asking alone")
	alone := &asker{run: r}
	if err := alone.until(ctx, aloneQueries); err != nil {
		return err
	}
	r.rep.Alone = latencyOf(alone.ms)
	progress("asking while rows are inserted")
	return r.beside(ctx, f)
}

// beside asks until the inserts are done.
func (r *mixedRun) beside(ctx context.Context, f *filler) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	a := &asker{run: r}
	var askErr, checkErr error
	var others sync.WaitGroup
	cpu, start := cpuSeconds(), time.Now()
	others.Go(func() { askErr = a.until(ctx, math.MaxInt) })
	others.Go(func() { checkErr = checkpoints(ctx, r.shard, r.cfg.Checkpoint) })
	err := f.fill(ctx, r.cfg.Before, r.cfg.Before+r.cfg.Rows)
	if err == nil {
		err = r.shard.Link(ctx, indexSpace)
	}
	wall := time.Since(start)
	stop()
	others.Wait()
	if err := errors.Join(err, askErr, checkErr); err != nil {
		return err
	}
	r.rep.CPUSeconds, r.rep.WallSeconds = cpuSeconds()-cpu, wall.Seconds()
	r.rep.InsertsPerSecond = float64(r.cfg.Rows) / wall.Seconds()
	r.rep.Queries, r.rep.QueriesPerSecond = len(a.ms), float64(len(a.ms))/wall.Seconds()
	r.rep.Recall, r.rep.LongestTail, r.rep.RSS = latencyOf(a.ms), a.longest, peakRSS()
	return nil
}

// checkpoints takes one every so often, as a worker does, until ctx ends.
func checkpoints(ctx context.Context, shard *vecstore.Shard, every time.Duration) error {
	if every == 0 {
		return nil
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if err := shard.Checkpoint(now); err != nil {
				return err
			}
		}
	}
}

// asker asks the queries of a run in turn.
type asker struct {
	run     *mixedRun
	ms      []float64
	longest int
}

// aloneQueries is how many are asked with nothing beside them.
const aloneQueries = 1000

// until asks until ctx ends, or n queries.
func (a *asker) until(ctx context.Context, n int) (err error) {
	if a.run.cfg.Rate > 0 {
		return a.atRate(ctx, n)
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		if err := a.ask(i, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

func (a *asker) atRate(ctx context.Context, n int) (err error) {
	p, err := newPace(time.Duration(float64(time.Second) / a.run.cfg.Rate))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	for i := range n {
		due, ok, err := p.wait(ctx)
		if err != nil || !ok {
			return err
		}
		if err := a.ask(i, due); err != nil {
			return err
		}
	}
	return nil
}

// ask asks one query and takes how long it took from when it was due.
func (a *asker) ask(i int, due time.Time) error {
	r := a.run
	if _, err := search(r.shard, r.queries[i%len(r.queries)], vecstore.Query{Ef: r.cfg.Ef}); err != nil {
		return err
	}
	a.ms = append(a.ms, milliseconds(time.Since(due)))
	if st, ok := r.shard.Stats(indexSpace); ok {
		a.longest = max(a.longest, int(st.Tail))
	}
	return nil
}
