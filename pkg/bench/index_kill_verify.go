package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// verify opens what the killed process left, and leaves it as another death would.
func (r *killRun) verify(ctx context.Context, k *KillRound) (err error) {
	start := time.Now()
	shard, recovered, err := vecstore.Open(r.shardDir(), benchSource(0), r.cfg.options())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shard.Abandon()) }()
	k.OpenMS = milliseconds(time.Since(start))
	if _, err := search(shard, r.in.queries[0], vecstore.Query{}); err != nil {
		return err
	}
	k.ReopenMS, k.Mode = milliseconds(time.Since(start)), recovered.Mode.String()
	stats, ok := shard.Stats(indexSpace)
	if !ok {
		return errors.New("the space is gone")
	}
	k.Rows, k.Unlinked = int(shard.Appended())-1, int(stats.Tail)
	if len(recovered.Damaged) > 0 || recovered.Rebuilt > 0 {
		return fmt.Errorf("%d graphs have to be built again: %w", recovered.Rebuilt, errors.Join(recovered.Damaged...))
	}
	if err := r.compare(ctx, shard, k, int(stats.Observations)); err != nil {
		return err
	}
	if r.truth, err = scanFor(ctx, r.in.src, k.Rows, r.in.queries, vecstore.Cosine, r.cfg.Threads); err != nil {
		return err
	}
	if k.RecallAtOnce, err = r.recall(shard); err != nil {
		return err
	}
	if err := shard.Link(ctx, indexSpace); err != nil {
		return err
	}
	k.RecallLinked, err = r.recall(shard)
	return err
}

func (r *killRun) recall(shard *vecstore.Shard) (float64, error) {
	recall, _, err := recallOf(shard, r.in.queries, r.truth, vecstore.Query{Ef: r.cfg.Ef}, nil)
	return recall, err
}

// compare looks at every row: those that were said to be flushed are there, and all that are there are what was given.
func (r *killRun) compare(ctx context.Context, shard *vecstore.Shard, k *KillRound, living int) error {
	if k.Rows < k.Flushed {
		return fmt.Errorf("%d rows were flushed, and %d are there", k.Flushed, k.Rows)
	}
	if living != k.Rows {
		return fmt.Errorf("the row log has %d rows, and %d can be found", k.Rows, living)
	}
	var v []float32
	var packed []byte
	for first := 0; first < k.Rows; first += fillBatch {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var ids []string
		for i := first; i < min(first+fillBatch, k.Rows); i++ {
			ids = append(ids, rowID(i))
		}
		rows, err := shard.Get(indexSpace, ids, vecstore.At{Now: time.Now()})
		if err != nil {
			return err
		}
		if len(rows) != len(ids) {
			return fmt.Errorf("of the rows %d to %d only %d are there", first, first+len(ids)-1, len(rows))
		}
		for i := range rows {
			if v, err = r.in.src.row(first+i, v); err != nil {
				return err
			}
			packed = event.AppendF32(packed[:0], v)
			if rows[i].ID != ids[i] || !slices.Equal(rows[i].Vector, packed) {
				return fmt.Errorf("row %d is not what was given", first+i)
			}
		}
	}
	return nil
}

// uncrashed returns recall@10 of a shard that was given as many rows as verify found, without a crash.
func (r *killRun) uncrashed(ctx context.Context, rows int) (recall float64, err error) {
	dir := filepath.Join(r.dir, "uncrashed")
	shard, _, err := vecstore.Open(dir, benchSource(0), r.cfg.options())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, shard.Abandon(), os.RemoveAll(dir)) }()
	f := newFiller(shard, r.in.src)
	if err := f.define(cosineSpace(r.in.src.dim)); err != nil {
		return 0, err
	}
	if err := f.fill(ctx, 0, rows); err != nil {
		return 0, err
	}
	if err := shard.Link(ctx, indexSpace); err != nil {
		return 0, err
	}
	return r.recall(shard)
}
