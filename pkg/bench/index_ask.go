package bench

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"time"

	"github.com/engram-memory/engram/pkg/npy"
	"github.com/engram-memory/engram/pkg/vecstore"
)

func (r *indexRun) findTruth() error {
	if r.cfg.Truth != "" && r.cfg.Rows == r.base.Rows() {
		f, err := npy.Open(r.cfg.Truth)
		if err != nil {
			return err
		}
		for i := range r.queries {
			row, err := f.Int32Row(i, nil)
			if err != nil {
				return errors.Join(err, f.Close())
			}
			r.truth = append(r.truth, row[:min(len(row), indexK)])
		}
		return f.Close()
	}
	for _, q := range r.queries {
		res, err := r.search(q, 0, vecstore.EffortExact)
		if err != nil {
			return err
		}
		r.truth = append(r.truth, rowNumbers(res.Rows))
	}
	return nil
}

func rowNumbers(rows []vecstore.Row) (numbers []int32) {
	for _, row := range rows {
		numbers = append(numbers, int32(row.Sequence)-2)
	}
	return numbers
}

func (r *indexRun) search(q []float32, ef int, effort vecstore.Effort) (vecstore.Result, error) {
	return r.shard.Search(indexSpace, vecstore.Query{
		Vector: q, K: indexK, MinScore: float32(math.Inf(-1)), Ef: ef, Effort: effort, Now: time.Now(), OmitVectors: true,
	})
}

// point asks all queries with one ef.
func (r *indexRun) point(ctx context.Context, ef int) error {
	p := IndexPoint{Ef: ef}
	var rates, ms []float64
	for range max(r.cfg.Repeat, 1) {
		found := 0
		start := time.Now()
		for i, q := range r.queries {
			asked := time.Now()
			res, err := r.search(q, ef, vecstore.EffortBalanced)
			if err != nil {
				return err
			}
			ms = append(ms, float64(time.Since(asked).Nanoseconds())/1e6)
			for _, row := range rowNumbers(res.Rows) {
				if slices.Contains(r.truth[i], row) {
					found++
				}
			}
		}
		rates = append(rates, float64(len(r.queries))/time.Since(start).Seconds())
		p.RecallAt10 = float64(found) / float64(indexK*len(r.queries))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	slices.Sort(rates)
	slices.Sort(ms)
	p.QueriesPerSecond, p.P99MS = rates[len(rates)/2], ms[len(ms)*99/100]
	r.rep.Points = append(r.rep.Points, p)
	return nil
}

// reopen opens what is there as after the death of the process, and asks one query.
func (r *indexRun) reopen(dir string) (err error) {
	if err := r.shard.Abandon(); err != nil {
		return err
	}
	start := time.Now()
	if r.shard, _, err = vecstore.Open(dir, indexSource(), r.opt); err != nil {
		return err
	}
	if _, err := r.search(r.queries[0], 0, vecstore.EffortBalanced); err != nil {
		return err
	}
	r.rep.ReopenMS = float64(time.Since(start).Nanoseconds()) / 1e6
	return nil
}

func sizeOf(dir string) (total int64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, nil
}
