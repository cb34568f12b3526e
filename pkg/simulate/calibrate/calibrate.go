// Package calibrate measures the costs of package simulate that depend most on the machine, on the machine it runs on.
package calibrate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/bench"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/npy"
	"github.com/engram-memory/engram/pkg/simulate"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// Config of a run. It takes some seconds for ten thousand observations.
type Config struct {
	Dim          int
	Observations int
	// Data is the directory for the run's files, which are removed after it; empty for a temporary one.
	Data string
}

// minObservations makes graphs, which spaces with fewer rows do not have.
const minObservations = 12_000

// Validate tells what of the configuration cannot be.
func (c *Config) Validate() error {
	if c.Observations < minObservations || c.Observations > 10_000_000 {
		return fmt.Errorf("--calibrate-observations is %d; it can be %d, which makes a graph, to 10000000", c.Observations, minObservations)
	}
	return nil
}

// queries is how many recalls are timed.
const queries = 200

// Run returns costs with those of this machine: gateway, log, apply, link, recall and one_log. It refuses what cannot be told
// apart, as on a machine that is busy with other things meanwhile. Bytes are those of any machine and stay as they are.
func Run(ctx context.Context, cfg Config, costs simulate.Costs, progress func(string)) (_ simulate.Costs, err error) {
	if err := cfg.Validate(); err != nil {
		return costs, err
	}
	dir, remove, err := daemon.TempDir(ctx, cfg.Data, "engram-calibrate-")
	if err != nil {
		return costs, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	progress("the index, on one core")
	index, err := indexOf(ctx, cfg, dir)
	if err != nil {
		return costs, err
	}
	progress("the pipeline and raw JetStream, one space in one log")
	pipe, err := bench.Pipeline(ctx, bench.Config{
		Dim: cfg.Dim, Observations: cfg.Observations, Spaces: 1, Load: "steady", Batch: 100, Producers: 2, Window: 8, Profile: "balanced",
		Shards: 1, Data: dir, Seed: 1, Raw: true, Timeout: 10 * time.Minute,
	}, zerolog.Nop(), progress)
	if err != nil {
		return costs, err
	}
	apply := 1e6 / index.TailRowsPerSecond
	link := 1e6/index.InsertsPerSecond - apply
	log := 1e6 * float64(min(runtime.NumCPU(), 2)) / pipe.RawPerSecond
	gateway := 1e6*pipe.CPUSeconds/float64(cfg.Observations) - log - apply - link
	source := func(what string) string {
		return fmt.Sprintf("engram simulate --calibrate, %s, %d observations: %s", time.Now().UTC().Format(time.DateOnly), cfg.Observations, what)
	}
	costs.Machine, costs.Dimension = fmt.Sprintf("this machine, %d cores, %s", runtime.NumCPU(), index.Kernel), cfg.Dim
	costs.Apply.Value, costs.Apply.Source = apply, source("rows/s appended to the tail")
	costs.Link.Value, costs.Link.Source = link, source("inserts/s of one thread, less apply")
	costs.LinkRows.Value, costs.LinkRows.Source = float64(cfg.Observations)/2, source("half of them: the graph grows from nothing meanwhile")
	costs.Recall.Value, costs.Recall.Source = 1e6/index.Points[0].QueriesPerSecond, source("queries/s with an ef of 56")
	costs.OneLog.Value, costs.OneLog.Source = pipe.RawPerSecond, source("raw JetStream, one log with one copy, publisher and consumer on the same cores")
	costs.Log.Value, costs.Log.Source = log, source("raw JetStream, as if it took two cores whole: at most this much")
	costs.Follower.Value, costs.Follower.Source = log, source("assumed: as much as the leader")
	costs.Gateway.Value, costs.Gateway.Source = gateway, source("CPU of the pipeline, less log, apply and link")
	return costs, sound(&costs)
}

// sound refuses costs that came out of the wrong sign: the runs they are the difference of were not alike. What is left for the
// gateway is taken for nothing then, since the log's cost is an upper bound.
func sound(c *simulate.Costs) error {
	if c.Gateway.Value <= 0 {
		c.Gateway.Value = 1
		c.Gateway.Source += "; nothing was left, and 1 stands for it"
	}
	if err := c.Validate(); err != nil {
		return fmt.Errorf("what was measured does not agree with itself, as on a machine that is busy with other things: %w; calibrate again when it is idle", err)
	}
	return nil
}

// indexOf measures the index with random rows.
func indexOf(ctx context.Context, cfg Config, dir string) (bench.IndexReport, error) {
	base, asked := filepath.Join(dir, "base.npy"), filepath.Join(dir, "queries.npy")
	for path, rows := range map[string]int{base: cfg.Observations, asked: queries} {
		if err := random(path, rows, cfg.Dim); err != nil {
			return bench.IndexReport{}, err
		}
	}
	return bench.Index(ctx, bench.IndexConfig{
		Engine: vecstore.EngineHNSW, Base: base, Queries: asked, Threads: 1, Ef: []int{56}, Repeat: 1, Metric: vecstore.Cosine,
		Vectors: vecstore.VectorsF32, Data: dir,
	}, func(string) {})
}

// random writes rows of normal numbers.
func random(path string, rows, dim int) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("making a file of vectors to calibrate with: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r := rand.New(rand.NewPCG(1, uint64(rows)))
	return npy.Write(f, npy.Float32, rows, dim, func(_ int, dst []float32) error {
		for i := range dst {
			dst[i] = float32(r.NormFloat64())
		}
		return nil
	})
}
