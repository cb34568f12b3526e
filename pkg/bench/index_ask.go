package bench

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// findTruth reads the exact neighbours, or finds them where the file is about other rows.
func (r *indexRun) findTruth(ctx context.Context, src *rowSource) (err error) {
	if r.cfg.Truth != "" && r.cfg.Rows == r.base.Rows() {
		r.truth, err = readTruth(r.cfg.Truth, len(r.queries), r.cfg.Rows, indexK)
		return err
	}
	r.truth, err = scanFor(ctx, src, r.cfg.Rows, r.queries, r.cfg.Metric, r.cfg.Threads)
	return err
}

// scanFor returns the row numbers of the indexK nearest of rows 0..n-1, by comparing all of them.
func scanFor(ctx context.Context, src *rowSource, n int, queries [][]float32, metric vecstore.Metric, threads int) ([][]int32, error) {
	t := newScan(queries, metric, indexK)
	if err := t.all(ctx, src, n, threads); err != nil {
		return nil, err
	}
	truth := make([][]int32, len(queries))
	for i, best := range t.best {
		for _, b := range best {
			truth[i] = append(truth[i], b.row)
		}
	}
	return truth, nil
}

// exactQueries is how many queries are asked with the exact effort.
const exactQueries = 20

// exact asks a few of the queries with the exact effort.
func (r *indexRun) exact() (err error) {
	var ms []float64
	n := min(exactQueries, len(r.queries))
	r.rep.ExactRecallAt10, _, err = recallOf(r.shard, r.queries[:n], r.truth, vecstore.Query{Effort: vecstore.EffortExact}, &ms)
	r.rep.ExactP50MS = quantile(sorted(ms), .5)
	return err
}

func rowNumbers(rows []vecstore.Row) []int32 {
	numbers := make([]int32, len(rows))
	for i := range rows {
		numbers[i] = int32(rows[i].Sequence) - 2
	}
	return numbers
}

// search asks a shard for the nearest rows of q, with the effort and ef of how, as recall does: what comes back is what was
// observed, less its vector.
func search(shard *vecstore.Shard, q []float32, how vecstore.Query) (vecstore.Result, error) {
	how.Vector, how.K, how.MinScore, how.Now, how.OmitVectors = q, indexK, float32(math.Inf(-1)), time.Now(), true
	return shard.Search(indexSpace, how)
}

// recallOf asks all queries once and returns recall@10 and how many rows were compared for all of them. It appends to ms, if
// it is set, how long each took.
func recallOf(shard *vecstore.Shard, queries [][]float32, truth [][]int32, how vecstore.Query, ms *[]float64) (recall float64, compared int, err error) {
	found, wanted := 0, 0
	for i, q := range queries {
		asked := time.Now()
		res, err := search(shard, q, how)
		if err != nil {
			return 0, 0, err
		}
		compared += res.Searched
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
	return float64(found) / float64(max(wanted, 1)), compared, nil
}

// point asks all queries with one ef.
func (r *indexRun) point(ctx context.Context, ef int) (err error) {
	p := IndexPoint{Ef: ef}
	var rates, ms []float64
	for range r.cfg.Repeat {
		start := time.Now()
		var compared int
		if p.RecallAt10, compared, err = recallOf(r.shard, r.queries, r.truth, vecstore.Query{Ef: ef}, &ms); err != nil {
			return err
		}
		p.RowsCompared = float64(compared) / float64(len(r.queries))
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
