package session

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
)

// stuckStore is a store that is away, once it is told to be: its writes end with their contexts.
type stuckStore struct {
	*memory
	away atomic.Bool
}

func (s *stuckStore) Save(ctx context.Context, id string, state *api.SessionState, revision uint64) (uint64, error) {
	if s.away.Load() {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return s.memory.Save(ctx, id, state, revision)
}

func (s *stuckStore) Delete(ctx context.Context, id string, revision uint64) error {
	if s.away.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.memory.Delete(ctx, id, revision)
}

// A bucket that does not answer keeps no gateway from ending in time, however many states are to be written.
func TestDrainWithoutBucket(t *testing.T) {
	store := &stuckStore{memory: newMemory()}
	f := start(t, store.memory, newLog(), func(o *Options) { o.Store = store })
	for range 3 * savers {
		p, _ := f.serve(t)
		p.open(t, &api.StreamInit{})
		p.send(t, frame(1, 1)) // so that there is something to save
		p.next(t)
	}
	store.away.Store(true)
	opening, _ := f.serve(t) // its init waits for the bucket, too
	opening.send(t, &api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Init{Init: &api.StreamInit{}}})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := f.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("draining: %v", err)
	}
	if took := time.Since(begin); took > storeTimeout-time.Second {
		t.Errorf("it took %v", took)
	}
	if f.Count() != 0 || f.Memory() != 0 {
		t.Errorf("%d streams and %d bytes are left", f.Count(), f.Memory())
	}
}
