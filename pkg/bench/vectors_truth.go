package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/npy"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vector"
)

// TruthConfig of a search for exact neighbours.
type TruthConfig struct {
	// Base and Queries are .npy or IDX files, Out the .npy file of int32 to write: for each query the row numbers of its K
	// nearest rows, best first. Of rows that are equally near the first comes first.
	Base, Queries, Out string
	Metric             vecstore.Metric
	K, Threads         int
}

// Validate tells what of the configuration cannot be.
func (c *TruthConfig) Validate() error {
	if c.K < 1 || c.K > 10_000 || c.Threads < 1 {
		return fmt.Errorf("-k is %d and --threads %d; they can be 1 to 10000, and 1 or more", c.K, c.Threads)
	}
	return nil
}

// Truth compares every query with every row, in f32. It shares nothing with the engines but the kernels, which are tested
// against plain loops.
func Truth(ctx context.Context, cfg TruthConfig) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	dir, remove, err := daemon.TempDir(ctx, "", "engram-bench-truth-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if err := apart(cfg.Out, cfg.Base, cfg.Queries); err != nil {
		return err
	}
	base, err := openVectors(cfg.Base, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	queries, err := readQueries(cfg.Queries, dir, base.Cols())
	if err != nil {
		return err
	}
	if base.Rows() < cfg.K {
		return fmt.Errorf("-k is %d, and %s has %d rows", cfg.K, cfg.Base, base.Rows())
	}
	t := newScan(queries, cfg.Metric, cfg.K)
	if err := t.all(ctx, newRowSource(base, 0), base.Rows(), cfg.Threads); err != nil {
		return err
	}
	return writeFile(cfg.Out, func(w io.Writer) error {
		return npy.WriteInt32(w, len(queries), cfg.K, func(i int, dst []int32) error {
			for j, n := range t.best[i] {
				dst[j] = n.row
			}
			return nil
		})
	})
}

// scan finds the nearest rows of many queries by comparing all of them.
type scan struct {
	metric  vecstore.Metric
	k       int
	queries [][]float32
	best    [][]near // of each query, best first
}

type near struct {
	row   int32
	score float32
}

func newScan(queries [][]float32, metric vecstore.Metric, k int) *scan {
	t := &scan{metric: metric, k: k, best: make([][]near, len(queries))}
	for _, q := range queries {
		q = slices.Clone(q)
		if metric == vecstore.Cosine {
			unit(q)
		}
		t.queries = append(t.queries, q)
	}
	return t
}

// all compares rows 0..n-1, a block at a time that stays in a core's cache while all queries pass over it.
func (t *scan) all(ctx context.Context, src *rowSource, n, threads int) error {
	const block = 128
	rows := make([][]float32, block)
	for first := 0; first < n; first += block {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		count := min(block, n-first)
		for i := range count {
			var err error
			if rows[i], err = src.row(first+i, rows[i]); err != nil {
				return err
			}
			if t.metric == vecstore.Cosine {
				unit(rows[i])
			}
		}
		var done sync.WaitGroup
		for thread := range threads {
			done.Go(func() {
				for q := thread; q < len(t.queries); q += threads {
					for i, row := range rows[:count] {
						t.offer(q, near{int32(first + i), t.score(t.queries[q], row)})
					}
				}
			})
		}
		done.Wait()
	}
	return nil
}

func (t *scan) score(q, row []float32) float32 {
	if t.metric == vecstore.L2 {
		return -vector.L2(q, row)
	}
	return vector.Dot(q, row)
}

// offer puts a row among the best of a query if it belongs there. Rows come in order, so an equal one is behind those
// that are there.
func (t *scan) offer(query int, n near) {
	best := t.best[query]
	if len(best) == t.k && n.score <= best[t.k-1].score {
		return
	}
	at, _ := slices.BinarySearchFunc(best, n, func(a, b near) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.row, b.row))
	})
	best = slices.Insert(best, at, n)
	t.best[query] = best[:min(len(best), t.k)]
}
