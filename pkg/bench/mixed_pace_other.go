//go:build !linux

package bench

import (
	"context"
	"time"
)

// pace waits for events at a steady rate, by the runtime's timers.
type pace struct {
	due   time.Time
	every time.Duration
}

func newPace(every time.Duration) (*pace, error) { return &pace{due: time.Now(), every: every}, nil }

// wait returns when the next event is due, which may be past; ok is false when ctx has ended.
func (p *pace) wait(ctx context.Context) (due time.Time, ok bool, err error) {
	p.due = p.due.Add(p.every)
	t := time.NewTimer(time.Until(p.due))
	defer t.Stop()
	select {
	case <-t.C:
		return p.due, true, nil
	case <-ctx.Done():
		return p.due, false, nil
	}
}

func (p *pace) close() error { return nil }
