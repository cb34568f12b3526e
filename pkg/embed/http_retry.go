package embed

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	firstPause   = 250 * time.Millisecond // before the second attempt; doubled for each after it
	longestPause = 10 * time.Second
	// longestAsked is the longest Retry-After that is waited for: a service that asks for more is as good as down.
	longestAsked = 2 * time.Minute
)

// transient wraps an error after which the same request may succeed.
type transient struct {
	err   error
	after time.Duration // the pause that the service asked for, 0 when it did not
}

func (t *transient) Error() string { return t.err.Error() }
func (t *transient) Unwrap() error { return t.err }

// retry calls attempt until it succeeds, fails for good, or attempts or time run out.
func (h *HTTP) retry(ctx context.Context, attempt func(context.Context) ([]byte, error)) ([]byte, error) {
	for n := 0; ; n++ {
		answer, err := h.once(ctx, attempt)
		if err == nil {
			return answer, nil
		}
		if cause := ctx.Err(); cause != nil {
			return nil, fmt.Errorf("%w in attempt %d (%w)", cause, n+1, err)
		}
		var again *transient
		if !errors.As(err, &again) {
			return nil, err
		}
		if h.cfg.MaxRetries == 0 {
			return nil, again.err
		}
		if n >= h.cfg.MaxRetries {
			return nil, fmt.Errorf("giving up after %d attempts: %w", n+1, again.err)
		}
		pause := h.pause(n, again.after)
		if again.after > longestAsked {
			return nil, fmt.Errorf("giving up, since the service asks to wait %s: %w", again.after, again.err)
		}
		// A pause that outlasts the caller's deadline would only make the error late.
		if deadline, ok := ctx.Deadline(); ok && h.now().Add(pause).After(deadline) {
			return nil, fmt.Errorf("giving up after %d attempts, since the next one, in %s, would be past the deadline: %w (%w)",
				n+1, pause, again.err, context.DeadlineExceeded)
		}
		if err := h.wait(ctx, pause); err != nil {
			return nil, fmt.Errorf("%w before attempt %d (%w)", err, n+2, again.err)
		}
	}
}

// once makes one attempt, within its timeout.
func (h *HTTP) once(ctx context.Context, attempt func(context.Context) ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	return attempt(ctx)
}

// pause returns how long to wait after the nth attempt, from 0: a doubled pause of which half is left to chance, so that
// clients which failed together do not come back together, and never less than what the service asked for.
func (h *HTTP) pause(n int, asked time.Duration) time.Duration {
	pause := longestPause
	if n < 16 {
		pause = min(firstPause<<n, longestPause)
	}
	pause = pause/2 + time.Duration(h.jitter()*float64(pause/2))
	return max(pause, asked)
}

// sleep waits for d, or for the end of ctx, whose error it returns then.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
