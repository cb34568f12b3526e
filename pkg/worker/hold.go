package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/membership"
)

// hold opens a shard and begins to follow and serve it.
func (w *Worker) hold(ctx context.Context, number int, why string) error {
	s, err := w.open(ctx, number)
	if err != nil {
		return err
	}
	s.because(why)
	if err := s.answer(api.CopyState_COPY_STATE_CATCHING_UP); err != nil {
		return err
	}
	s.follows()
	return nil
}

// open opens a shard, which follows nothing yet and answers nobody.
func (w *Worker) open(ctx context.Context, number int) (*shard, error) {
	s, err := w.openShard(ctx, number)
	if err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(w.ctx)
	w.mu.Lock()
	w.shards = append(slices.Clone(w.shards), s)
	w.reconnect[number] = make(chan struct{}, 1)
	w.mu.Unlock()
	w.pool.attach(s)
	return s, nil
}

// follows begins to follow the log, until the shard is given up.
func (s *shard) follows() {
	s.running.Go(func() { s.follow(s.ctx) })
	s.running.Go(func() { s.checkpoints(s.ctx) })
	s.running.Go(func() { s.takeSnapshots(s.ctx) })
}

// answer begins to answer recalls, or goes on with it, unless the copy was suspected since it was in a state.
func (s *shard) answer(from api.CopyState) error {
	// The state comes first: a service of another state refuses.
	if !s.state.CompareAndSwap(int32(from), int32(api.CopyState_COPY_STATE_SERVING)) {
		return nil
	}
	if s.serving.Load() == nil {
		v, err := s.serve()
		if err != nil {
			s.suspect()
			return err
		}
		s.serving.Store(v)
	}
	s.metrics.Serving.Set(1)
	s.w.announce()
	return nil
}

// answers tells whether it does.
func (s *shard) answers() bool { return s.serving.Load() != nil && s.fresh() }

// fresh tells whether what is asked of the copy is answered: another copy may be fresher otherwise.
func (s *shard) fresh() bool {
	return api.CopyState(s.state.Load()) == api.CopyState_COPY_STATE_SERVING
}

// suspect has a copy answer no reads until it was found to be fresh, and lets others know.
func (s *shard) suspect() {
	s.state.Store(int32(api.CopyState_COPY_STATE_CATCHING_UP))
	s.metrics.Serving.Set(0)
	s.w.announce()
}

// silence ends that: requests that have come are answered.
func (s *shard) silence() error {
	v := s.serving.Swap(nil)
	if v == nil {
		return nil
	}
	s.metrics.Serving.Set(0)
	return v.stop()
}

// because notes why the worker has the copy.
func (s *shard) because(reason string) { s.reason.Store(&reason) }

// announce tells the other workers what this one answers for.
func (w *Worker) announce() {
	if w.Group == nil {
		return
	}
	w.Group.Update(func(m *membership.Member) {
		// Read in here, so that of two calls the later one has the later state.
		m.Serving = nil
		for _, s := range w.held() {
			if s.answers() && !s.leaving.Load() {
				m.Serving = append(m.Serving, s.number)
			}
		}
		slices.Sort(m.Serving)
	})
}

// leave tells the other workers that this one is gone.
func (w *Worker) leave() error {
	if w.Group == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := w.Group.Leave(ctx); err != nil {
		w.Logger.Warn().Err(err).Msg("the other workers find out that this one is gone by its silence")
	}
	return nil
}

// leaveTimeout bounds saying that the worker is gone, which others notice without.
const leaveTimeout = 2 * time.Second

// release gives up a shard: it answers what has come, and its files stay as they are, for the case that it comes back. An error
// is of the files, which are then as after the death of the process.
func (w *Worker) release(s *shard) error {
	errs := []error{s.silence()}
	w.announce()
	s.cancel()
	s.running.Wait()
	// What is in the lanes is of this shard; index workers apply it, whatever becomes of the shard.
	if err := s.drained(w.ctx); err != nil {
		return errors.Join(append(errs, err)...) // the worker is being closed, and closes the shard
	}
	w.pool.detach(s)
	w.mu.Lock()
	w.shards = slices.DeleteFunc(slices.Clone(w.shards), func(other *shard) bool { return other == s })
	delete(w.reconnect, s.number)
	if name, ok := w.polled[s.number]; ok && w.JetStreamMetrics != nil {
		w.JetStreamMetrics.RemoveConsumer(bus.LogStream(s.number), name)
	}
	delete(w.polled, s.number)
	w.mu.Unlock()
	errs = append(errs, s.close())
	if w.Group.Err() != nil {
		return errors.Join(errs...) // the consumer is that of the worker that has the name now
	}
	ctx, cancel := context.WithTimeout(w.ctx, leaveTimeout)
	defer cancel()
	// One that stays goes by itself after a day, and shows a lag until then.
	if err := bus.DeleteWorkerConsumer(ctx, w.JetStream, s.number, w.Config.Name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		errs = append(errs, fmt.Errorf("giving up shard %d: %w", s.number, err))
	}
	return errors.Join(errs...)
}
