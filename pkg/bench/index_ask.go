package bench

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// findTruth reads the exact neighbours, or asks for them where the file is about other rows.
func (r *indexRun) findTruth() (err error) {
	if r.cfg.Truth != "" && r.cfg.Rows == r.base.Rows() {
		r.truth, err = readTruth(r.cfg.Truth, len(r.queries), r.cfg.Rows, indexK)
		return err
	}
	r.truth, err = exactNeighbours(r.shard, r.queries)
	return err
}

// exactNeighbours asks a shard, with the exact effort, on all processors.
func exactNeighbours(shard *vecstore.Shard, queries [][]float32) ([][]int32, error) {
	threads := runtime.GOMAXPROCS(0)
	truth, errs := make([][]int32, len(queries)), make([]error, threads)
	var done sync.WaitGroup
	for thread := range threads {
		done.Go(func() {
			for i := thread; i < len(queries) && errs[thread] == nil; i += threads {
				var res vecstore.Result
				res, errs[thread] = search(shard, queries[i], 0, vecstore.EffortExact)
				truth[i] = rowNumbers(res.Rows)
			}
		})
	}
	done.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return truth, nil
}

func rowNumbers(rows []vecstore.Row) []int32 {
	numbers := make([]int32, len(rows))
	for i := range rows {
		numbers[i] = int32(rows[i].Sequence) - 2
	}
	return numbers
}

func search(shard *vecstore.Shard, q []float32, ef int, effort vecstore.Effort) (vecstore.Result, error) {
	return shard.Search(indexSpace, vecstore.Query{
		Vector: q, K: indexK, MinScore: float32(math.Inf(-1)), Ef: ef, Effort: effort, Now: time.Now(),
	})
}

// recallOf asks all queries once and returns recall@10. Each is told how long it took when ms is set.
func recallOf(shard *vecstore.Shard, queries [][]float32, truth [][]int32, ef int, ms *[]float64) (float64, error) {
	found, wanted := 0, 0
	for i, q := range queries {
		asked := time.Now()
		res, err := search(shard, q, ef, vecstore.EffortBalanced)
		if err != nil {
			return 0, err
		}
		if ms != nil {
			*ms = append(*ms, milliseconds(time.Since(asked)))
		}
		wanted += len(truth[i])
		for _, row := range rowNumbers(res.Rows) {
			if slices.Contains(truth[i], row) {
				found++
			}
		}
	}
	return float64(found) / float64(max(wanted, 1)), nil
}

// point asks all queries with one ef.
func (r *indexRun) point(ctx context.Context, ef int) (err error) {
	p := IndexPoint{Ef: ef}
	var rates, ms []float64
	for range r.cfg.Repeat {
		start := time.Now()
		if p.RecallAt10, err = recallOf(r.shard, r.queries, r.truth, ef, &ms); err != nil {
			return err
		}
		rates = append(rates, float64(len(r.queries))/time.Since(start).Seconds())
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	rates, ms = sorted(rates), sorted(ms)
	p.QueriesPerSecond, p.P99MS = quantile(rates, .5), quantile(ms, .99)
	r.rep.Points = append(r.rep.Points, p)
	return nil
}
