package worker

import (
	"context"
	"errors"

	"github.com/engram-memory/engram/pkg/filter"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/wire"
)

// match finds the observations that a forget by filter means: all that stand in the log before it, hold, and match. Everything
// before it is applied and nothing behind it is begun, so that every copy, and every replay, finds the same.
func (s *shard) match(ctx context.Context, store *vecstore.Shard, ev *vecstore.Event) (refused *wire.Error, err error) {
	f, err := s.w.filters.Compile(ev.Filter)
	if err != nil {
		return storeError(err), nil
	}
	for wait := soonestRetry; ; wait = min(2*wait, latestRetry) {
		ev.IDs = nil
		err := store.Walk(ctx, ev.Space, vecstore.Walk{Below: ev.Sequence, At: vecstore.All()}, func(row *vecstore.Row, _ func() (vecstore.Row, error)) (bool, error) {
			matches, err := f.Match(row.ID, row.Body)
			if matches {
				ev.IDs = append(ev.IDs, row.ID)
			}
			return true, err
		})
		var filtered *filter.Error
		switch {
		case err == nil:
			return nil, nil
		case errors.As(err, &filtered), errors.Is(err, vecstore.ErrUnknownSpace):
			return storeError(err), nil
		case ctx.Err() != nil || store.Usable() != nil:
			return nil, err
		}
		s.log.Error().Err(err).Msg("a forget by filter cannot read what it is about; the shard stands still until it can")
		if !sleep(ctx, wait) {
			return nil, ctx.Err()
		}
	}
}
