//go:build chaos

package chaos

import (
	"context"
	"testing"
	"time"

	"github.com/engram-memory/engram/test/chaos/history"
	"github.com/engram-memory/engram/test/chaos/load"
)

// A worker's clock is a minute ahead, and then a minute behind. What answers say of their age comes from one clock: none of them is
// a minute old.
func TestClockSkew(t *testing.T) {
	const skew = time.Minute
	(&fault{name: "a worker's clock wrong by a minute", inject: func(ctx context.Context, s *scene) (since time.Time, err error) {
		for _, offset := range []time.Duration{skew, -skew, 0} {
			s.t.Logf("the clock of worker-2 is off by %v", offset)
			if err := s.compose(ctx, []string{"CHAOS_CLOCK_OFFSET=" + offset.String()}, "up", "--detach", "--no-build", "--no-deps", "worker-2"); err != nil {
				return since, err
			}
			since = time.Now()
			if err := s.Healthy(ctx, time.Minute, "worker-2"); err != nil {
				return since, err
			}
			if err := load.Pause(ctx, last(5*time.Second, time.Minute)); err != nil {
				return since, err
			}
		}
		return since, nil
	}, judge: func(t *testing.T, _ *scene, r *history.Report) {
		if r.SaidStaleness > skew/2 {
			t.Errorf("an answer says that it is %v old, with a clock that is off by %v", r.SaidStaleness, skew)
		}
	}}).run(t)
}
