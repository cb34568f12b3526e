package worker

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/wire"
)

// turnTasks bounds what is applied of one space before the next one has its turn.
const turnTasks = 128

// apply makes a batch of one space searchable.
func (w *indexWorker) apply(m *mailbox) {
	batch := m.take(min(w.pool.cfg.MaxBatch, turnTasks))
	w.atHand.Store(true)
	w.all(batch)
	w.atHand.Store(false)
	w.load.Add(-int64(len(batch)))
	w.pool.routed.Add(-int64(len(batch)))
	if m.release() {
		w.push(m)
	} else {
		w.pool.ended.Add(1)
	}
}

// A disk that fails is tried again after these.
const (
	soonestRetry = 100 * time.Millisecond
	latestRetry  = 5 * time.Second
)

// all applies tasks of one space, and waits for a disk that fails. Tasks that are left where the worker stops meanwhile
// are in the row log.
func (w *indexWorker) all(tasks []*task) {
	for wait := soonestRetry; len(tasks) > 0; {
		n := w.some(tasks)
		if n > 0 {
			tasks, wait = tasks[n:], soonestRetry
			continue
		}
		if !sleep(tasks[0].shard.w.ctx, wait) {
			return
		}
		wait = min(2*wait, latestRetry)
	}
}

// some applies what it can of tasks of one space, and returns how many of them are dealt with: 0 where the disk must be
// waited for.
func (w *indexWorker) some(tasks []*task) int {
	s := tasks[0].shard
	n, err := w.tryApply(s, tasks)
	if _, panicked := err.(*panicError); panicked && len(tasks) > 1 {
		// Which one it was is found out by trying each alone.
		for _, t := range tasks {
			w.all([]*task{t})
		}
		return len(tasks)
	}
	if n > 0 {
		w.searchable(s, tasks[:n])
	}
	if err == nil {
		return n
	}
	if s.store.Load().Usable() != nil {
		// The shard is opened again, from the row log, and has them then.
		for _, t := range tasks[n:] {
			s.mark.complete(t.ticket)
		}
		return len(tasks)
	}
	if diskFailed(err) {
		// The event is none the worse for it.
		s.log.Error().Err(err).Msg("the index cannot be written; the space stands still until it can")
		return n
	}
	if s.quarantine(s.w.ctx, tasks[n], applyError(err)) {
		s.mark.complete(tasks[n].ticket)
	}
	return n + 1
}

func (w *indexWorker) searchable(s *shard, tasks []*task) {
	now := time.Now()
	tickets := make([]uint64, len(tasks))
	for i, t := range tasks {
		tickets[i] = t.ticket
		if t.event.Kind == vecstore.KindObserve {
			w.pool.metrics.ObservationLatency.Observe(float64(now.UnixNano()-t.event.Published) / 1e9)
		}
	}
	s.mark.complete(tickets...)
	s.progressed()
}

// panicError is a panic of the index, with its stack.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("the index panicked: %v", e.value) }

func (w *indexWorker) tryApply(s *shard, tasks []*task) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, &panicError{value: v, stack: debug.Stack()}
			w.pool.metrics.WorkerPanics.Inc()
			w.pool.log.Error().Err(err).Bytes("stack", err.(*panicError).stack).Int("shard", s.number).
				Int("events", len(tasks)).Msg("panic while applying; each event is tried alone")
		}
	}()
	events := make([]*vecstore.Event, len(tasks))
	for i, t := range tasks {
		events[i] = &t.event
	}
	return w.pool.apply(s.store.Load(), events, s.mark.read().applied)
}

func applyError(err error) *wire.Error {
	if p, ok := err.(*panicError); ok {
		return wire.Errorf(codePanic, "", "%v", p)
	}
	return storeError(err)
}

// codePanic is the reason of an event in the quarantine that made an index panic twice.
const codePanic wire.Code = "panic"
