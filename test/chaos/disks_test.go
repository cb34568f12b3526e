//go:build chaos

package chaos

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/engram-memory/engram/test/chaos/load"
)

// A worker's disk is full to the last byte for a while.
func TestWorkerDiskFull(t *testing.T) {
	(&fault{name: "a worker's disk full", inject: func(ctx context.Context, s *scene) (since time.Time, err error) {
		if err := s.Fill(ctx, "worker-3"); err != nil {
			return since, err
		}
		err = load.Pause(ctx, last(15*time.Second, 2*time.Minute))
		since = time.Now()
		if e := s.Empty(ctx, "worker-3"); e != nil {
			return since, e
		}
		return since, err
	}}).run(t)
}

// The disk of a NATS server is full to the last byte for a while. Its store stays failed until it is restarted, which is what
// docs/RELIABILITY.md says to do.
func TestNATSDiskFull(t *testing.T) {
	(&fault{name: "a NATS server's disk full", inject: func(ctx context.Context, s *scene) (since time.Time, err error) {
		if err := s.Fill(ctx, "nats-3"); err != nil {
			return since, err
		}
		err = load.Pause(ctx, last(15*time.Second, 2*time.Minute))
		if e := s.Empty(ctx, "nats-3"); e != nil || err != nil {
			return since, e
		}
		s.t.Logf("nats-3, whose disk was full:\n%s", s.Logs(ctx, "nats-3", 10))
		if err := s.Kill(ctx, "nats-3"); err != nil {
			return since, err
		}
		if err := s.Start(ctx, "nats-3"); err != nil {
			return since, err
		}
		return time.Now(), s.Healthy(ctx, time.Minute, "nats-3")
	}}).run(t)
}

// A worker is given back files that it had some time ago.
func TestOldBackupRestored(t *testing.T) {
	(&fault{name: "an old backup of a worker's disk restored", inject: func(ctx context.Context, s *scene) (since time.Time, err error) {
		const worker = "worker-1"
		backup := filepath.Join(s.dir, "backup")
		steps := []func() error{
			func() error { return s.Kill(ctx, worker) },
			func() error { return s.Backup(ctx, worker, backup) },
			func() error { return s.Start(ctx, worker) },
			func() error { return s.Healthy(ctx, time.Minute, worker) },
			func() error { return load.Pause(ctx, last(5*time.Second, time.Minute)) },
			func() error { since = time.Now(); return s.Kill(ctx, worker) },
			func() error { return s.Restore(ctx, worker, backup) },
			func() error { return s.Start(ctx, worker) },
			func() error { return s.Healthy(ctx, time.Minute, worker) },
		}
		for _, step := range steps {
			if err := step(); err != nil {
				return since, err
			}
		}
		return since, nil
	}}).run(t)
}
