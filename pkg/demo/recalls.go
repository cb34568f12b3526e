package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/wire"
)

const (
	// recallInterval gives 50 recalls a second.
	recallInterval = 20 * time.Millisecond
	// recallsAtOnce bounds the recalls that wait for their answer. One that has to wait before it is asked is timed from
	// when it should have been.
	recallsAtOnce = 32
	// maxTopics bounds what is remembered to ask about.
	maxTopics = 4096
)

// topic is something that can be asked: the opening words of a document, in its space.
type topic struct{ space, query string }

// topics are the spaces that exist and questions for them. The zero value is ready.
type topics struct {
	mu     sync.Mutex
	known  map[string]bool
	spaces []string
	asks   []topic
}

// add notes a space that exists from now on, and a question for it, which may be empty.
func (t *topics) add(space, query string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.known[space] {
		if t.known == nil {
			t.known = map[string]bool{}
		}
		t.known[space] = true
		t.spaces = append(t.spaces, space)
	}
	if query != "" && len(t.asks) < maxTopics {
		t.asks = append(t.asks, topic{space, query})
	}
}

// names returns the spaces that exist.
func (t *topics) names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.spaces[:len(t.spaces):len(t.spaces)]
}

// pick returns any of the questions; false as long as there is none.
func (t *topics) pick(r *rand.Rand) (topic, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.asks) == 0 {
		return topic{}, false
	}
	return t.asks[r.IntN(len(t.asks))], true
}

// recaller asks recalls at a steady rate, whatever the answers take.
type recaller struct {
	client  *client.Client
	topics  *topics
	latency samples

	mu     sync.Mutex
	failed error
}

// run asks until stop is closed, then waits for the answers that are under way. The first failure ends it.
func (r *recaller) run(ctx context.Context, stop <-chan struct{}) error {
	rng := rand.New(rand.NewPCG(1, 2))
	places := make(chan struct{}, recallsAtOnce)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for due := time.Now(); ; due = due.Add(recallInterval) {
		timer.Reset(time.Until(due))
		select {
		case <-stop:
			waiting.Wait()
			return r.failure()
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := r.failure(); err != nil {
			return err
		}
		t, ok := r.topics.pick(rng)
		if !ok {
			continue
		}
		places <- struct{}{} // answers are bounded by the client's timeout
		waiting.Go(func() {
			defer func() { <-places }()
			r.ask(ctx, t, due)
		})
	}
}

func (r *recaller) ask(ctx context.Context, t topic, due time.Time) {
	_, err := r.client.Recall(ctx, t.space, &api.RecallRequest{Text: t.query})
	if err == nil {
		r.latency.add(milliseconds(time.Since(due)))
		return
	}
	// A space is unknown until its first row is searchable, which is later than accepted.
	if ctx.Err() != nil || wire.AsError(err).Code == wire.CodeUnknownSpace {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = fmt.Errorf("recalling from space %s while it loads: %w", t.space, err)
	}
}

func (r *recaller) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}
