package bench

import (
	"context"
	"time"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vecstore"
)

const (
	// indexSpace is the space of runs that have one alone.
	indexSpace = "bench"
	indexK     = 10
	// fillBatch is how many rows a shard is given at a time, as many as a worker gives it.
	fillBatch = 500
)

func benchSource(shard int) vecstore.Source {
	return vecstore.Source{Epoch: "bench", CreatedAt: 1, Shard: uint32(shard)}
}

// filler gives rows to a shard as a worker does. Row i has the sequence i+2 and the id rowID(i).
type filler struct {
	shard *vecstore.Shard
	src   *rowSource
	// flushed, if it is set, is told after each write to the row log how many rows it has.
	flushed func(rows int) error
	// took is the time that the shard took, without that of the source.
	took time.Duration

	events []vecstore.Event
	batch  []*vecstore.Event
	vector []float32
}

func newFiller(shard *vecstore.Shard, src *rowSource) *filler {
	return &filler{shard: shard, src: src, events: make([]vecstore.Event, fillBatch)}
}

// define creates the space, with the first sequence of all.
func (f *filler) define(d vecstore.Definition) error {
	e := &vecstore.Event{Sequence: 1, Kind: vecstore.KindDefine, Space: d.Name, Definition: &d}
	if err := f.shard.Appender().Add(e); err != nil {
		return err
	}
	return f.shard.Appender().Flush()
}

// fill appends and applies rows from..to-1.
func (f *filler) fill(ctx context.Context, from, to int) error {
	for i := from; i < to; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.batch = f.batch[:0]
		for j := 0; j < fillBatch && i < to; j++ {
			e := &f.events[j]
			if err := f.event(e, i); err != nil {
				return err
			}
			e.Sequence, e.Space, e.ID = uint64(i)+2, indexSpace, rowID(i)
			f.batch = append(f.batch, e)
			i++
		}
		if err := f.give(i); err != nil {
			return err
		}
	}
	return nil
}

// event makes an observation of row i; what it held before is used again.
func (f *filler) event(e *vecstore.Event, i int) (err error) {
	if f.vector, err = f.src.row(i, f.vector); err != nil {
		return err
	}
	*e = vecstore.Event{Kind: vecstore.KindObserve, Vector: event.AppendF32(e.Vector[:0], f.vector)}
	return nil
}

// give hands the batch, of one space, to the shard; rows is how many there are with it.
func (f *filler) give(rows int) error {
	start, applied := time.Now(), f.shard.Appended()
	for _, e := range f.batch {
		if err := f.shard.Appender().Add(e); err != nil {
			return err
		}
	}
	if err := f.shard.Appender().Flush(); err != nil {
		return err
	}
	f.took += time.Since(start)
	if f.flushed != nil {
		if err := f.flushed(rows); err != nil {
			return err
		}
	}
	start = time.Now()
	_, err := f.shard.Apply(f.batch, applied)
	f.took += time.Since(start)
	return err
}
