package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/bus"
)

// group is what one request appends to one shard: its entries stay together and in order.
type group struct {
	entries  []bus.Entry
	bytes    int
	deadline time.Time
	// dropped, if set, is asked when the batch is sent: what it says true about is left out.
	dropped func() bool
	// done is called once with an outcome for each entry, on the batcher's goroutine: it must not block.
	done func([]bus.Outcome)
}

// leftOut tells why the group is not sent to the log any more, nil where it is.
func (g *group) leftOut(now time.Time) error {
	switch {
	case g.deadline.Before(now):
		return errExpired
	case g.dropped != nil && g.dropped():
		return errDropped
	}
	return nil
}

// batcher appends the groups of one shard to its log, one atomic batch at a time: while one commits, the next one
// fills. So order is kept, a lonely observation does not wait for company beyond MaxDelay, and under load the batches
// grow by themselves to what a commit takes.
type batcher struct {
	js    jetstream.JetStream
	cfg   BatchConfig
	state *shardState

	mu      sync.Mutex
	pending []*group
	count   int
	closed  bool
	filled  chan struct{} // one token: something is pending, or the batch is full, or it is closed
	done    chan struct{}
}

func newBatcher(js jetstream.JetStream, cfg BatchConfig, state *shardState) *batcher {
	b := &batcher{js: js, cfg: cfg, state: state, filled: make(chan struct{}, 1), done: make(chan struct{})}
	go b.run()
	return b
}

// submit hands a group over; false after close.
func (b *batcher) submit(g *group) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.pending = append(b.pending, g)
	before := b.count
	b.count += len(g.entries)
	wake := before == 0 || before < b.cfg.MaxSize && b.count >= b.cfg.MaxSize
	b.mu.Unlock()
	if wake {
		b.signal()
	}
	return true
}

func (b *batcher) signal() {
	select {
	case b.filled <- struct{}{}:
	default:
	}
}

func (b *batcher) run() {
	defer close(b.done)
	for {
		count, closed := b.size()
		switch {
		case count == 0 && closed:
			return
		case count == 0:
			<-b.filled
			continue
		case count < b.cfg.MaxSize && !closed && b.cfg.MaxDelay > 0:
			b.fill()
		}
		b.publish(b.take())
	}
}

// fill waits for a full batch, for at most MaxDelay.
func (b *batcher) fill() {
	timer := time.NewTimer(b.cfg.MaxDelay)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-b.filled:
			if count, closed := b.size(); count >= b.cfg.MaxSize || closed {
				return
			}
		}
	}
}

func (b *batcher) size() (int, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count, b.closed
}

// take cuts the next batch: whole groups, at least one.
func (b *batcher) take() []*group {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, entries, bytes := 0, 0, 0
	for _, g := range b.pending {
		if n > 0 && (entries+len(g.entries) > b.cfg.MaxSize || bytes+g.bytes > b.cfg.MaxBytes) {
			break
		}
		n, entries, bytes = n+1, entries+len(g.entries), bytes+g.bytes
	}
	batch := b.pending[:n:n]
	b.pending = b.pending[n:]
	b.count -= entries
	if len(b.pending) == 0 {
		b.pending = nil
	}
	return batch
}

// errExpired is the outcome of a group whose deadline passed before its batch was sent: it is not in the log.
var errExpired = errors.New("the deadline passed before the observation was sent to the log, which does not have it")

// errDropped is the outcome of a group that was not to be sent any more.
var errDropped = errors.New("an observation before it was not taken, so it was not sent to the log, which does not have it")

// publish waits for the outcome of a batch until the latest deadline in it. Groups that waited past their own are not
// sent: after an outage the log is not filled with what nobody waits for.
func (b *batcher) publish(batch []*group) {
	var deadline time.Time
	var entries []bus.Entry
	live := batch[:0:0]
	for now := time.Now(); len(batch) > 0; batch = batch[1:] {
		g := batch[0]
		if err := g.leftOut(now); err != nil {
			out := make([]bus.Outcome, len(g.entries))
			for i := range out {
				out[i].Err = err
			}
			b.settle(g, out)
			continue
		}
		if g.deadline.After(deadline) {
			deadline = g.deadline
		}
		entries = append(entries, g.entries...)
		live = append(live, g)
	}
	if len(live) == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	out := bus.PublishAll(ctx, b.js, entries)
	cancel()
	for _, g := range live {
		b.settle(g, out[:len(g.entries)])
		out = out[len(g.entries):]
	}
}

func (b *batcher) settle(g *group, out []bus.Outcome) {
	b.state.committed(out, g.bytes)
	g.done(out)
}

// close appends what is pending and ends the batcher.
func (b *batcher) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.signal()
	<-b.done
}
