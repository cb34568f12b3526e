package bench

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vector"
	"github.com/engram-memory/engram/pkg/wire"
)

// count asks the index for every observation of every space, and returns how many of those that were acknowledged are
// not there, and how many are there more than once or were never sent.
func count(ctx context.Context, c *client.Client, cfg *Config, src *source) (lost, duplicated int, err error) {
	seen := make([]uint8, cfg.Observations)
	for sp := range cfg.Spaces {
		before := ""
		limit := uint32(event.MaxList)
		for {
			resp, err := c.List(ctx, spaceName(sp), &api.ListRequest{Limit: &limit, Before: before, Include: []string{"none"}})
			if err != nil && wire.AsError(err).Code == wire.CodeUnknownSpace && !src.uses(sp) {
				break
			}
			if err != nil {
				return 0, 0, fmt.Errorf("listing space %s: %w", spaceName(sp), err)
			}
			for _, h := range resp.GetObservations() {
				var i int
				if _, err := fmt.Sscanf(h.GetId(), "r%d", &i); err != nil || i >= cfg.Observations || src.space(i) != sp {
					duplicated++
					continue
				}
				if seen[i]++; seen[i] > 1 {
					duplicated++
				}
				before = h.GetPosition()
			}
			if !resp.GetMore() {
				break
			}
		}
	}
	for _, n := range seen {
		if n == 0 {
			lost++
		}
	}
	return lost, duplicated, nil
}

// recallAt10 compares the answers to a sample of queries with a scan of the source's own vectors.
func recallAt10(ctx context.Context, c *client.Client, cfg *Config, src *source, q *queries) (float64, error) {
	if cfg.Truth == 0 {
		return 0, nil
	}
	rnd := rand.New(rand.NewPCG(cfg.Seed, 4))
	type asked struct {
		query []float32
		best  []neighbour
		space int
	}
	all := make([]asked, cfg.Truth)
	bySpace := map[int][]*asked{}
	for i := range all {
		v, err := q.vector(rnd)
		if err != nil {
			return 0, err
		}
		// The space of a random row: under zipf some spaces have none.
		all[i] = asked{query: unit(v), space: src.space(rnd.IntN(cfg.Observations))}
		bySpace[all[i].space] = append(bySpace[all[i].space], &all[i])
	}
	var v []float32
	for i := range cfg.Observations {
		var err error
		if v, err = src.vector(i, v[:0]); err != nil {
			return 0, err
		}
		unit(v)
		for _, a := range bySpace[src.space(i)] {
			a.best = keep(a.best, neighbour{rowID(i), vector.Dot(a.query, v)})
		}
	}
	right, wanted := 0, 0
	for _, a := range all {
		resp, err := c.Recall(ctx, spaceName(a.space), recallRequest(a.query))
		if err != nil {
			return 0, fmt.Errorf("recalling from space %s: %w", spaceName(a.space), err)
		}
		wanted += len(a.best)
		for _, h := range resp.GetHits() {
			if slices.ContainsFunc(a.best, func(n neighbour) bool { return n.id == h.GetId() }) {
				right++
			}
		}
	}
	return float64(right) / float64(max(wanted, 1)), nil
}

type neighbour struct {
	id    string
	score float32
}

// keep inserts a neighbour into the ten best.
func keep(best []neighbour, n neighbour) []neighbour {
	if len(best) == 10 && n.score <= best[9].score {
		return best
	}
	i, _ := slices.BinarySearchFunc(best, n, func(a, b neighbour) int { return cmp.Compare(b.score, a.score) })
	best = slices.Insert(best, i, n)
	return best[:min(len(best), 10)]
}

func unit(v []float32) []float32 {
	if n := norm(v); n > 0 {
		for i := range v {
			v[i] /= n
		}
	}
	return v
}
