package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/queue"
)

// group is what one request appends to one shard: its entries stay together and in order.
type group struct {
	entries  []bus.Entry
	space    string
	high     bool
	load     load // what admission counted
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

// writer appends what requests give it to the log of one shard: what has high priority and what has not by a batcher each, so
// that neither waits for a batch of the other to be filled and answered. The server works them off one after the other.
type writer struct{ normal, high *batcher }

func newWriter(js jetstream.JetStream, cfg BatchConfig, state *shardState) *writer {
	return &writer{normal: newBatcher(js, cfg, state), high: newBatcher(js, cfg, state)}
}

// submit hands a group over; false after close. The order of a space's groups is kept among those of the same priority alone: a
// client that needs an order between its priorities waits for the acknowledgement. A stream keeps the order of its requests,
// whatever their priority.
func (w *writer) submit(g *group) bool {
	if g.high && g.dropped == nil {
		return w.high.submit(g)
	}
	return w.normal.submit(g)
}

// settled waits until what was taken of a space with high priority is in the log or has failed. Where no high batch is under
// way and none waits, it does not wait.
func (w *writer) settled(ctx context.Context, space string, deadline time.Time) error {
	if w.high.idle() {
		return nil
	}
	// A group without entries comes behind those of its space, and is settled with the batch that it is in.
	done := make(chan struct{})
	if !w.high.submit(&group{space: space, deadline: deadline, done: func([]bus.Outcome) { close(done) }}) {
		return errClosed
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errClosed = errors.New("this gateway is stopping")

func (w *writer) close() {
	w.high.close()
	w.normal.close()
}

// batcher appends groups to the log of a shard, one atomic batch at a time: while one commits, the next one fills. So the
// order of each space is kept, a lonely observation does not wait for company beyond MaxDelay, and under load the batches
// grow by themselves to what a commit takes. What waits is taken in turns between the spaces.
type batcher struct {
	js    jetstream.JetStream
	cfg   BatchConfig
	state *shardState

	mu     sync.Mutex
	queue  *queue.Fair[string, *group]
	count  int // entries of those that wait
	most   int // entries of the next batch: what commits have taken decides
	closed bool
	busy   bool          // a batch is under way
	filled chan struct{} // one token: something is pending, or the batch is full, or it is closed
	done   chan struct{}
}

func newBatcher(js jetstream.JetStream, cfg BatchConfig, state *shardState) *batcher {
	b := &batcher{
		js: js, cfg: cfg, state: state, most: cfg.MaxSize, filled: make(chan struct{}, 1), done: make(chan struct{}),
		queue: queue.NewFair[string, *group](turnBytes),
	}
	go b.run()
	return b
}

// turnBytes is what a space may put into a batch before the next one has its turn.
const turnBytes = 128 << 10

// submit hands a group over; false after close.
func (b *batcher) submit(g *group) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	first, before := b.queue.Len() == 0, b.count
	b.queue.Push(g.space, g, g.bytes+len(g.entries)<<10)
	b.count += len(g.entries)
	wake := first || before < b.most && b.count >= b.most
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
		empty, full, closed := b.look()
		switch {
		case empty && closed:
			return
		case empty:
			<-b.filled
			continue
		case !full && !closed && b.cfg.MaxDelay > 0:
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
			if _, full, closed := b.look(); full || closed {
				return
			}
		}
	}
}

// idle tells whether nothing waits, and no batch is under way.
func (b *batcher) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queue.Len() == 0 && !b.busy
}

// look tells whether nothing waits, and whether the next batch is full. The batch before is done with.
func (b *batcher) look() (empty, full, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy = false
	b.most = b.state.batchSize(b.cfg.MaxSize)
	return b.queue.Len() == 0, b.count >= b.most, b.closed
}

// take cuts the next batch: whole groups, at least one.
func (b *batcher) take() []*group {
	b.mu.Lock()
	defer b.mu.Unlock()
	var batch []*group
	entries, bytes, most := 0, 0, b.state.batchSize(b.cfg.MaxSize)
	for {
		g, _, ok := b.queue.Peek()
		if !ok || len(batch) > 0 && (entries+len(g.entries) > most || bytes+g.bytes > b.cfg.MaxBytes) {
			break
		}
		b.queue.Pop()
		batch = append(batch, g)
		entries, bytes = entries+len(g.entries), bytes+g.bytes
	}
	b.count -= entries
	b.busy = true
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
	var out []bus.Outcome
	if len(entries) > 0 {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		full := len(entries) >= b.state.batchSize(b.cfg.MaxSize)/2 // a small batch says little of what a commit takes
		b.state.commitBegins(time.Now())
		out = bus.PublishAll(ctx, b.js, entries)
		b.state.commitEnds(time.Now(), len(entries), full)
		cancel()
	}
	for _, g := range live {
		b.settle(g, out[:len(g.entries)])
		out = out[len(g.entries):]
	}
}

func (b *batcher) settle(g *group, out []bus.Outcome) {
	if len(out) > 0 {
		b.state.committed(out, g.load)
	}
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
