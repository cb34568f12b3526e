package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/npy"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vector"
)

// IndexConfig of a run of the index alone, without NATS.
type IndexConfig struct {
	// Engine is hnsw, coder or exact.
	Engine string
	// Base is an .npy file of rows to insert, Queries of rows to look for, Truth of the row numbers of the exact
	// neighbours of each query, best first; without it they are found by comparing every row.
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

// IndexReport is what a run of the index measured.
type IndexReport struct {
	Engine         string `json:"engine"`
	N              int    `json:"n"`
	Dim            int    `json:"dim"`
	Threads        int    `json:"threads"`
	M              int    `json:"m,omitempty"`
	EfConstruction int    `json:"ef_construction,omitempty"`
	Kernel         string `json:"kernel"`
	// InsertsPerSecond is timed until every row is linked, from the row log on.
	InsertsPerSecond float64 `json:"inserts_per_second"`
	// TailRowsPerSecond is how many rows a second become searchable by scanning: written to the row log, without fsync,
	// and applied, while nothing is linked.
	TailRowsPerSecond float64      `json:"tail_rows_per_second"`
	Points            []IndexPoint `json:"points"`
	// BytesPerVector is the columns' and the row log's size on disk over the rows.
	BytesPerVector float64 `json:"bytes_per_vector"`
	// RSS is the highest resident memory of the process, VmHWM.
	RSS uint64 `json:"rss_bytes"`
	// ReopenMS is the time from opening what a killed process leaves to the first answer.
	ReopenMS float64 `json:"reopen_ms"`
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
}

// indexRun is one run.
type indexRun struct {
	cfg     IndexConfig
	base    *npy.File
	queries [][]float32
	truth   [][]int32
	shard   *vecstore.Shard
	dir     string
	opt     vecstore.Options
	rep     IndexReport
}

const (
	indexSpace = "bench"
	indexK     = 10
)

func indexSource() vecstore.Source { return vecstore.Source{Epoch: "bench", CreatedAt: 1} }

// Index measures an engine on files of vectors.
func Index(ctx context.Context, cfg IndexConfig, progress func(string)) (rep IndexReport, err error) {
	r := &indexRun{cfg: cfg}
	if r.base, err = npy.Open(cfg.Base); err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, r.base.Close()) }()
	if r.cfg.Rows == 0 {
		r.cfg.Rows = r.base.Rows()
	}
	if r.queries, err = readQueries(cfg.Queries, r.base.Cols()); err != nil {
		return rep, err
	}
	if r.dir, err = os.MkdirTemp(cfg.Data, "engram-bench-index-"); err != nil {
		return rep, fmt.Errorf("making a directory for the run: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cfg.Threads))
	graph := hnsw.DefaultConfig()
	if cfg.M > 0 {
		graph.M = cfg.M
	}
	if cfg.EfConstruction > 0 {
		graph.EfConstruction = cfg.EfConstruction
	}
	r.opt = vecstore.Options{LinkThreads: cfg.Threads, Graph: graph}
	r.rep = IndexReport{
		Engine: cfg.Engine, N: r.cfg.Rows, Dim: r.base.Cols(), Threads: cfg.Threads, Kernel: vector.Kernel(),
	}
	if cfg.Engine == vecstore.EngineHNSW {
		r.rep.M, r.rep.EfConstruction = graph.M, graph.EfConstruction
	}
	if err := r.run(ctx, progress); err != nil {
		return rep, err
	}
	return r.rep, nil
}

func readQueries(path string, dim int) (queries [][]float32, err error) {
	f, err := npy.Open(path)
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

func (r *indexRun) run(ctx context.Context, progress func(string)) (err error) {
	progress("measuring the tail")
	if err := r.tail(ctx); err != nil {
		return err
	}
	dir := filepath.Join(r.dir, "shard")
	if r.shard, _, err = vecstore.Open(dir, indexSource(), r.opt); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.shard.Abandon()) }()
	progress("building")
	cpu, start := cpuSeconds(), time.Now()
	if err := r.fill(ctx, r.shard, r.cfg.Rows); err != nil {
		return err
	}
	if err := r.shard.Link(ctx, indexSpace); err != nil {
		return err
	}
	wall := time.Since(start)
	r.rep.CPUSeconds, r.rep.WallSeconds = cpuSeconds()-cpu, wall.Seconds()
	r.rep.InsertsPerSecond = float64(r.cfg.Rows) / wall.Seconds()

	progress("finding the exact neighbours")
	if err := r.findTruth(); err != nil {
		return err
	}
	efs := r.cfg.Ef
	if r.cfg.Engine == vecstore.EngineExact {
		efs = []int{0}
	}
	for _, ef := range efs {
		progress(fmt.Sprintf("asking with ef %d", ef))
		if err := r.point(ctx, ef); err != nil {
			return err
		}
	}
	progress("opening it again")
	if err := r.reopen(dir); err != nil {
		return err
	}
	size, err := sizeOf(dir)
	r.rep.BytesPerVector, r.rep.RSS = float64(size)/float64(r.cfg.Rows), peakRSS()
	return err
}

// tail measures how fast rows become searchable, in a shard of its own.
func (r *indexRun) tail(ctx context.Context) (err error) {
	opt := r.opt
	opt.GraphRows = math.MaxUint32
	dir := filepath.Join(r.dir, "tail")
	shard, _, err := vecstore.Open(dir, indexSource(), opt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shard.Abandon(), os.RemoveAll(dir)) }()
	n, start := min(r.cfg.Rows, 20_000), time.Now()
	if err := r.fill(ctx, shard, n); err != nil {
		return err
	}
	r.rep.TailRowsPerSecond = float64(n) / time.Since(start).Seconds()
	return nil
}

// fill gives rows to a shard as a worker does.
func (r *indexRun) fill(ctx context.Context, shard *vecstore.Shard, n int) (err error) {
	src := &source{file: r.base, dim: r.base.Cols(), spaces: 1, seed: 1}
	define := &vecstore.Event{Sequence: 1, Kind: vecstore.KindDefine, Space: indexSpace, Definition: &vecstore.Definition{
		Name: indexSpace, Dimension: uint32(r.base.Cols()), Metric: r.cfg.Metric, Generation: 1, Engine: r.cfg.Engine, Vectors: r.cfg.Vectors,
	}}
	if err := take(shard, []*vecstore.Event{define}); err != nil {
		return err
	}
	const batch = 500
	events, packed := make([]vecstore.Event, batch), make([][]byte, batch)
	var v []float32
	for i := 0; i < n; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var next []*vecstore.Event
		for j := 0; j < batch && i < n; j++ {
			if v, err = src.vector(i, v[:0]); err != nil {
				return err
			}
			packed[j] = event.AppendF32(packed[j][:0], v)
			events[j] = vecstore.Event{Sequence: uint64(i) + 2, Kind: vecstore.KindObserve, Space: indexSpace, ID: rowID(i), Vector: packed[j]}
			next = append(next, &events[j])
			i++
		}
		if err := take(shard, next); err != nil {
			return err
		}
	}
	return nil
}

func take(shard *vecstore.Shard, events []*vecstore.Event) error {
	applied := shard.Appended()
	for _, e := range events {
		if err := shard.Appender().Add(e); err != nil {
			return err
		}
	}
	if err := shard.Appender().Flush(); err != nil {
		return err
	}
	if events[0].SpaceKey() == nil {
		return nil
	}
	_, err := shard.Apply(events, applied)
	return err
}
