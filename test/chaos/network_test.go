//go:build chaos

package chaos

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/engram-memory/engram/test/chaos/load"
)

// A worker hears nothing of NATS any more, nor NATS of it, while its connections stay open.
func TestWorkerPartitioned(t *testing.T) {
	(&fault{name: "a worker cut off from NATS", mayFail: true, inject: func(ctx context.Context, s *scene) (since time.Time, err error) {
		for i := range rounds(1, 5) {
			if err := s.Cut(ctx, workers[i%len(workers)], servers...); err != nil {
				return since, err
			}
			if err := load.Pause(ctx, last(15*time.Second, time.Minute)); err != nil {
				return since, err
			}
			if err := s.Heal(ctx, workers[i%len(workers)]); err != nil {
				return since, err
			}
			since = time.Now()
		}
		return since, nil
	}}).run(t)
}

// A server of NATS hears nothing of the others and of the daemons any more. Clients outside still reach it.
func TestNATSPartitioned(t *testing.T) {
	(&fault{name: "a NATS server cut off from the others and the daemons", mayFail: true, inject: func(ctx context.Context, s *scene) (since time.Time, err error) {
		for range rounds(1, 5) {
			leader, err := s.leader(ctx, s.random.IntN(shards))
			if err != nil {
				return since, err
			}
			if err := s.Cut(ctx, leader, slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == leader })...); err != nil {
				return since, err
			}
			if err := load.Pause(ctx, last(20*time.Second, 2*time.Minute)); err != nil {
				return since, err
			}
			if err := s.Heal(ctx, leader); err != nil {
				return since, err
			}
			since = time.Now()
		}
		return since, nil
	}}).run(t)
}

// Every packet of every container takes a tenth of a second, and one in fifty is lost.
func TestSlowNetwork(t *testing.T) {
	(&fault{name: "100 ms and 2 % loss on every link", mayFail: true, inject: func(ctx context.Context, s *scene) (since time.Time, err error) {
		for _, service := range all {
			by, err := s.Slow(ctx, service, 100*time.Millisecond, 0.02)
			if err != nil {
				return since, err
			}
			if service == all[0] {
				s.t.Logf("slowed down by %s", by)
			}
		}
		if err := load.Pause(ctx, last(20*time.Second, 5*time.Minute)); err != nil {
			return since, err
		}
		if err := s.Heal(ctx, all...); err != nil {
			return since, err
		}
		return time.Now(), nil
	}}).run(t)
}
