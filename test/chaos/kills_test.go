//go:build chaos

package chaos

import (
	"context"
	"testing"
	"time"

	"github.com/engram-memory/engram/test/chaos/load"
)

// rounds is how often a fault is repeated.
func rounds(short, longer int) int {
	if *long {
		return longer
	}
	return short
}

// A worker is killed at a random moment and started again, and the next one, again and again.
func TestWorkerKilled(t *testing.T) {
	(&fault{name: "a worker killed, again and again", inject: func(ctx context.Context, s *scene) (since time.Time, err error) {
		for range rounds(4, 40) {
			victim := workers[s.random.IntN(len(workers))]
			since = time.Now()
			if err := s.killed(ctx, victim); err != nil {
				return since, err
			}
		}
		return since, nil
	}}).run(t)
}

// A gateway is killed while batches are on their way through it, and then the other one.
func TestGatewayKilled(t *testing.T) {
	(&fault{name: "a gateway killed mid-batch", inject: func(ctx context.Context, s *scene) (since time.Time, err error) {
		for i := range rounds(4, 40) {
			since = time.Now()
			if err := s.killed(ctx, gateways[i%2]); err != nil {
				return since, err
			}
		}
		return since, nil
	}}).run(t)
}

// The server that leads a log is killed.
func TestNATSLeaderKilled(t *testing.T) {
	(&fault{name: "the NATS leader of a log killed", mayFail: true, inject: func(ctx context.Context, s *scene) (since time.Time, err error) {
		for range rounds(2, 20) {
			leader, err := s.leader(ctx, s.random.IntN(shards))
			if err != nil {
				return since, err
			}
			since = time.Now()
			if err := s.killed(ctx, leader); err != nil {
				return since, err
			}
			if err := s.Healthy(ctx, time.Minute, leader); err != nil {
				return since, err
			}
		}
		return since, nil
	}}).run(t)
}

// killed kills a container, leaves it dead for a moment, and starts it.
func (s *scene) killed(ctx context.Context, service string) error {
	s.t.Logf("killing %s", service)
	if err := s.Kill(ctx, service); err != nil {
		return err
	}
	if err := load.Pause(ctx, time.Duration(s.random.IntN(1500))*time.Millisecond); err != nil {
		return err
	}
	if err := s.Start(ctx, service); err != nil {
		return err
	}
	return load.Pause(ctx, time.Duration(2000+s.random.IntN(3000))*time.Millisecond)
}

// Everything loses its power at once, and gets it back.
func TestAllStopped(t *testing.T) {
	(&fault{name: "all containers killed at once and started", mayFail: true, recovery: 2 * time.Minute, inject: func(ctx context.Context, s *scene) (since time.Time, err error) {
		for range rounds(1, 5) {
			if err := s.Kill(ctx, all...); err != nil {
				return since, err
			}
			if err := load.Pause(ctx, 2*time.Second); err != nil {
				return since, err
			}
			since = time.Now()
			if err := s.Start(ctx, all...); err != nil {
				return since, err
			}
			if err := s.Healthy(ctx, 2*time.Minute, all...); err != nil {
				return since, err
			}
		}
		return since, nil
	}}).run(t)
}

// A worker loses its disk.
func TestWorkerWiped(t *testing.T) {
	(&fault{name: "a worker's disk wiped", inject: func(ctx context.Context, s *scene) (since time.Time, err error) {
		for i := range rounds(1, 6) {
			victim := workers[i%len(workers)]
			since = time.Now()
			if err := s.Kill(ctx, victim); err != nil {
				return since, err
			}
			if err := s.Wipe(ctx, victim); err != nil {
				return since, err
			}
			if err := s.Start(ctx, victim); err != nil {
				return since, err
			}
			if err := s.Healthy(ctx, time.Minute, victim); err != nil {
				return since, err
			}
		}
		return since, nil
	}}).run(t)
}

// Every container is stopped as an operator does for another version, and started again, one after the other.
func TestRollingUpgrade(t *testing.T) {
	(&fault{name: "everything restarted, one after the other", inject: func(ctx context.Context, s *scene) (since time.Time, err error) {
		for range rounds(1, 5) {
			for _, service := range all {
				s.t.Logf("restarting %s", service)
				if err := s.Stop(ctx, time.Minute, service); err != nil {
					return since, err
				}
				if err := s.Start(ctx, service); err != nil {
					return since, err
				}
				if err := s.Healthy(ctx, time.Minute, service); err != nil {
					return since, err
				}
			}
		}
		return time.Now(), nil
	}}).run(t)
}
