package load

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/test/chaos/history"
)

// verifyWithin is how long one read of the verification may take: what is left to be replayed is waited for.
const verifyWithin = 30 * time.Second

// Verify reads everything back at the highest position that anybody has seen, so often: each id, the list of each space, and the
// newest versions by their vectors, but for some shards. Several rounds reach several copies of a shard. The answers are in the ledger; the error is
// that of a read that had no answer.
func (l *Load) Verify(ctx context.Context, rounds int, without ...int) error {
	all := slices.Clone(l.spaces)
	for n, s := range l.shards {
		probed := &space{name: s.probed, shard: n}
		for i := range probeIDs {
			probed.ids = append(probed.ids, fmt.Sprint(i))
		}
		all = append(all, probed)
	}
	all = slices.DeleteFunc(all, func(s *space) bool { return slices.Contains(without, s.shard) })
	for round := range rounds {
		group, _ := errgroup.WithContext(ctx)
		group.SetLimit(4)
		for i, s := range all {
			group.Go(func() error {
				r := l.reader(3000 + round*len(all) + i)
				if err := r.everything(s); err != nil {
					return fmt.Errorf("reading space %s back: %w", s.name, err)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// everything reads a whole space.
func (r *reader) everything(s *space) error {
	s.mu.Lock()
	ids, versions := slices.Clone(s.ids), slices.Clone(s.versions)
	s.mu.Unlock()
	for part := range slices.Chunk(ids, 200) {
		if err := r.get(s, part, r.frontier(s), verifyWithin); err != nil {
			return err
		}
	}
	for _, v := range versions {
		if err := r.recall(s, v, r.frontier(s), verifyWithin); err != nil {
			return err
		}
	}
	return r.list(s)
}

// list pages through a space, all as of one position.
func (r *reader) list(s *space) error {
	at := r.frontier(s)
	a := r.begin("list of all", s, at)
	a.Complete = true
	limit := uint32(event.MaxList)
	return r.ask(a, at, verifyWithin, func(ctx context.Context, c caller, deadline uint32) error {
		var all []history.Hit
		req := &api.ListRequest{Limit: &limit, AtLeast: r.l.position(s.shard, at.sequence), DeadlineMs: deadline, Include: []string{"text"}}
		for {
			resp, err := c.List(ctx, s.name, req)
			if err != nil {
				return err
			}
			first := a.Applied
			if err := r.take(a, resp.GetObservations(), resp.GetApplied(), resp.GetStalenessMs()); err != nil {
				return err
			}
			if req.Cursor != "" {
				a.Applied = first // that of the page that says what the others are read as of
			}
			all = append(all, a.Hits...)
			if req.Cursor = resp.GetNext(); req.Cursor == "" {
				a.Hits = all
				return nil
			}
		}
	})
}

// Remaining is how many of the ids of a shard's spaces are still found, by reads that wait for nothing.
func (l *Load) Remaining(ctx context.Context, shard int) (n int, err error) {
	for _, s := range l.spaces {
		if s.shard != shard {
			continue
		}
		s.mu.Lock()
		ids := slices.Clone(s.ids)
		s.mu.Unlock()
		for part := range slices.Chunk(ids, 200) {
			_, err := attempt(ctx, l.ways.nats, 0, verifyWithin, readTry, func(ctx context.Context, c caller) error {
				resp, err := c.Get(ctx, s.name, &api.GetRequest{Ids: part, Include: []string{"none"}})
				if err == nil {
					n += len(resp.GetObservations())
				}
				return err
			})
			if err != nil {
				return n, fmt.Errorf("asking for what is left of %s: %w", s.name, err)
			}
		}
	}
	return n, nil
}
