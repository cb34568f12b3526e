package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// ProducerConfig is how a producer sends. The zero value of each field means its default.
type ProducerConfig struct {
	// Window is how many observations may be unacknowledged; Observe waits beyond it. 4,096.
	Window int
	// WindowBytes bounds them in bytes. 32 MiB; at least 2 MiB.
	WindowBytes int64
	// Batch is how many observations go into one request. 200; at most 999.
	Batch int
	// Acknowledgement is what a result waits for: accepted, or searchable.
	Acknowledgement api.Acknowledgement
	// Deadline is how long a gateway may take for one request. The gateway's limit, 5 s.
	Deadline time.Duration
}

// Producer sends observations without waiting for each: it puts what is observed meanwhile into one request, sends a request
// again under the same write ids until its outcome is known, so that each observation is written once, and stays away from
// spaces while a gateway says that it refuses them. It may be used by any number of goroutines.
//
// Observations of one space and one priority are written in the order of the calls of Observe. Those of high priority
// overtake the others.
type Producer struct {
	c   *Client
	cfg ProducerConfig

	count, bytes *semaphore.Weighted
	refused      atomic.Uint64

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup // goroutines of lanes

	mu      sync.Mutex
	closed  bool
	lanes   map[laneKey]*lane
	spaces  map[string]*pressure
	pending map[*Pending]struct{}
}

// Pending is an observation that was handed over.
type Pending struct {
	observation *api.Observation
	size        int
	done        chan struct{}
	result      *api.ObserveResult
	err         error
}

// Done is closed when the result is there.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Wait returns the result, or the error of ctx. The error of an observation is a *wire.Error: one that was refused for good,
// or whose outcome was unknown for MaxUncertainty or when the producer was closed.
func (p *Pending) Wait(ctx context.Context) (*api.ObserveResult, error) {
	select {
	case <-p.done:
		return p.result, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type laneKey struct {
	space string
	high  bool
}

// lane has the observations of one space and priority that wait; while it sends, a goroutine takes them one request after
// the other.
type lane struct {
	waiting []*Pending
	sending bool
}

// Producer returns a producer. Close it.
func (c *Client) Producer(cfg ProducerConfig) (*Producer, error) {
	if cfg.Window == 0 {
		cfg.Window = 4096
	}
	if cfg.WindowBytes == 0 {
		cfg.WindowBytes = 32 << 20
	}
	if cfg.Batch == 0 {
		cfg.Batch = 200
	}
	switch {
	case cfg.Window < 1:
		return nil, fmt.Errorf("the window of a producer is %d; it must be above 0", cfg.Window)
	case cfg.WindowBytes < 2<<20:
		return nil, fmt.Errorf("the window of a producer is %d bytes; it must be at least 2 MiB", cfg.WindowBytes)
	case cfg.Batch < 1 || cfg.Batch > event.MaxBatch:
		return nil, fmt.Errorf("the batch of a producer is %d; it can be 1 to %d", cfg.Batch, event.MaxBatch)
	case cfg.Deadline < 0:
		return nil, fmt.Errorf("the deadline of a producer is %v; it cannot be negative", cfg.Deadline)
	}
	p := &Producer{
		c: c, cfg: cfg, count: semaphore.NewWeighted(int64(cfg.Window)), bytes: semaphore.NewWeighted(cfg.WindowBytes),
		lanes: map[laneKey]*lane{}, spaces: map[string]*pressure{}, pending: map[*Pending]struct{}{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	c.mu.Lock()
	c.producers[p] = struct{}{}
	c.mu.Unlock()
	return p, nil
}

// errClosed is what a closed producer says.
func errClosed() *wire.Error {
	return wire.Errorf(wire.CodeUnavailable, "", "the producer is closed; make another one")
}

// Observe hands an observation over. It waits while the window is full. The observation belongs to the producer until its
// result is there.
func (p *Producer) Observe(ctx context.Context, space string, o *api.Observation) (*Pending, error) {
	if err := wire.CheckSpace(space); err != nil {
		return nil, err
	}
	size := proto.Size(o)
	if int64(size) > p.limit() {
		return nil, wire.Errorf(wire.CodeTooLarge, "", "the observation has %d bytes; it can have up to %d", size, p.limit())
	}
	if err := p.count.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	if err := p.bytes.Acquire(ctx, int64(size)); err != nil {
		p.count.Release(1)
		return nil, err
	}
	pend := &Pending{observation: o, size: size, done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		p.count.Release(1)
		p.bytes.Release(int64(size))
		return nil, errClosed()
	}
	p.pending[pend] = struct{}{}
	key := laneKey{space, o.GetPriority() == api.Priority_PRIORITY_HIGH}
	l := p.lanes[key]
	if l == nil {
		l = new(lane)
		p.lanes[key] = l
	}
	l.waiting = append(l.waiting, pend)
	if !l.sending {
		l.sending = true
		known := p.listen(space)
		p.work.Go(func() { p.run(key, l, known) })
	}
	return pend, nil
}

// limit is what the observations of one request may have.
func (p *Producer) limit() int64 {
	return min(p.c.nc.MaxPayload(), 1<<20) - requestOverhead
}

// requestOverhead leaves room for the rest of a request and its headers.
const requestOverhead = 4096

// Refused is how many observations were refused for now, each as often as it was.
func (p *Producer) Refused() uint64 { return p.refused.Load() }

// Flush waits until the results of all observations that were handed over before are there.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	before := slices.Collect(maps.Keys(p.pending))
	p.mu.Unlock()
	for _, pend := range before {
		select {
		case <-pend.done:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the results of observations: %w", ctx.Err())
		}
	}
	return nil
}

// Close takes nothing more, waits for the results of what was taken, and ends the producer. Where ctx ends before, the
// observations that are left fail: whether those that were sent are written is unknown then. The connection stays open.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.Flush(ctx)
	p.cancel()
	p.work.Wait()
	p.mu.Lock()
	for _, s := range p.spaces {
		if s.sub == nil {
			continue
		}
		if uerr := s.sub.Unsubscribe(); uerr != nil && !errors.Is(uerr, nats.ErrConnectionClosed) && !errors.Is(uerr, nats.ErrBadSubscription) {
			err = errors.Join(err, fmt.Errorf("ending a subscription: %w", uerr))
		}
	}
	p.spaces = map[string]*pressure{}
	p.mu.Unlock()
	p.c.mu.Lock()
	delete(p.c.producers, p)
	p.c.mu.Unlock()
	return err
}

// run sends what waits in a lane until nothing does.
func (p *Producer) run(key laneKey, l *lane, pr *pressure) {
	for {
		p.mu.Lock()
		n, size := 0, 0
		for n < len(l.waiting) && n < p.cfg.Batch && (n == 0 || int64(size+l.waiting[n].size+8) <= p.limit()) {
			size += l.waiting[n].size + 8
			n++
		}
		if n == 0 {
			l.sending = false
			delete(p.lanes, key)
			p.mu.Unlock()
			return
		}
		batch := l.waiting[:n:n]
		l.waiting = l.waiting[n:]
		p.mu.Unlock()
		p.send(key, pr, batch, nuid.Next())
	}
}

// send sends a request until each of its observations has a result.
func (p *Producer) send(key laneKey, pr *pressure, batch []*Pending, id string) {
	req := &api.ObserveRequest{
		Observations: make([]*api.Observation, len(batch)), Acknowledgement: p.cfg.Acknowledgement, IdempotencyKey: id,
		DeadlineMs: uint32(p.cfg.Deadline.Milliseconds()),
	}
	for i, pend := range batch {
		req.Observations[i] = pend.observation
	}
	var uncertain time.Time // when an outcome first was unknown
	for try := 0; ; try++ {
		if !pr.wait(p.ctx, key.high) {
			p.fail(batch, errClosed())
			return
		}
		ctx, cancel := context.WithTimeout(p.ctx, tryTimeout(req.GetDeadlineMs()))
		resp, err := p.c.Observe(ctx, key.space, req)
		cancel()
		again := p.outcome(batch, resp, err)
		if again == nil {
			return
		}
		if p.ctx.Err() != nil {
			p.fail(batch, wire.Errorf(wire.CodeUnavailable, "", "the producer was closed before the outcome of the write was known"))
			return
		}
		if !transient(again.Code) {
			p.apart(key, pr, batch, id, again)
			return
		}
		switch {
		case refusedForNow(again.Code):
			p.refused.Add(uint64(len(batch)))
		case errors.Is(err, nats.ErrNoResponders): // it reached nobody
		case uncertain.IsZero():
			uncertain = time.Now()
		}
		if !uncertain.IsZero() && time.Since(uncertain) > MaxUncertainty {
			p.fail(batch, again)
			return
		}
		wait := again.RetryAfter
		if wait == 0 {
			wait = retryWait(try)
		}
		pr.stayAway(key.high, wait)
	}
}

// retryWait is the pause before a request is sent again where the answer names none: 20 ms to 1 s.
func retryWait(try int) time.Duration { return min(20*time.Millisecond<<min(try, 10), time.Second) }

// outcome hands out the results of a request, and returns why it must be sent again, nil when it need not.
func (p *Producer) outcome(batch []*Pending, resp *api.ObserveResponse, err error) *wire.Error {
	if err != nil {
		return wire.AsError(err)
	}
	if len(resp.GetResults()) != len(batch) {
		return wire.Errorf(wire.CodeInternal, "", "%d observations were sent, and the answer has %d results", len(batch), len(resp.GetResults()))
	}
	var again *wire.Error
	for i, r := range resp.GetResults() {
		e := wire.FromProto(r.GetError())
		if e != nil && transient(e.Code) {
			again = e
			continue
		}
		p.resolve(batch[i], r, e)
	}
	return again
}

// apart sends the observations of a request that was refused for good one by one, under the same write ids: it may have been
// for one of them.
func (p *Producer) apart(key laneKey, pr *pressure, batch []*Pending, id string, refused *wire.Error) {
	if len(batch) == 1 {
		p.fail(batch, refused)
		return
	}
	for i := range batch {
		p.send(key, pr, batch[i:i+1], id+"/"+strconv.Itoa(i))
	}
}

// fail ends those of a batch that have no result.
func (p *Producer) fail(batch []*Pending, err *wire.Error) {
	for _, pend := range batch {
		p.resolve(pend, nil, err)
	}
}

func (p *Producer) resolve(pend *Pending, r *api.ObserveResult, err *wire.Error) {
	p.mu.Lock()
	_, open := p.pending[pend]
	delete(p.pending, pend)
	p.mu.Unlock()
	if !open {
		return // an earlier try said it
	}
	pend.result = r
	if err != nil {
		pend.err = err
	}
	close(pend.done)
	p.count.Release(1)
	p.bytes.Release(int64(pend.size))
}
