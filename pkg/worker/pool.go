package worker

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// pool is the index workers of a process, shared by its shards.
//
// An index worker first works off the spaces in its own ready list, then takes a batch out of the lanes of a shard, in
// which its spaces take turns, and routes it to their mailboxes, then takes a whole space from an index worker with a large
// backlog, then sleeps. Only a bounded number of tasks is in mailboxes at a time, so that priorities and turns keep their
// effect. A space with a backlog can take all of these places and be slow, since its graph is built: beyond them there are
// some for spaces that have little waiting, and nothing in their mailboxes.
type pool struct {
	cfg     Config
	metrics *metrics.Worker
	log     zerolog.Logger
	workers []*indexWorker
	// apply is what makes tasks searchable: Shard.Apply, or in a test what fails as a test needs it.
	apply func(*vecstore.Shard, []*vecstore.Event, uint64) (int, error)
	// routed is how many tasks are in mailboxes, and ended how often one has become empty.
	routed atomic.Int64
	ended  atomic.Uint64

	mu     sync.RWMutex
	shards []*shard

	next   atomic.Uint32 // home of the next new mailbox
	done   sync.WaitGroup
	cancel context.CancelFunc
}

// indexWorker is one goroutine of the pool. Its fields are its own but for those that are atomic or under mu.
type indexWorker struct {
	pool *pool
	id   int
	buf  []*task
	// first is the shard to look at first, another one each time: else one that is never empty would starve the others.
	first int

	mu    sync.Mutex
	ready []*mailbox

	load   atomic.Int64 // tasks in the mailboxes of ready, and of the one at hand
	atHand atomic.Bool  // it applies tasks
	parked atomic.Bool
	wake   chan struct{}
	busy   atomic.Int64 // nanoseconds
}

func newPool(cfg Config, m *metrics.Worker, log zerolog.Logger) *pool {
	p := &pool{cfg: cfg, metrics: m, log: log, apply: (*vecstore.Shard).Apply}
	for id := range cfg.NumWorkers {
		p.workers = append(p.workers, &indexWorker{pool: p, id: id, buf: make([]*task, cfg.MaxBatch), wake: make(chan struct{}, 1)})
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	for _, w := range p.workers {
		p.done.Go(func() { w.run(ctx) })
	}
	return p
}

func (p *pool) attach(s *shard) {
	p.mu.Lock()
	p.shards = append(slices.Clone(p.shards), s)
	p.mu.Unlock()
}

// detach has the index workers look at a shard no more; nothing of it is outstanding.
func (p *pool) detach(s *shard) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shards = slices.DeleteFunc(slices.Clone(p.shards), func(other *shard) bool { return other == s })
}

func (p *pool) list() []*shard {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.shards
}

// close ends the index workers. What is still in the lanes is in the row logs too.
func (p *pool) close() {
	p.cancel()
	p.done.Wait()
}

// notify wakes an index worker that sleeps, if there is one. A worker that is about to sleep marks itself as parked
// before it looks for work a last time, so either it sees what was enqueued before this call, or this call sees it.
func (p *pool) notify() {
	for _, w := range p.workers {
		if w.unpark() {
			return
		}
	}
}

func (w *indexWorker) unpark() bool {
	if !w.parked.Load() || !w.parked.CompareAndSwap(true, false) {
		return false
	}
	w.wake <- struct{}{}
	return true
}

func (w *indexWorker) run(ctx context.Context) {
	if w.pool.cfg.PinCPUs {
		unpin, err := pin(w.id)
		if err != nil {
			w.pool.log.Warn().Err(err).Int("index_worker", w.id).Msg("not bound to a core")
		}
		defer unpin()
	}
	for ctx.Err() == nil {
		start := time.Now()
		if w.turn() {
			w.busy.Add(int64(time.Since(start)))
			continue
		}
		w.parked.Store(true)
		if w.hasWork() {
			if !w.parked.CompareAndSwap(true, false) {
				<-w.wake
			}
			continue
		}
		select {
		case <-w.wake:
			w.linger(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// turn does one piece of work, if there is any. What waits in the lanes comes first: it may be of a space that has waited
// for nothing yet, and must not wait until the mailboxes here are empty.
func (w *indexWorker) turn() bool {
	pumped := w.pump()
	if m := w.pop(); m != nil {
		w.apply(m)
		return true
	}
	if pumped {
		return true
	}
	if m := w.steal(); m != nil {
		w.apply(m)
		return true
	}
	return false
}

// linger lets a small batch fill: under a trickle it makes a few wake-ups out of many.
func (w *indexWorker) linger(ctx context.Context) {
	if w.pool.cfg.IdleSleep <= 0 {
		return
	}
	waiting := 0
	for _, s := range w.pool.list() {
		waiting += s.queued()
	}
	if waiting >= w.pool.cfg.MinBatch || w.load.Load() > 0 {
		return
	}
	t := time.NewTimer(w.pool.cfg.IdleSleep)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (w *indexWorker) hasWork() bool {
	w.mu.Lock()
	n := len(w.ready)
	w.mu.Unlock()
	if n > 0 {
		return true
	}
	if room, crowded := w.pool.room(); room > 0 {
		for _, s := range w.pool.list() {
			// What the turns of a shard have had no place for is looked at again when something else comes into its lanes, or when
			// there are places.
			if (!crowded && s.queued() > 0 || s.entered() > 0) && !s.routing.Load() {
				return true
			}
		}
	}
	return w.victim() != nil
}

func (w *indexWorker) push(m *mailbox) {
	w.mu.Lock()
	w.ready = append(w.ready, m)
	w.mu.Unlock()
}

func (w *indexWorker) pop() *mailbox {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ready) == 0 {
		return nil
	}
	m := w.ready[0]
	w.ready[0] = nil
	w.ready = w.ready[1:]
	return m
}

// maxRouted bounds what has left the lanes: a batch for each index worker, or enough that stealing can begin.
func (p *pool) maxRouted() int64 {
	return int64(max(len(p.workers)*p.cfg.MaxBatch, 2*p.cfg.Steal))
}

// freshRouted is how many tasks may leave the lanes beyond maxRouted, of spaces that have little waiting.
const freshRouted = 2 * turnTasks

// room is how many tasks may leave the lanes; only those of spaces that have little waiting where it is crowded.
func (p *pool) room() (room int, crowded bool) {
	if room = int(p.maxRouted() - p.routed.Load()); room > 0 {
		return room, false
	}
	return room + freshRouted, true
}

// pump routes a batch from the lanes of a shard. One index worker at a time routes a shard, which keeps the order.
func (w *indexWorker) pump() bool {
	p := w.pool
	room, crowded := p.room()
	if room <= 0 {
		return false
	}
	shards := p.list()
	w.first++
	for i := range shards {
		s := shards[(i+w.first)%len(shards)]
		depth := s.queued()
		if depth == 0 || !s.routing.CompareAndSwap(false, true) {
			continue
		}
		s.sweep()
		s.turns.fill(s.lanes)
		var n int
		ended := p.ended.Load()
		if crowded {
			n = s.turns.takeFresh(w.buf[:min(p.cfg.MaxBatch, room)], func(t *task) bool { return s.mailbox(&t.event).idle() })
		} else {
			n = s.turns.take(w.buf[:min(max(depth/len(p.workers), p.cfg.MinBatch), p.cfg.MaxBatch, room)])
		}
		s.turns.look()
		for j, t := range w.buf[:n] {
			w.route(s.mailbox(&t.event), t)
			w.buf[j] = nil
		}
		s.routing.Store(false)
		if n == 0 && crowded && p.ended.Load() != ended {
			return true // a mailbox that was not empty is now, and whoever emptied it could not look here meanwhile
		}
		if n > 0 {
			p.metrics.BatchSize.Observe(float64(n))
			if s.queued() > 0 || p.crowded() {
				p.notify() // there is more than this one can do
			}
			return true
		}
	}
	return false
}

func (w *indexWorker) route(m *mailbox, t *task) {
	w.pool.routed.Add(1)
	if home, schedule := m.put(t, w.pool.workers, w.free); schedule {
		home.push(m)
		if home != w {
			home.unpark()
		}
	}
}

// free returns an index worker that can begin at once with a space whose home is busy with others; home where there is none.
func (w *indexWorker) free(home *indexWorker) *indexWorker {
	if home.load.Load() == 0 || home != w && !home.atHand.Load() {
		return home // it begins as soon
	}
	if w.load.Load() == 0 {
		return w
	}
	for _, other := range w.pool.workers {
		if other.parked.Load() && other.load.Load() == 0 {
			return other
		}
	}
	return home
}

// victim returns the index worker with the largest backlog, if it is over the threshold and has a space to give.
func (w *indexWorker) victim() *indexWorker {
	var found *indexWorker
	most := int64(0)
	for _, v := range w.pool.workers {
		if load := v.load.Load(); v != w && load > most && v.gives() {
			found, most = v, load
		}
	}
	return found
}

// steal takes a whole space, the one that would wait longest, from the index worker with the largest backlog.
func (w *indexWorker) steal() *mailbox {
	v := w.victim()
	if v == nil {
		return nil
	}
	v.mu.Lock()
	n := len(v.ready)
	if n == 0 {
		v.mu.Unlock()
		return nil
	}
	m := v.ready[n-1]
	v.ready = v.ready[:n-1]
	v.mu.Unlock()
	m.move(v, w)
	w.pool.metrics.WorkStolen.Inc()
	if w.pool.crowded() {
		w.pool.notify() // there is more to take
	}
	return m
}

// crowded tells whether an index worker has so large a backlog that one that sleeps should take from it.
func (p *pool) crowded() bool {
	for _, w := range p.workers {
		if w.gives() {
			return true
		}
	}
	return false
}

// gives tells whether the backlog is over the threshold and has a space that nobody has at hand.
func (w *indexWorker) gives() bool {
	if w.load.Load() < int64(w.pool.cfg.Steal) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ready) > 0
}
