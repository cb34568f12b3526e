package load

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
	"github.com/engram-memory/engram/test/chaos/history"
)

const (
	// readWithin is a client's deadline: a read that has no answer by then counts as failed.
	readWithin = 5 * time.Second
	// readTry is how long it waits for one copy before it asks again.
	readTry = 1200 * time.Millisecond
)

// reader is one client that reads. It remembers what it has seen, and asks for no less.
type reader struct {
	l      *Load
	client int
	random *rand.Rand
	seen   map[int]uint64 // by shard
	// impatient readers have less than a client's deadline: what they do not get is no failed read.
	impatient bool
}

func (l *Load) reader(number int) *reader {
	return &reader{l: l, client: number, random: l.random(number, 1), seen: map[int]uint64{}}
}

func (r *reader) run(ctx context.Context) {
	for Pause(ctx, time.Duration(r.random.ExpFloat64()*float64(r.l.cfg.Pause))) == nil {
		s := r.l.pick(r.random)
		switch r.random.IntN(6) {
		case 0:
			r.get(s, s.some(r.random, 1+r.random.IntN(10)), r.frontier(s), readWithin)
		case 1:
			r.get(s, s.some(r.random, 1+r.random.IntN(10)), r.again(s), readWithin)
		case 2:
			r.page(s)
		case 3:
			r.recall(s, s.version(r.random), r.frontier(s), readWithin)
		default:
			r.recall(s, s.version(r.random), since{}, readWithin)
		}
	}
}

// since is what a read waits for.
type since struct {
	sequence uint64
	frontier bool
}

// frontier waits for all that anybody has seen.
func (r *reader) frontier(s *space) since { return since{r.l.shards[s.shard].frontier.Load(), true} }

// again waits for what this client has seen.
func (r *reader) again(s *space) since { return since{r.seen[s.shard], false} }

// some draws ids.
func (s *space) some(random *rand.Rand, n int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	drawn := map[string]bool{}
	for range n {
		drawn[s.ids[random.IntN(len(s.ids))]] = true
	}
	var ids []string
	for id := range drawn {
		ids = append(ids, id)
	}
	return ids
}

// version draws one that was accepted.
func (s *space) version(random *rand.Rand) history.Hit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.versions[random.IntN(len(s.versions))]
}

// readBack reads what this client has just written.
func (r *reader) readBack(s *space, w *history.Write) {
	own := since{sequence: w.Position}
	if r.random.IntN(2) == 0 {
		r.get(s, []string{w.ID}, own, readWithin)
	} else {
		r.recall(s, history.Hit{ID: w.ID, Version: w.Number, Position: w.Position}, own, readWithin)
	}
}

// get asks for ids; what is not in the answer is not there.
func (r *reader) get(s *space, ids []string, at since, within time.Duration) error {
	a := r.begin("get", s, at)
	a.Asked = ids
	return r.ask(a, at, within, func(ctx context.Context, c caller, deadline uint32) error {
		resp, err := c.Get(ctx, s.name, &api.GetRequest{Ids: ids, AtLeast: r.l.position(s.shard, at.sequence), DeadlineMs: deadline, Include: []string{"text"}})
		if err != nil {
			return err
		}
		return r.take(a, resp.GetObservations(), resp.GetApplied(), resp.GetStalenessMs())
	})
}

// recall looks for a version by its own vector.
func (r *reader) recall(s *space, wanted history.Hit, at since, within time.Duration) error {
	a := r.begin("recall", s, at)
	k := uint32(3)
	return r.ask(a, at, within, func(ctx context.Context, c caller, deadline uint32) error {
		resp, err := c.Recall(ctx, s.name, &api.RecallRequest{
			Embedding: r.l.vector(wanted.Version), K: &k, AtLeast: r.l.position(s.shard, at.sequence), DeadlineMs: deadline, Include: []string{"text"},
		})
		if err != nil {
			return err
		}
		a.Wanted = nil
		if resp.GetExact() { // where a graph was searched, one may be overlooked
			a.Wanted = &wanted
		}
		return r.take(a, resp.GetHits(), resp.GetApplied(), resp.GetStalenessMs())
	})
}

// page lists the newest.
func (r *reader) page(s *space) error {
	at := r.again(s)
	a := r.begin("list", s, at)
	limit := uint32(50)
	return r.ask(a, at, readWithin, func(ctx context.Context, c caller, deadline uint32) error {
		resp, err := c.List(ctx, s.name, &api.ListRequest{Limit: &limit, AtLeast: r.l.position(s.shard, at.sequence), DeadlineMs: deadline, Include: []string{"text"}})
		if err != nil {
			return err
		}
		a.Complete = !resp.GetMore()
		return r.take(a, resp.GetObservations(), resp.GetApplied(), resp.GetStalenessMs())
	})
}

func (r *reader) begin(how string, s *space, at since) *history.Answer {
	return &history.Answer{Client: r.client, How: how, Space: s.name, Shard: s.shard, Call: r.l.now(), AtLeast: at.sequence, Frontier: at.frontier}
}

// ask asks until there is an answer, and puts it, or that there is none, into the ledger.
func (r *reader) ask(a *history.Answer, at since, within time.Duration, ask func(context.Context, caller, uint32) error) error {
	callers, over := r.l.ways.transport(r.random.IntN(2) == 0)
	a.How += " over " + over
	_, err := attempt(context.Background(), callers, r.random.IntN(len(callers)), within, readTry, func(ctx context.Context, c caller) error {
		return ask(ctx, c, uint32((readTry - 200*time.Millisecond).Milliseconds()))
	})
	a.Return = r.l.now()
	if err != nil {
		a.Error = err.Error()
		r.l.failed(a.How, err)
	} else {
		top := max(a.Applied, at.sequence)
		for _, h := range a.Hits {
			top = max(top, h.Position)
		}
		r.seen[a.Shard] = max(r.seen[a.Shard], top)
		r.l.saw(a.Shard, top)
	}
	if err == nil || !r.impatient {
		r.l.ledger.Answer(*a)
	}
	return err
}

// take reads an answer.
func (r *reader) take(a *history.Answer, hits []*api.Hit, applied string, stalenessMS float64) error {
	p, err := event.ParsePosition(applied)
	if err != nil {
		return wire.Errorf(wire.CodeUnavailable, "", "the answer is of no position: %v", err)
	}
	a.Applied, a.Staleness, a.Hits = p.Sequence, time.Duration(stalenessMS*float64(time.Millisecond)), nil
	for _, h := range hits {
		version, err := strconv.ParseUint(strings.TrimPrefix(h.GetText(), "v"), 10, 64)
		if err != nil {
			return wire.Errorf(wire.CodeMalformed, "text", "%q is no version: %v", h.GetText(), err)
		}
		sequence, err := r.l.sequence(h.GetPosition())
		if err != nil {
			return wire.Errorf(wire.CodeInvalidPosition, "position", "%v", err)
		}
		a.Hits = append(a.Hits, history.Hit{ID: h.GetId(), Version: version, Position: sequence})
	}
	return nil
}
