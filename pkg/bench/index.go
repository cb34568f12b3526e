package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"

	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/npy"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vector"
)

// IndexConfig of a run of the index alone, without NATS.
type IndexConfig struct {
	// Engine is hnsw, coder or exact.
	Engine string
	// Base is a file of rows to insert, Queries of rows to look for, .npy or IDX. Truth is an .npy file of the row numbers
	// of the exact neighbours of each query, best first; without it every query is compared with every row.
	Base, Queries, Truth string
	// Rows is how many rows to insert; 0 for those of Base. Where there are more than Base has, its rows are used again,
	// moved by noise.
	Rows int
	// Threads is how many threads the run may use.
	Threads int
	// M and EfConstruction are those of hnsw; 0 for the defaults.
	M, EfConstruction int
	// Ef lists the lengths of the candidate list to measure.
	Ef []int
	// Repeat is how often the queries are asked for each ef; the median rate is reported.
	Repeat int
	// Metric and Vectors are as in vecstore.Definition.
	Metric  vecstore.Metric
	Vectors vecstore.Vectors
	// Data is the directory for the run's files, which are removed after it.
	Data string
}

// Validate tells what of the configuration cannot be.
func (c *IndexConfig) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Engine == vecstore.EngineHNSW || c.Engine == vecstore.EngineCoder || c.Engine == vecstore.EngineExact,
		"--engine is %q; it can be hnsw, coder or exact", c.Engine)
	check(c.Base != "" && c.Queries != "", "--base and --queries are needed")
	check(c.Rows >= 0 && c.Rows <= math.MaxInt32, "--rows is %d; it can be 0 to %d", c.Rows, math.MaxInt32)
	check(c.Threads > 0, "--threads is %d; it must be above 0", c.Threads)
	check(c.Repeat > 0, "--repeat is %d; it must be above 0", c.Repeat)
	check(len(c.Ef) > 0, "--ef is empty")
	for _, ef := range c.Ef {
		check(ef > 0 && ef <= 10_000, "--ef has %d; it can be 1 to 10000", ef)
	}
	if err := graphConfig(c.M, c.EfConstruction).Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// graphConfig is the default one but for what is not 0.
func graphConfig(m, efConstruction int) hnsw.Config {
	graph := hnsw.DefaultConfig()
	if m != 0 {
		graph.M = m
	}
	if efConstruction != 0 {
		graph.EfConstruction = efConstruction
	}
	return graph
}

// IndexReport is what a run of the index measured.
type IndexReport struct {
	Engine         string `json:"engine"`
	N              int    `json:"n"`
	Dim            int    `json:"dim"`
	Threads        int    `json:"threads"`
	M              int    `json:"m,omitempty"`
	EfConstruction int    `json:"ef_construction,omitempty"`
	Kernel         string `json:"kernel"`
	// Generated is how many of the rows are rows of the file again, moved by noise.
	Generated int `json:"generated"`
	// InsertsPerSecond is timed until every row is linked, from the file on: reading it and the row log are in it.
	InsertsPerSecond float64 `json:"inserts_per_second"`
	// InsertsByTenth is the same of each tenth of the rows, without what was still to be linked at its end.
	InsertsByTenth []float64 `json:"inserts_per_second_by_tenth"`
	// TailRowsPerSecond is how many rows a second become searchable by scanning: written to the row log, without fsync,
	// and applied, while nothing is linked.
	TailRowsPerSecond float64      `json:"tail_rows_per_second"`
	Points            []IndexPoint `json:"points"`
	// ExactRecallAt10 and ExactP50MS are of a few of the queries, asked with the exact effort.
	ExactRecallAt10 float64 `json:"exact_recall_at_10"`
	ExactP50MS      float64 `json:"exact_p50_ms"`
	// BytesPerVector is the columns' and the row log's size on disk over the rows.
	BytesPerVector float64 `json:"bytes_per_vector"`
	// RSSBuilt is the highest resident memory of the process, VmHWM, when everything was linked; RSS after the queries as
	// well. The files of vectors are not mapped, so they are not in it.
	RSSBuilt uint64 `json:"rss_bytes_built"`
	RSS      uint64 `json:"rss_bytes"`
	// ReopenMS is the time from opening what a killed process leaves to the first answer, RSSReopened the highest resident
	// memory from then on, 0 where the kernel does not tell.
	ReopenMS    float64 `json:"reopen_ms"`
	RSSReopened uint64  `json:"rss_bytes_reopened"`
	// CPUSeconds and WallSeconds are those of the build.
	CPUSeconds  float64 `json:"cpu_seconds"`
	WallSeconds float64 `json:"wall_seconds"`
}

// IndexPoint is a point of the curve of recall against speed. Queries are asked by one thread, one after the other.
type IndexPoint struct {
	Ef               int     `json:"ef"`
	RecallAt10       float64 `json:"recall_at_10"`
	QueriesPerSecond float64 `json:"queries_per_second"`
	P99MS            float64 `json:"p99_ms"`
	// RowsCompared is of a query, on average.
	RowsCompared float64 `json:"rows_compared"`
}

// Index measures an engine on files of vectors. Progress is called now and then with a sentence about the phase.
func Index(ctx context.Context, cfg IndexConfig, progress func(string)) (rep IndexReport, err error) {
	if err := cfg.Validate(); err != nil {
		return rep, err
	}
	r := &indexRun{cfg: cfg}
	dir, remove, err := daemon.TempDir(ctx, cfg.Data, "engram-bench-index-")
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	r.dir = dir
	if r.base, err = openVectors(cfg.Base, r.dir); err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, r.base.Close()) }()
	if r.cfg.Rows == 0 {
		r.cfg.Rows = r.base.Rows()
	}
	if r.queries, err = readQueries(cfg.Queries, r.dir, r.base.Cols()); err != nil {
		return rep, err
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cfg.Threads))
	graph := graphConfig(cfg.M, cfg.EfConstruction)
	r.opt = vecstore.Options{LinkThreads: cfg.Threads, Graph: graph}
	r.def = vecstore.Definition{
		Name: indexSpace, Dimension: uint32(r.base.Cols()), Metric: cfg.Metric, Generation: 1, Engine: cfg.Engine, Vectors: cfg.Vectors,
	}
	r.rep = IndexReport{
		Engine: cfg.Engine, N: r.cfg.Rows, Dim: r.base.Cols(), Threads: cfg.Threads, Kernel: vector.Kernel(),
		Generated: max(0, r.cfg.Rows-r.base.Rows()),
	}
	if cfg.Engine == vecstore.EngineHNSW {
		r.rep.M, r.rep.EfConstruction = graph.M, graph.EfConstruction
	}
	if err := r.run(ctx, progress); err != nil {
		return rep, err
	}
	return r.rep, nil
}

// readQueries returns all rows of a file, which must have dim components.
func readQueries(path, dir string, dim int) (queries [][]float32, err error) {
	f, err := openVectors(path, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if f.Cols() != dim {
		return nil, fmt.Errorf("%s has rows of %d components, and the base has %d", path, f.Cols(), dim)
	}
	for i := range f.Rows() {
		q, err := f.Row(i, nil)
		if err != nil {
			return nil, err
		}
		queries = append(queries, q)
	}
	return queries, nil
}

// readTruth returns the row numbers of the k nearest rows of each query, all of them below n.
func readTruth(path string, queries, n, k int) (truth [][]int32, err error) {
	f, err := npy.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if k = min(k, n); f.Rows() < queries || f.Cols() < k {
		return nil, fmt.Errorf("%s has %d neighbours of %d queries; want at least %d of %d", path, f.Cols(), f.Rows(), k, queries)
	}
	for i := range queries {
		row, err := f.Int32Row(i, nil)
		if err != nil {
			return nil, err
		}
		for _, x := range row[:k] {
			if x < 0 || int(x) >= n {
				return nil, fmt.Errorf("%s names row %d as a neighbour of query %d; there are %d rows", path, x, i, n)
			}
		}
		truth = append(truth, row[:k])
	}
	return truth, nil
}
