package worker

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/queue"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// Under many index workers that steal all the time, each space has one writer, and it gets events in their order.
func TestOneWriterASpaceInOrder(t *testing.T) {
	const spaces, events = 12, 6_000
	b := newBench(t, 1, func(c *Config) { c.NumWorkers, c.Steal, c.MinBatch, c.MaxBatch = 4, 1, 1, 4 })
	type writer struct {
		busy atomic.Bool
		last uint64
	}
	writers := map[string]*writer{}
	var define []vecstore.Event
	for i := range spaces {
		define = append(define, definition(fmt.Sprint("s", i)))
		writers[fmt.Sprint("s", i)] = new(writer)
	}
	b.pool.apply = func(s *vecstore.Shard, evs []*vecstore.Event, applied uint64) (int, error) {
		w := writers[evs[0].Space]
		if !w.busy.CompareAndSwap(false, true) {
			t.Errorf("two writers of %s", evs[0].Space)
		}
		defer w.busy.Store(false)
		for range 8 {
			runtime.Gosched() // so that another writer would be met
		}
		for _, e := range evs {
			if e.Sequence <= w.last {
				t.Errorf("%s: sequence %d after %d", e.Space, e.Sequence, w.last)
			}
			w.last = e.Sequence
		}
		return s.Apply(evs, applied)
	}
	b.push(0, define...)
	var last uint64
	for i := 0; i < events; {
		var batch []vecstore.Event
		for range 50 {
			batch = append(batch, row(fmt.Sprint("s", (i*i)%spaces), "x", float32(i)))
			i++
		}
		last = b.push(0, batch...)
	}
	b.await(0, last)
	for name, w := range writers {
		if w.last == 0 {
			continue // no square has this remainder
		}
		rows, err := b.shards[0].store.Load().Get(name, []string{"x"}, vecstore.At{Now: time.Now()})
		if err != nil || len(rows) != 1 || rows[0].Sequence != w.last {
			t.Errorf("%s: %v, %v; want the version of sequence %d", name, rows, err, w.last)
		}
	}
	// With one processor an index worker is not met at work; TestWholeSpacesAreStolen has one that is.
	if n := counted(b.Metrics.WorkStolen); n == 0 && runtime.GOMAXPROCS(0) > 1 {
		t.Error("nothing was stolen")
	}
	if n := b.pool.routed.Load(); n != 0 {
		t.Errorf("%d tasks count as routed at the end", n)
	}
	for _, w := range b.pool.workers {
		if n := w.load.Load(); n != 0 {
			t.Errorf("index worker %d has a load of %d at the end", w.id, n)
		}
	}
}

// One index worker has every space and is stuck in the first: the others sleep, and must be woken to take the rest.
func TestWholeSpacesAreStolen(t *testing.T) {
	b := newBench(t, 1, func(c *Config) { c.NumWorkers, c.Steal, c.MinBatch, c.MaxBatch = 3, 2, 10, 100 })
	s := b.shards[0]
	var events []vecstore.Event
	for i := range 8 {
		name := fmt.Sprint("s", i)
		b.push(0, definition(name))
		events = append(events, row(name, "x", 1))
	}
	b.await(0, b.push(0, events...))
	for _, w := range b.pool.workers {
		until(t, "the index workers sleep", w.parked.Load)
	}
	if !s.routing.CompareAndSwap(false, true) {
		t.Fatal("routed while everybody sleeps")
	}
	for _, m := range s.mailboxes {
		m.home = 0 // the one that is woken first
	}
	s.routing.Store(false)

	stuck := newGate(t)
	b.pool.apply = func(s *vecstore.Shard, evs []*vecstore.Event, applied uint64) (int, error) {
		if evs[0].Space == "s0" {
			stuck.wait()
		}
		return s.Apply(evs, applied)
	}
	before := counted(b.Metrics.WorkStolen)
	last := b.push(0, events...)
	until(t, "the spaces that are not stuck are worked off", func() bool { return b.pool.routed.Load() == 1 })
	// Some of them went to index workers that slept at once, the others were stolen.
	moved := 0
	for _, m := range s.mailboxes {
		if m.home != 0 {
			moved++
		}
	}
	if n := counted(b.Metrics.WorkStolen) - before; n == 0 || n > 7 || moved != 7 {
		t.Errorf("%d spaces were stolen, and %d of 8 have another home, want 7", n, moved)
	}
	if applied := s.mark.read().applied; applied != last-8 {
		t.Errorf("applied %d while the first of 8 is stuck, want %d", applied, last-8)
	}
	stuck.open()
	b.await(0, last)
}

// One event at a time comes just as the index workers go to sleep: each is seen by one before it does, or wakes one.
func TestNoWakeUpIsLost(t *testing.T) {
	const rounds = 15_000
	for _, workers := range []int{1, 3} {
		b := newBench(t, 1, func(c *Config) { c.NumWorkers, c.MinBatch, c.MaxBatch, c.Queue.Capacity = workers, 1, 8, 2*rounds })
		s := b.shards[0]
		b.push(0, definition("a"))
		app := s.store.Load().Appender()
		tasks := make([]*task, rounds)
		for i := range tasks {
			e := row("a", "x", 1)
			e.Sequence = s.mark.fetched() + 1
			ticket, err := s.mark.begin(b.ctx, slot{sequence: e.Sequence, published: time.Now()}, 0)
			if err != nil {
				t.Fatal(err)
			}
			tasks[i] = &task{event: e, ticket: ticket, shard: s}
			if err := app.Add(&tasks[i].event); err != nil {
				t.Fatal(err)
			}
		}
		if err := app.Flush(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for i, tk := range tasks {
			// The moment is another one each time: some meet the last look for work.
			for range i % 100 {
				s.queued()
			}
			s.lanes.EnqueueBatch(queue.Normal, tasks[i:i+1])
			b.pool.notify()
			for spins := 0; s.mark.read().applied < tk.event.Sequence; spins++ {
				if spins > 1000 {
					b.await(0, tk.event.Sequence)
				}
				runtime.Gosched()
			}
		}
		t.Logf("%d index workers: %.0f events a second, one at a time", workers, rounds/time.Since(start).Seconds())
	}
}

// Many producers' shards at once, from idle and not, end with nothing left lying.
func TestNothingIsLeftLying(t *testing.T) {
	b := newBench(t, 4, func(c *Config) { c.Steal, c.MinBatch, c.MaxBatch, c.Queue.Capacity = 3, 1, 4, 16 })
	var producers sync.WaitGroup
	for n := range b.shards {
		b.push(n, definition("a"), definition("b"), definition("c"))
		producers.Go(func() {
			for i := range 600 {
				last := b.push(n, row("a", "x", 1), row("b", "x", 1), row("c", "x", 1))
				if i%7 == 0 {
					if err := b.shards[n].mark.await(b.ctx, last); err != nil {
						t.Errorf("shard %d, round %d: %v", n, i, err)
						return
					}
				}
			}
		})
	}
	producers.Wait()
	for n, s := range b.shards {
		b.await(n, s.mark.fetched())
	}
}

// A shard whose lanes are never empty does not keep an index worker from the others.
func TestNoShardStarves(t *testing.T) {
	for busy := range 2 {
		b := newBench(t, 2, func(c *Config) { c.NumWorkers, c.MinBatch, c.MaxBatch, c.Steal = 1, 1, 4, 1 })
		w := b.byHand()
		for n := range b.shards {
			b.push(n, definition("a"))
		}
		for range 100 {
			b.push(busy, row("a", "x", 1))
		}
		last := b.push(1-busy, row("a", "x", 1))
		for range 6 {
			w.turn()
		}
		if b.shards[busy].queued() == 0 {
			t.Fatal("the busy shard is empty, which proves nothing")
		}
		if applied := b.shards[1-busy].mark.read().applied; applied != last {
			t.Errorf("shard %d waits behind shard %d: applied %d, want %d", 1-busy, busy, applied, last)
		}
	}
}

// order runs an index worker by hand until nothing is left, and returns the spaces of what was applied, in order.
func (b *bench) order(w *indexWorker) []string {
	var order []string
	b.pool.apply = func(s *vecstore.Shard, evs []*vecstore.Event, applied uint64) (int, error) {
		for _, e := range evs {
			order = append(order, e.Space)
		}
		return s.Apply(evs, applied)
	}
	for w.turn() {
	}
	return order
}

// A space with a backlog does not keep another one waiting for more than its turn and what has left the lanes.
func TestQuietSpacePassesABacklog(t *testing.T) {
	const flood, batch = 5_000, 16
	b := newBench(t, 1, func(c *Config) { c.NumWorkers, c.MinBatch, c.MaxBatch, c.Steal = 1, 1, batch, 1 })
	w := b.byHand()
	b.push(0, definition("flood"), definition("quiet"))
	for range flood {
		b.push(0, row("flood", "x", 1))
	}
	for range 20 {
		w.turn() // the flood has had its first turn
	}
	b.push(0, row("quiet", "x", 1))
	order := b.order(w)
	if at := slices.Index(order, "quiet"); at < 0 || at > 2*batch {
		t.Errorf("the quiet space came after %d of the flood's", at)
	}
}

// Where a space with a backlog has taken all places in mailboxes, and is slow, there is one for a space that has little.
func TestQuietSpacePassesFullMailboxes(t *testing.T) {
	b := newBench(t, 1, func(c *Config) { c.NumWorkers, c.MinBatch, c.MaxBatch, c.Steal = 1, 1, 16, 8 })
	w, s := b.byHand(), b.shards[0]
	b.push(0, definition("flood"), definition("quiet"))
	for range 2_000 {
		b.push(0, row("flood", "x", 1))
	}
	routed := 0
	for w.pump() {
		routed++
	}
	if room, crowded := b.pool.room(); !crowded || room <= 0 || routed == 0 || s.entered() > 0 {
		t.Fatalf("after %d batches there is room for %d, crowded: %v; %d are in the lanes", routed, room, crowded, s.entered())
	}
	b.push(0, row("quiet", "x", 1))
	scheduled := 0
	worked := w.pump()
	for _, m := range s.mailboxes {
		if m.space == "quiet" && !m.idle() {
			scheduled++
		}
	}
	if !worked || scheduled != 1 {
		t.Fatal("the quiet space waits for places of the flood")
	}
	b.push(0, row("quiet", "y", 1))
	if w.pump() {
		t.Error("a mailbox that is not empty took more")
	}
	if order := b.order(w); len(order) != 2_002 {
		t.Errorf("%d were applied", len(order))
	}
}

// Spaces that all have a backlog take the same, whatever they have waiting.
func TestSpacesTakeTurns(t *testing.T) {
	b := newBench(t, 1, func(c *Config) { c.NumWorkers, c.MinBatch, c.MaxBatch, c.Steal = 1, 1, 16, 1 })
	w := b.byHand()
	b.push(0, definition("a"), definition("b"), definition("c"))
	for range 4_000 {
		b.push(0, row("a", "x", 1))
	}
	for range 1_000 {
		b.push(0, row("b", "x", 1), row("c", "x", 1))
	}
	order := b.order(w)
	taken := map[string]int{}
	for _, space := range order[:2_000] {
		taken[space]++
	}
	// A turn has up to 128 of so small ones.
	if len(order) != 6_000 || min(taken["a"], taken["b"], taken["c"]) < 2_000/3-200 {
		t.Errorf("of the first 2,000 of %d: %v", len(order), taken)
	}
}

// While high floods, one in queue.Weight is normal.
func TestNormalMovesWhileHighFloods(t *testing.T) {
	b := newBench(t, 1, func(c *Config) { c.NumWorkers, c.MinBatch, c.MaxBatch, c.Steal = 1, 1, 8, 1 })
	w := b.byHand()
	b.push(0, definition("high"), definition("normal"))
	for range 200 {
		b.push(0, row("normal", "x", 1))
	}
	for range 2_000 {
		b.push(0, vecstore.Event{Kind: vecstore.KindForget, Space: "high", IDs: []string{"x"}}) // forgets are high here
	}
	order := b.order(w)
	normal := 0
	for _, space := range order[:800] {
		if space == "normal" {
			normal++
		}
	}
	if want := 800 / queue.Weight; normal < want-10 || normal > want+10 {
		t.Errorf("%d of the first 800 are normal, want %d", normal, want)
	}
}

// A heartbeat names the largest backlogs.
func TestHeartbeatsNameBacklogs(t *testing.T) {
	b := newBench(t, 1, func(c *Config) { c.NumWorkers, c.MinBatch, c.MaxBatch, c.Steal = 1, 1, 4, 1 })
	w, s := b.byHand(), b.shards[0]
	for i := range maxBacklogs + 4 {
		name := fmt.Sprint("s", i)
		b.push(0, definition(name))
		for range 40 + i {
			b.push(0, row(name, "x", 1))
		}
	}
	w.pump()
	sampled := s.turns.backlogs()
	got := sampled.largest
	if len(got) != maxBacklogs || sampled.spaces != maxBacklogs+4 || got[0].GetSpace() != fmt.Sprint("s", maxBacklogs+3) || got[0].GetObservations() != 40+maxBacklogs+3 {
		t.Errorf("backlogs: %v", got)
	}
	for w.turn() {
	}
	if got := s.turns.backlogs(); got.largest != nil || got.spaces != 0 || s.queued() != 0 {
		t.Errorf("backlogs of an empty shard: %v", got)
	}
}

// What is high overtakes the normal backlog of its shard, but for what has left the lanes and a share of one in eight.
func TestHighOvertakesABacklog(t *testing.T) {
	b := newBench(t, 1, func(c *Config) { c.NumWorkers, c.MinBatch, c.MaxBatch, c.Steal = 1, 1, 8, 1 })
	w := b.byHand()
	var order []uint64
	b.pool.apply = func(s *vecstore.Shard, evs []*vecstore.Event, applied uint64) (int, error) {
		for _, e := range evs {
			order = append(order, e.Sequence)
		}
		return s.Apply(evs, applied)
	}
	b.push(0, definition("a"))
	var last uint64
	for range 80 {
		last = b.push(0, row("a", "x", 1))
	}
	forgets := b.push(0, vecstore.Event{Kind: vecstore.KindForget, Space: "a", IDs: []string{"x"}}, vecstore.Event{Kind: vecstore.KindForget, Space: "a", IDs: []string{"x"}})
	for w.turn() {
	}
	if len(order) != 82 {
		t.Fatalf("%d were applied, want 82", len(order))
	}
	if order[0] != last+1 || order[1] != forgets || order[2] != 2 {
		t.Errorf("applied in the order %v", order[:8])
	}
	if n := b.count("a"); n != 0 {
		t.Errorf("%d observations are left; all are older than the forget that overtook them", n)
	}
}

// The mailbox of a space keeps it in memory, so it goes when the space is dropped.
func TestDroppedSpacesLeave(t *testing.T) {
	b := newBench(t, 1, func(c *Config) { c.NumWorkers, c.MinBatch, c.MaxBatch = 1, 1, 2 })
	w := b.byHand()
	b.push(0, definition("a"), definition("b"), row("a", "x", 1), row("b", "x", 1))
	for w.turn() {
	}
	// Some of a's events are in its mailbox, some still in the lanes, when it is dropped.
	b.push(0, row("a", "1", 1), row("a", "2", 1), row("a", "3", 1))
	w.pump()
	b.push(0, vecstore.Event{Kind: vecstore.KindDrop, Space: "a", Generation: 1})
	for w.turn() {
	}
	last := b.push(0, row("b", "y", 1))
	for w.turn() {
	}
	b.await(0, last)
	if n := len(b.shards[0].mailboxes); n != 1 {
		t.Errorf("%d mailboxes are left, want that of b alone", n)
	}
}

func (b *bench) count(space string) int {
	st, ok := b.shards[0].store.Load().Stats(space)
	if !ok {
		b.t.Fatalf("there is no space %q", space)
	}
	return int(st.Observations)
}
