package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/snapshot"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// SnapshotConfig is what Snapshot measures.
type SnapshotConfig struct {
	// Rows of Dim components are in one space of one shard.
	Rows, Dim int
	// Data is the directory for the run's files, which are removed after it; empty for a temporary one.
	Data string
}

// Validate tells what of the configuration cannot be.
func (c *SnapshotConfig) Validate() error {
	if c.Rows < 1 || c.Rows > 10_000_000 || c.Dim < 1 || c.Dim > 65_536 {
		return fmt.Errorf("rows is %d and dim %d; they can be 1 to 10000000 and 1 to 65536", c.Rows, c.Dim)
	}
	return nil
}

// SnapshotReport is what Snapshot measured. Times are seconds.
type SnapshotReport struct {
	Rows  int   `json:"rows"`
	Dim   int   `json:"dim"`
	Bytes int64 `json:"row_log_bytes"`
	// Take is the first snapshot into a directory, without a bound; Again the next one, one row later, and Chunks what it stored.
	Take   float64 `json:"take_seconds"`
	Again  float64 `json:"again_seconds"`
	Chunks int     `json:"again_chunks"`
	// Restore makes the files anew, Open opens them, which can be asked then, and Graph links the rows.
	Restore    float64 `json:"restore_seconds"`
	Open       float64 `json:"open_seconds"`
	Graph      float64 `json:"graph_seconds"`
	GOMAXPROCS int     `json:"gomaxprocs"`
}

// Snapshot takes snapshots of a shard, and restores one of them.
func Snapshot(ctx context.Context, cfg SnapshotConfig, progress func(string)) (rep SnapshotReport, err error) {
	if err := cfg.Validate(); err != nil {
		return rep, err
	}
	dir, remove, err := daemon.TempDir(ctx, cfg.Data, "engram-bench-snapshot-")
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	r := &snapshotRun{dir: dir, rep: SnapshotReport{Rows: cfg.Rows, Dim: cfg.Dim, GOMAXPROCS: runtime.GOMAXPROCS(0)}}
	if r.store, err = snapshot.NewDir(vfs.OS(), filepath.Join(dir, "snapshots"), "bench"); err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, r.store.Close()) }()
	taken, err := r.take(ctx, newRowSource(nil, cfg.Dim), progress)
	if err == nil {
		err = r.restore(ctx, taken, progress)
	}
	return r.rep, err
}

type snapshotRun struct {
	dir   string
	store snapshot.Store
	rep   SnapshotReport
}

// take fills a shard and takes two snapshots of it.
func (r *snapshotRun) take(ctx context.Context, src *rowSource, progress func(string)) (taken snapshot.Taken, err error) {
	progress("filling a shard")
	// What is copied is the row log, so no graph is needed here.
	shard, _, err := vecstore.Open(filepath.Join(r.dir, "shard"), benchSource(0), vecstore.Options{GraphRows: 1<<32 - 1})
	if err != nil {
		return taken, err
	}
	defer func() { err = errors.Join(err, shard.Abandon()) }()
	f := newFiller(shard, src)
	if err := f.define(cosineSpace(r.rep.Dim)); err != nil {
		return taken, err
	}
	for i, seconds := range []*float64{&r.rep.Take, &r.rep.Again} {
		if err := f.fill(ctx, i*r.rep.Rows, r.rep.Rows+i); err != nil {
			return taken, err
		}
		progress(fmt.Sprintf("snapshot %d", i+1))
		start := time.Now()
		if taken, err = takeOf(ctx, r.store, shard); err != nil {
			return taken, err
		}
		*seconds = time.Since(start).Seconds()
	}
	r.rep.Bytes, r.rep.Chunks = taken.Manifest.Bytes, taken.Chunks
	return taken, nil
}

// takeOf takes a snapshot of a shard to which everything was applied.
func takeOf(ctx context.Context, store snapshot.Store, shard *vecstore.Shard) (taken snapshot.Taken, err error) {
	export, err := shard.Export(time.Now())
	if err != nil {
		return taken, err
	}
	defer func() { err = errors.Join(err, export.Close()) }()
	return snapshot.Take(ctx, store, export, snapshot.Options{
		Worker: "bench", Keep: 2, Applied: func(context.Context, uint64) error { return nil },
	})
}

// restore makes a shard of a snapshot and has its graph built.
func (r *snapshotRun) restore(ctx context.Context, taken snapshot.Taken, progress func(string)) (err error) {
	progress("restoring it")
	dir := filepath.Join(r.dir, "restored")
	start := time.Now()
	if err := snapshot.Restore(ctx, r.store, taken.Manifest, vfs.OS(), dir, nil); err != nil {
		return err
	}
	r.rep.Restore = time.Since(start).Seconds()
	start = time.Now()
	shard, _, err := vecstore.Open(dir, benchSource(0), vecstore.Options{GraphRows: 1})
	if err != nil {
		return err
	}
	r.rep.Open = time.Since(start).Seconds()
	defer func() { err = errors.Join(err, shard.Abandon()) }()
	progress("linking its rows")
	start = time.Now()
	if err := shard.Link(ctx, indexSpace); err != nil {
		return err
	}
	r.rep.Graph = time.Since(start).Seconds()
	if st, ok := shard.Stats(indexSpace); !ok || st.Observations != uint64(r.rep.Rows)+1 {
		return fmt.Errorf("of %d rows %d are there after the restore", r.rep.Rows+1, st.Observations)
	}
	return nil
}
