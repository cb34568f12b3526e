package gateway

import (
	"testing"

	"github.com/engram-memory/engram/pkg/queue"
)

// Who waits for a space waits for what it has there now, and not for what comes, nor for other spaces.
func TestSettled(t *testing.T) {
	b := &batcher{queue: queue.NewFair[string, *group](turnBytes), spaces: map[string]*pending{}, filled: make(chan struct{}, 1)}
	submit := func(space string) *group {
		g := &group{space: space}
		if !b.submit(g) {
			t.Fatal("a batcher that is open took nothing")
		}
		return g
	}
	if b.settled("a") != nil {
		t.Error("there is something to wait for where there is nothing")
	}
	first, second, other := submit("a"), submit("a"), submit("b")
	done := b.settled("a")
	later := submit("a")
	for i, g := range []*group{other, second, first} {
		select {
		case <-done:
			t.Fatalf("settled when %d of three groups were", i)
		default:
		}
		b.leave(g)
	}
	select {
	case <-done:
	default:
		t.Error("not settled though all that were there are")
	}
	b.leave(later)
	if len(b.spaces) != 0 {
		t.Errorf("%d spaces are left", len(b.spaces))
	}
}
