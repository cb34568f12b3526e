//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
)

// ledger is what the producers together had acknowledged.
type ledger struct {
	producers       []*producer
	live, forgotten map[string]bool // by space and id
	figures
}

func newLedger(producers []*producer) *ledger {
	l := &ledger{producers: producers, live: map[string]bool{}, forgotten: map[string]bool{}}
	for _, p := range producers {
		l.add(p.figures)
		for id, r := range p.ledger {
			if r.forgotten {
				l.forgotten[p.space+" "+id] = true
			} else {
				l.live[p.space+" "+id] = true
			}
		}
	}
	return l
}

// answered waits until each space is recalled: the last kill may have been a moment ago, and who lived through it is on
// the way back to nats-server.
func (l *ledger) answered(ctx context.Context, t *testing.T, c *client.Client) {
	t.Helper()
	for _, p := range l.producers {
		eventually(t, startTimeout, func() error {
			_, err := recallOwn(ctx, c, p.space, p.ledger[p.ids[0]].vector, "", askedDeadline)
			return err
		})
	}
}

// verify asks Engram for everything that was acknowledged, and for what was forgotten.
func (l *ledger) verify(ctx context.Context, t *testing.T, c *client.Client) {
	t.Helper()
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	findings := make([]findings, len(l.producers))
	for i, p := range l.producers {
		group.Go(func() error { return p.verify(ctx, c, &findings[i]) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	searchable := 0
	for i, p := range l.producers {
		searchable += findings[i].searchable
		for kind, ids := range findings[i].wrong {
			t.Errorf("%s: %d observations are %s, such as %v", p.space, len(ids), kind, ids[:min(len(ids), 5)])
		}
	}
	if searchable != len(l.live) {
		t.Errorf("%d observations were acknowledged and not forgotten, and %d are searchable", len(l.live), searchable)
	}
	t.Logf("%d acknowledged, %d searchable, %d forgotten; verified in %.1f s", len(l.live), searchable, len(l.forgotten), time.Since(began).Seconds())
}

// findings are what is wrong in one space, by kind.
type findings struct {
	searchable int // found by their own vectors
	wrong      map[string][]string
}

func (f *findings) note(kind, id string) {
	if f.wrong == nil {
		f.wrong = map[string][]string{}
	}
	f.wrong[kind] = append(f.wrong[kind], id)
}

const patience = 15 * time.Second

// verify goes through the space in all ways that there are: its count, its list, and each id by its vector.
func (p *producer) verify(ctx context.Context, c *client.Client, f *findings) error {
	live := 0
	for _, id := range p.ids {
		r := p.ledger[id]
		hits, err := recallOwn(ctx, c, p.space, r.vector, p.last, patience)
		if err != nil {
			return fmt.Errorf("recalling %s in %s: %w", id, p.space, err)
		}
		if unique(hits) != nil {
			f.note("in an answer twice", id)
		}
		for _, h := range hits {
			if other := p.ledger[h.GetId()]; other == nil || other.forgotten {
				f.note("found though they were forgotten or never sent", h.GetId())
			}
		}
		itself := len(hits) > 0 && hits[0].GetId() == id && hits[0].GetScore() > 0.9999
		switch {
		case r.forgotten:
			continue
		case itself:
			f.searchable++
		default:
			f.note("lost, or not in the version that was acknowledged last", id)
		}
		live++
	}
	if err := p.verifyList(ctx, c, f); err != nil {
		return err
	}
	info, err := c.Spaces(ctx, p.space)
	if err != nil {
		return fmt.Errorf("asking for the space %s: %w", p.space, err)
	}
	if s := info.GetSpaces(); len(s) != 1 || s[0].GetObservations() != uint64(live) {
		f.note(fmt.Sprintf("not counted right: %d live ones, and the space says", live), fmt.Sprint(s))
	}
	return nil
}

// verifyList pages through the space, which lists each living id once.
func (p *producer) verifyList(ctx context.Context, c *client.Client, f *findings) error {
	limit := uint32(event.MaxList)
	req := &api.ListRequest{Limit: &limit, AtLeast: p.last, DeadlineMs: uint32(patience.Milliseconds()), Include: []string{"none"}}
	listed := map[string]bool{}
	for {
		resp, err := c.List(ctx, p.space, req)
		if err != nil {
			return fmt.Errorf("listing %s: %w", p.space, err)
		}
		for _, h := range resp.GetObservations() {
			if listed[h.GetId()] {
				f.note("listed twice", h.GetId())
			}
			if r := p.ledger[h.GetId()]; r == nil || r.forgotten {
				f.note("listed though they were forgotten or never sent", h.GetId())
			}
			listed[h.GetId()] = true
			req.Before = h.GetPosition()
		}
		if !resp.GetMore() {
			break
		}
		if len(resp.GetObservations()) == 0 {
			return fmt.Errorf("listing %s: an empty page says that there is more", p.space)
		}
	}
	for id, r := range p.ledger {
		if !r.forgotten && !listed[id] {
			f.note("not listed", id)
		}
	}
	return nil
}
