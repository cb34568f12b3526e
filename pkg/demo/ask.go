package demo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
)

const (
	// answers is how many hits a question gets.
	answers = 3
	// candidates is how many each space is asked for, since some of them are left out.
	candidates = 20
	// spacesAtOnce bounds the recalls of one question that run at the same time.
	spacesAtOnce = 16
)

// ask puts one question to its spaces at once and merges the answers by score. Spaces that share an embedder, a dimension
// and a metric, as all do here, have scores that compare.
func ask(ctx context.Context, c *client.Client, q question, existing []string) (Question, error) {
	spaces := q.spaces
	if len(spaces) == 0 {
		spaces = existing
	}
	found := make([][]Hit, len(spaces))
	began := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(spacesAtOnce)
	for i, space := range spaces {
		g.Go(func() error {
			k := uint32(candidates)
			resp, err := c.Recall(gctx, space, &api.RecallRequest{Text: q.text, K: &k})
			if err != nil {
				return fmt.Errorf("asking space %s %q: %w", space, q.text, err)
			}
			for _, h := range resp.GetHits() {
				if q.exported && h.GetMetadata()["exported"].GetString_() == "false" {
					continue
				}
				found[i] = append(found[i], Hit{
					ID: h.GetId(), Space: space, Score: float64(h.GetScore()), Text: h.GetText(),
					Source: h.GetMetadata()["source"].GetString_(),
				})
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return Question{}, err
	}
	return Question{Question: q.text, LatencyMS: round(milliseconds(time.Since(began))), Hits: best(found), asked: len(spaces)}, nil
}

// best merges the hits of several spaces. Of those with the same text, as a symbol has that is declared for several
// platforms, one stays.
func best(found [][]Hit) []Hit {
	all := slices.Concat(found...)
	slices.SortStableFunc(all, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Space, b.Space), cmp.Compare(a.ID, b.ID))
	})
	seen := map[string]bool{}
	out := []Hit{}
	for _, h := range all {
		if len(out) == answers {
			break
		}
		if !seen[h.Text] {
			seen[h.Text] = true
			h.Score = round(h.Score)
			out = append(out, h)
		}
	}
	return out
}
