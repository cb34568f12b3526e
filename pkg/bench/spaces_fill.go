package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// spacesShard is a shard with its share of the spaces.
type spacesShard struct {
	dir      string
	shard    *vecstore.Shard
	sequence uint64
}

func (r *spacesRun) open() error {
	for i := range r.cfg.Shards {
		dir := filepath.Join(r.dir, fmt.Sprint(i))
		shard, _, err := vecstore.Open(dir, benchSource(i), r.options())
		if err != nil {
			return err
		}
		r.shards = append(r.shards, &spacesShard{dir: dir, shard: shard, sequence: shard.Appended()})
	}
	return nil
}

func (r *spacesRun) shardOf(space int) *spacesShard { return r.shards[space%len(r.shards)] }

// vectorOf is the number of a row of a space in the source.
func (r *spacesRun) vectorOf(space, row int) int { return space*r.cfg.Rows + row }

// fill defines the spaces and gives each of them a batch in turn, until they have all their rows. Checkpoints are taken
// every second, as a worker takes them: with them the codes of spaces that were not used for long are let go.
func (r *spacesRun) fill(ctx context.Context) error {
	start := time.Now()
	for space := range r.cfg.Spaces {
		s := r.shardOf(space)
		s.sequence++
		e := &vecstore.Event{Sequence: s.sequence, Kind: vecstore.KindDefine, Space: spaceName(space), Definition: &vecstore.Definition{
			Name: spaceName(space), Dimension: uint32(r.cfg.Dim), Metric: vecstore.Cosine, Generation: 1,
		}}
		if err := errors.Join(s.shard.Appender().Add(e), s.shard.Appender().Flush()); err != nil {
			return err
		}
	}
	f := newFiller(nil, r.src)
	checked := time.Now()
	for row := 0; row < r.cfg.Rows; row += r.cfg.Batch {
		for space := range r.cfg.Spaces {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := r.give(f, space, row); err != nil {
				return err
			}
			if now := time.Now(); now.Sub(checked) >= time.Second {
				checked = now
				if err := r.checkpoint(now); err != nil {
					return err
				}
			}
		}
	}
	if err := r.checkpoint(time.Now()); err != nil {
		return err
	}
	r.rep.RowsPerSecond = float64(r.cfg.Spaces*r.cfg.Rows) / time.Since(start).Seconds()
	for _, s := range r.shards {
		r.rep.LogBytes += s.shard.LogBytes()
	}
	return nil
}

// give gives a space its rows from one on, a batch of them.
func (r *spacesRun) give(f *filler, space, row int) error {
	s := r.shardOf(space)
	f.shard, f.batch = s.shard, f.batch[:0]
	for i := range min(r.cfg.Batch, r.cfg.Rows-row) {
		e := &f.events[i]
		if err := f.event(e, r.vectorOf(space, row+i)); err != nil {
			return err
		}
		s.sequence++
		e.Sequence, e.Space, e.ID = s.sequence, spaceName(space), rowID(row+i)
		f.batch = append(f.batch, e)
	}
	return f.give(0)
}

func (r *spacesRun) checkpoint(now time.Time) error {
	var errs []error
	for _, s := range r.shards {
		errs = append(errs, s.shard.Checkpoint(now))
	}
	return errors.Join(errs...)
}

// reopen opens the shards as after the death of the process, or after a clean close.
func (r *spacesRun) reopen() error {
	if r.cfg.Clean {
		for _, s := range r.shards {
			if err := s.shard.Close(); err != nil {
				return err
			}
		}
	}
	if err := r.abandon(); err != nil {
		return err
	}
	if r.cfg.DropCache {
		dropped, err := dropCache(r.dir)
		if err != nil {
			return err
		}
		r.rep.FromDisk = dropped
	}
	debug.FreeOSMemory() // which another process would not have
	resetPeakRSS()
	start := time.Now()
	if err := r.open(); err != nil {
		return err
	}
	r.rep.ReopenMS = milliseconds(time.Since(start))
	return nil
}

// ask asks a sample of the spaces twice for a row that they have, a little moved. That row must be the first answer. Every
// second a checkpoint is taken, as a worker does.
func (r *spacesRun) ask(ctx context.Context) error {
	order := rand.New(rand.NewPCG(1, 6)).Perm(r.cfg.Spaces)
	if r.cfg.Sample > 0 {
		order = order[:min(r.cfg.Sample, len(order))]
	}
	var cold, warm []float64
	checked := time.Now()
	var q []float32
	for i, space := range order {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		row := i * 31 % r.cfg.Rows
		var err error
		if q, err = r.src.row(r.vectorOf(space, row), q); err != nil {
			return err
		}
		r.src.disturb(q, noiseSigma)
		for _, ms := range []*[]float64{&cold, &warm} {
			start := time.Now()
			res, err := r.shardOf(space).shard.Search(spaceName(space), vecstore.Query{
				Vector: q, K: indexK, MinScore: float32(math.Inf(-1)), Now: start,
			})
			if err != nil {
				return err
			}
			*ms = append(*ms, milliseconds(time.Since(start)))
			if len(res.Rows) == 0 || res.Rows[0].ID != rowID(row) {
				return fmt.Errorf("space %d does not answer with its row %d", space, row)
			}
		}
		if now := time.Now(); now.Sub(checked) >= time.Second {
			checked = now
			if err := r.checkpoint(now); err != nil {
				return err
			}
		}
	}
	r.rep.Sampled, r.rep.Cold, r.rep.Warm = len(order), latencyOf(cold), latencyOf(warm)
	return nil
}

// dropCache has the kernel let go of the pages of all files in a directory, and tells whether it can.
func dropCache(dir string) (dropped bool, err error) {
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		dropped, err = dropPages(path)
		return err
	})
	return dropped, err
}
