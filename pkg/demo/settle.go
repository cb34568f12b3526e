package demo

import (
	"context"
	"fmt"
	"time"
)

const (
	// settleTimeout is how long the number of searchable observations may stand still.
	settleTimeout = 30 * time.Second
	// settlePoll is between two counts, and so the precision of Result.Seconds.
	settlePoll = 10 * time.Millisecond
)

// settled is when the last observation was found to be searchable, and how many are.
type settled struct {
	at         time.Time
	searchable int
}

// settle waits until as many observations are searchable as were accepted. It gives up when their number has not grown
// for as long as timeout; a count that fails is tried again until then.
func settle(ctx context.Context, accepted int, timeout time.Duration, count func(context.Context) (int, error)) (settled, error) {
	found, since := 0, time.Now()
	for {
		n, err := count(ctx)
		now := time.Now()
		switch late := now.Sub(since) > timeout; {
		case ctx.Err() != nil:
			return settled{}, ctx.Err()
		case err == nil && n == accepted:
			return settled{at: now, searchable: n}, nil
		case err == nil && n > accepted:
			return settled{}, fmt.Errorf("%d observations are searchable, and only %d were accepted", n, accepted)
		case err == nil && n > found:
			found, since = n, now
		case late && err != nil:
			return settled{}, fmt.Errorf("counting what is searchable: %w", err)
		case late:
			return settled{}, fmt.Errorf("of %d accepted observations %d are searchable, and no more became so for %v", accepted, found, timeout)
		}
		if err := pause(ctx, settlePoll); err != nil {
			return settled{}, err
		}
	}
}
