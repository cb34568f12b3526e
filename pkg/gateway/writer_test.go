package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/queue"
)

// Who waits for a space waits for what it has of high priority, waiting or under way, and for nothing where there is none.
func TestSettled(t *testing.T) {
	s := newSimulated(t)
	high := &batcher{
		cfg: BatchConfig{MaxSize: 10, MaxBytes: 1 << 20}, state: s.shardState, queue: queue.NewFair[string, *group](turnBytes),
		filled: make(chan struct{}, 1),
	}
	w := &writer{high: high}
	deadline := time.Now().Add(time.Minute)
	if err := w.settled(t.Context(), "a", deadline); err != nil {
		t.Errorf("with nothing under way: %v", err)
	}
	// With a context that has ended it tells that it would wait.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	observed := 0
	if !high.submit(&group{space: "a", deadline: deadline, done: func([]bus.Outcome) { observed++ }}) {
		t.Fatal("a batcher that is open took nothing")
	}
	if err := w.settled(ended, "a", deadline); !errors.Is(err, context.Canceled) {
		t.Errorf("with a group that waits: %v", err)
	}
	batch := high.take()
	if err := w.settled(ended, "a", deadline); len(batch) != 2 || !errors.Is(err, context.Canceled) {
		t.Errorf("with a batch of %d under way: %v", len(batch), err)
	}
	high.publish(batch)
	high.publish(high.take())
	if observed != 1 || s.failing != (time.Time{}) {
		t.Errorf("%d groups were settled; writes fail since %v, without one", observed, s.failing)
	}
	high.look()
	if err := w.settled(ended, "a", deadline); err != nil {
		t.Errorf("when all is settled: %v", err)
	}

	high.submit(&group{space: "a", deadline: deadline, done: func([]bus.Outcome) {}})
	high.closed = true
	if err := w.settled(t.Context(), "a", deadline); !errors.Is(err, errClosed) {
		t.Errorf("of a batcher that is closed: %v", err)
	}
}
