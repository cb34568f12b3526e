package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/engram-memory/engram/pkg/npy"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// indexRun is one run.
type indexRun struct {
	cfg     IndexConfig
	base    *npy.Reader
	queries [][]float32
	truth   [][]int32
	shard   *vecstore.Shard
	dir     string
	opt     vecstore.Options
	def     vecstore.Definition
	rep     IndexReport
}

func (r *indexRun) run(ctx context.Context, progress func(string)) (err error) {
	progress("measuring the tail")
	src := newRowSource(r.base, 0)
	if err := r.tail(ctx, src); err != nil {
		return err
	}
	runtime.GC() // what the tail left is not of the build
	dir := filepath.Join(r.dir, "shard")
	if r.shard, _, err = vecstore.Open(dir, benchSource(0), r.opt); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, abandon(r.shard)) }()
	progress("building")
	if err := r.build(ctx, src); err != nil {
		return err
	}
	progress("finding the exact neighbours")
	if err := r.findTruth(ctx, src); err != nil {
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
	if err := r.exact(); err != nil {
		return err
	}
	r.rep.RSS = peakRSS()
	progress("opening it again")
	if err := r.reopen(dir); err != nil {
		return err
	}
	size, err := sizeOf(dir)
	r.rep.BytesPerVector = float64(size) / float64(r.cfg.Rows)
	return err
}

// tail measures how fast rows become searchable, in a shard of its own. Reading them from the file is not in it.
func (r *indexRun) tail(ctx context.Context, src *rowSource) (err error) {
	opt := r.opt
	opt.GraphRows = math.MaxUint32
	dir := filepath.Join(r.dir, "tail")
	shard, _, err := vecstore.Open(dir, benchSource(0), opt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shard.Abandon(), os.RemoveAll(dir)) }()
	f, n := newFiller(shard, src), min(r.cfg.Rows, 20_000)
	if err := f.define(r.def); err != nil {
		return err
	}
	if err := f.fill(ctx, 0, n); err != nil {
		return err
	}
	r.rep.TailRowsPerSecond = float64(n) / f.took.Seconds()
	return nil
}

// build inserts the rows until all are linked.
func (r *indexRun) build(ctx context.Context, src *rowSource) error {
	f, n := newFiller(r.shard, src), r.cfg.Rows
	cpu, start := cpuSeconds(), time.Now()
	if err := f.define(r.def); err != nil {
		return err
	}
	for tenth := range 10 {
		from, to, began := tenth*n/10, (tenth+1)*n/10, time.Now()
		if err := f.fill(ctx, from, to); err != nil {
			return err
		}
		if tenth == 9 {
			if err := r.shard.Link(ctx, indexSpace); err != nil {
				return err
			}
		}
		r.rep.InsertsByTenth = append(r.rep.InsertsByTenth, math.Round(float64(to-from)/time.Since(began).Seconds()))
	}
	wall := time.Since(start)
	r.rep.CPUSeconds, r.rep.WallSeconds = cpuSeconds()-cpu, wall.Seconds()
	r.rep.InsertsPerSecond = float64(n) / wall.Seconds()
	r.rep.RSSBuilt = peakRSS()
	return nil
}

// reopen opens what is there as after the death of the process, and asks one query.
func (r *indexRun) reopen(dir string) (err error) {
	if err := r.shard.Abandon(); err != nil {
		return err
	}
	r.shard = nil
	debug.FreeOSMemory() // which another process would not have
	counted := resetPeakRSS()
	start := time.Now()
	if r.shard, _, err = vecstore.Open(dir, benchSource(0), r.opt); err != nil {
		return err
	}
	if _, err := search(r.shard, r.queries[0], vecstore.Query{}); err != nil {
		return err
	}
	r.rep.ReopenMS = milliseconds(time.Since(start))
	if counted {
		r.rep.RSSReopened = peakRSS()
	}
	return nil
}

// abandon leaves a shard as the death of the process does; nil is none.
func abandon(shard *vecstore.Shard) error {
	if shard == nil {
		return nil
	}
	return shard.Abandon()
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// sizeOf returns the size of all files in a directory.
func sizeOf(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
