//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

const (
	dimension = 32
	// tryTimeout bounds one try of a forget or a recall. A try that a killed process does not answer takes all of it.
	tryTimeout = 800 * time.Millisecond
	// askedDeadline is what a request asks the gateway for: less, so that its refusal still arrives.
	askedDeadline = 500 * time.Millisecond
)

// record is what the ledger says of one id.
type record struct {
	vector    []float32 // of the version that was acknowledged last
	forgotten bool      // a forget was acknowledged after it
}

// producer fills one space, one request after another, each sent again under the same write ids until it is
// acknowledged. Its ledger is then complete: what it does not hold is not in the space.
type producer struct {
	client *client.Client
	space  string
	random *rand.Rand
	// session makes the producer identify observations by session and sequence; otherwise each request has a key.
	session string
	// acknowledged is called at once when a request with observations is.
	acknowledged func(observations int)

	ledger map[string]*record
	ids    []string // in the order of their first acknowledgement
	last   string   // position of the newest acknowledged write
	figures
}

// figures are what producers count.
type figures struct {
	observed  int // writes of observations that were acknowledged, new versions included
	forgets   int // acknowledged forget requests
	retried   int // tries after the first
	duplicate int // results that said that an earlier try had been written
	verified  int // recalls while processes died that were answered, and rightly
	unheard   int // recalls that were not answered
}

func (f *figures) add(o figures) {
	f.observed += o.observed
	f.forgets += o.forgets
	f.retried += o.retried
	f.duplicate += o.duplicate
	f.verified += o.verified
	f.unheard += o.unheard
}

func newProducer(c *client.Client, number int, seed uint64, acknowledged func(int)) *producer {
	p := &producer{
		client: c, space: "kill-" + strconv.Itoa(number), random: rand.New(rand.NewPCG(seed, uint64(number))),
		ledger: map[string]*record{}, acknowledged: acknowledged,
	}
	if number%2 == 1 {
		p.session = p.space + "-session"
	}
	return p
}

// run observes n ids in small batches, and now and then a new version of an old one, or a forget. pace is called before
// each batch with the share that is done.
func (p *producer) run(ctx context.Context, n int, pace func(context.Context, *rand.Rand, float64) error) error {
	for requests := 0; len(p.ids) < n; requests++ {
		if err := pace(ctx, p.random, float64(len(p.ids))/float64(n)); err != nil {
			return err
		}
		if err := p.batch(ctx, requests, min(1+p.random.IntN(25), n-len(p.ids))); err != nil {
			return fmt.Errorf("%s: %w", p.space, err)
		}
		if p.random.IntN(20) == 0 {
			if err := p.forget(ctx, requests); err != nil {
				return fmt.Errorf("%s: %w", p.space, err)
			}
		}
	}
	return nil
}

// batch observes size new ids, and a new version of each of up to two old ones, forgotten ones too.
func (p *producer) batch(ctx context.Context, number, size int) error {
	req := &api.ObserveRequest{DeadlineMs: uint32(askedDeadline.Milliseconds()), IdempotencyKey: p.space + "-" + strconv.Itoa(number)}
	var ids []string
	var vectors [][]float32
	add := func(id string) {
		v := make([]float32, dimension)
		for i := range v {
			v[i] = float32(p.random.NormFloat64())
		}
		o := &api.Observation{Id: id, Embedding: &api.Embedding{Data: event.AppendF32(nil, v), Encoding: api.Encoding_ENCODING_F32}}
		if p.session != "" {
			o.Session, o.Sequence = p.session, uint64(p.observed+len(ids)+1)
			if id == "" {
				id = p.session + ":" + strconv.FormatUint(o.Sequence, 10)
			}
		}
		if p.random.IntN(10) == 0 {
			o.Priority = api.Priority_PRIORITY_HIGH
		}
		req.Observations, ids, vectors = append(req.Observations, o), append(ids, id), append(vectors, v)
	}
	for i := range size {
		if p.session != "" {
			add("") // the gateway names it
		} else {
			add(p.space + "/" + strconv.Itoa(len(p.ids)+i))
		}
	}
	if old := len(p.ids); old > 0 && p.random.IntN(5) == 0 {
		add(p.ids[p.random.IntN(old/2+1)])
		if newer := old/2 + 1; newer < old {
			add(p.ids[newer+p.random.IntN(old-newer)])
		}
	}
	if p.random.IntN(10) == 0 {
		req.Acknowledgement = api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE
	}
	results, err := p.observe(ctx, req)
	if err != nil {
		return err
	}
	for i, r := range results {
		if r.GetId() != ids[i] || r.GetPosition() == "" {
			return fmt.Errorf("the acknowledgement of %s is %v", ids[i], r)
		}
		if r.GetDuplicate() {
			p.duplicate++
		}
		if p.ledger[ids[i]] == nil {
			p.ids = append(p.ids, ids[i])
		}
		p.ledger[ids[i]] = &record{vector: vectors[i]}
		p.last = r.GetPosition()
	}
	p.observed += len(results)
	if p.random.IntN(6) == 0 {
		i := p.random.IntN(len(ids))
		return p.readBack(ctx, ids[i], vectors[i])
	}
	return nil
}

// observe sends a request until each of its observations is acknowledged.
func (p *producer) observe(ctx context.Context, req *api.ObserveRequest) (results []*api.ObserveResult, err error) {
	// The client has the time of many tries: it is to bound each by the request's own deadline.
	err = p.retry(ctx, 20*time.Second, func(ctx context.Context) error {
		resp, err := p.client.ObserveRetrying(ctx, p.space, req, func(*wire.Error) { p.retried++ })
		if err != nil {
			return err
		}
		if n := len(resp.GetResults()); n != len(req.GetObservations()) {
			return fmt.Errorf("%d results for %d observations", n, len(req.GetObservations()))
		}
		for _, r := range resp.GetResults() {
			if e := wire.FromProto(r.GetError()); e != nil {
				return e
			}
		}
		p.acknowledged(len(resp.GetResults()))
		results = resp.GetResults()
		return nil
	})
	return results, err
}

// forget takes back up to 20 ids, each of which was acknowledged.
func (p *producer) forget(ctx context.Context, number int) error {
	req := &api.ForgetRequest{
		IdempotencyKey: p.space + "-forget-" + strconv.Itoa(number), DeadlineMs: uint32(askedDeadline.Milliseconds()),
	}
	for range 1 + p.random.IntN(20) {
		req.Ids = append(req.Ids, p.ids[p.random.IntN(len(p.ids))])
	}
	err := p.retry(ctx, tryTimeout, func(ctx context.Context) error {
		resp, err := p.client.Forget(ctx, p.space, req)
		if err == nil {
			p.last = resp.GetPosition()
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range req.GetIds() {
		p.ledger[id].forgotten = true
	}
	p.forgets++
	return nil
}

// retry repeats a request, each try within its time, for as long as it fails for a reason that passes.
func (p *producer) retry(ctx context.Context, within time.Duration, try func(context.Context) error) error {
	for {
		limited, cancel := context.WithTimeout(ctx, within)
		err := try(limited)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w; the last try: %w", ctx.Err(), err)
		}
		if !passes(err) {
			return err
		}
		p.retried++
		// A refusal may come at once, and so would the next.
		pause := time.NewTimer(20 * time.Millisecond)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// passes tells the failures that killed processes cause from those that nothing should.
func passes(err error) bool {
	var e *wire.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case wire.CodeUnavailable, wire.CodeDeadline, wire.CodeBackpressure:
		return true
	}
	return false
}

// readBack asks for what was just acknowledged. There may be nobody to answer at this moment, but an answer must be right.
func (p *producer) readBack(ctx context.Context, id string, vector []float32) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	hits, err := recallOwn(ctx, p.client, p.space, vector, p.last, askedDeadline)
	switch {
	case err != nil && passes(err):
		p.unheard++
		return nil
	case err != nil:
		return fmt.Errorf("reading %s back at %s: %w", id, p.last, err)
	case len(hits) == 0 || hits[0].GetId() != id:
		return fmt.Errorf("reading %s back at %s gave %v", id, p.last, hits)
	}
	p.verified++
	return unique(hits)
}

// recallOwn asks for the nearest three of a vector that is in the space itself, once a position is searchable.
func recallOwn(ctx context.Context, c *client.Client, space string, vector []float32, atLeast string, wait time.Duration) ([]*api.Hit, error) {
	k := uint32(3)
	resp, err := c.Recall(ctx, space, &api.RecallRequest{
		Embedding: &api.Embedding{Data: event.AppendF32(nil, vector), Encoding: api.Encoding_ENCODING_F32},
		K:         &k, AtLeast: atLeast, DeadlineMs: uint32(wait.Milliseconds()), Include: []string{"none"},
	})
	if err != nil {
		return nil, err
	}
	return resp.GetHits(), nil
}

func unique(hits []*api.Hit) error {
	seen := map[string]bool{}
	for _, h := range hits {
		if seen[h.GetId()] {
			return fmt.Errorf("%s is there twice: %v", h.GetId(), hits)
		}
		seen[h.GetId()] = true
	}
	return nil
}
