package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/streams"
)

// first is a worker that has made several(0, n) searchable and durable.
func (w *world) first(n int) (*tested, uint64) {
	w.t.Helper()
	c := w.start(nil)
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, n)...)...)
	c.reach(w.t, last)
	until(w.t, "it is durable", func() bool { return c.shard().store.Load().Durable() == last })
	return c, last
}

// remake deletes the log and creates it anew, without entries.
func (w *world) remake() {
	w.t.Helper()
	if err := w.conn.JS.DeleteStream(within(w.t), bus.LogStream(0)); err != nil {
		w.t.Fatal(err)
	}
	cfg, err := streams.Log(0)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.conn.JS.CreateStream(within(w.t), cfg); err != nil {
		w.t.Fatal(err)
	}
}

// The stream is deleted and made again under a running worker, which becomes a view of the new one, be that shorter or
// longer than what the worker had.
func TestStreamMadeAgainWhileItRuns(t *testing.T) {
	for _, had := range []int{50, 5} {
		t.Run(fmt.Sprintf("of %d entries", had), func(t *testing.T) {
			w := newWorld(t)
			c, _ := w.first(had)
			w.remake()
			last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(100, 120)...)...)
			until(t, "the view is of the new stream", func() bool { return c.applied() == last })
			w.expectAll(100, 120)
			if n := w.count("a"); n != 20 {
				t.Errorf("%d observations, and the new stream has 20", n)
			}
			if got := w.aside(); len(got) != 1 {
				t.Errorf("set aside: %q", got)
			}
			until(t, "the new stream is acknowledged", func() bool {
				info, err := c.consumerOf(0).Info(within(t))
				return err == nil && info.AckFloor.Stream == last
			})
		})
	}
}

// A start finds that the directory is not a view of the log that is there.
func TestLocalFilesOfAnotherLog(t *testing.T) {
	for name, change := range map[string]func(*world, *Options){
		"another epoch":          func(_ *world, o *Options) { o.Topology.Epoch = "other" },
		"stream made again":      func(w *world, _ *Options) { w.remake() },
		"stream without its end": func(w *world, _ *Options) { w.truncate() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c, _ := w.first(5)
			c.close(t)
			c = w.start(func(o *Options) { change(w, o) })
			if got := w.aside(); len(got) != 1 {
				t.Fatalf("set aside: %q", got)
			}
			last := w.publish(define("a", 3), several(9, 10)[0])
			c.reach(t, last)
			w.expectAll(9, 10)
		})
	}
}

// truncate makes the log end below what the worker has, as a server does that lost its last writes: here by a stream
// with the same identity in the worker's files, and fewer entries.
func (w *world) truncate() {
	w.t.Helper()
	w.remake()
	id, _, _, err := bus.StreamIdentity(within(w.t), w.conn.JS, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	dir := filepath.Join(w.dir, "shard-0")
	if err := os.RemoveAll(dir); err != nil {
		w.t.Fatal(err)
	}
	s, _, err := vecstore.Open(dir, vecstore.Source{Epoch: w.topo.Epoch, CreatedAt: id.CreatedAt.UnixNano()}, vecstore.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	s.Appender().Skip(1000)
	if err := s.Appender().Flush(); err != nil {
		w.t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// A byte below the checkpoint has changed on the disk: the files are set aside and the log is read from its beginning.
func TestCorruptRowLogIsBuiltAgain(t *testing.T) {
	w := newWorld(t)
	c, last := w.first(50)
	c.close(t)
	name := filepath.Join(w.dir, "shard-0", "rows-00000001.seg")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(w.dir, "shard-0.aside-20200101T00000")
	for i := range 3 {
		if err := os.Mkdir(fmt.Sprint(old, i, "-000"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c = w.start(nil)
	if got := w.aside(); len(got) != keepAside || got[0] != old+"2-000" || c.log.count("set_aside_as") != 1 || c.log.count("set aside earlier") != 1 {
		t.Errorf("set aside: %q", got)
	}
	c.reach(t, last)
	w.expectAll(0, 50)
	if n := w.count("a"); n != 50 {
		t.Errorf("%d observations, want 50", n)
	}
}

// A failed fsync fails the store: it is opened again from its last checkpoint and the log is read from there.
func TestStoreThatFailedIsOpenedAgain(t *testing.T) {
	w := newWorld(t)
	c, _ := w.first(20)
	old := c.shard().store.Load()
	// A store that was closed under the worker is as unusable as one that failed.
	if err := old.Abandon(); err != nil {
		t.Fatal(err)
	}
	last := w.publish(several(20, 40)...)
	until(t, "another store has everything", func() bool { return c.shard().store.Load() != old && c.applied() >= last })
	w.expectAll(0, 40)
	if got := w.aside(); len(got) != 0 {
		t.Errorf("set aside: %q, of a store that had nothing wrong", got)
	}
}

// Entries that were deleted from the log are reported, and hold nothing up.
func TestDeletedEntries(t *testing.T) {
	for name, c := range map[string]struct {
		// delete is given the sequence of the last entry that the worker has, and publishes and deletes more. It returns
		// which of several are left, and the end of the log.
		delete func(w *world, have uint64) (from, to int, last uint64)
		holes  int
	}{
		"in the middle": {func(w *world, have uint64) (int, int, uint64) {
			last := w.publish(append(append(several(9, 10), several(100, 103)...), several(10, 20)...)...)
			w.delete(have+2, have+3, have+4)
			return 10, 20, last
		}, 1},
		"at the end": {func(w *world, have uint64) (int, int, uint64) {
			last := w.publish(append(several(10, 20), several(100, 104)...)...)
			w.delete(last, last-1, last-2, last-3)
			return 10, 20, last
		}, 1},
		"in front": {func(w *world, have uint64) (int, int, uint64) {
			last := w.publish(append(several(100, 104), several(10, 20)...)...)
			if err := w.stream(bus.LogStream(0)).Purge(within(w.t), jetstream.WithPurgeSequence(have+5)); err != nil {
				w.t.Fatal(err)
			}
			return 10, 20, last
		}, 1},
		"all": {func(w *world, have uint64) (int, int, uint64) {
			last := w.publish(several(100, 104)...)
			if err := w.stream(bus.LogStream(0)).Purge(within(w.t)); err != nil {
				w.t.Fatal(err)
			}
			return 0, 0, last
		}, 1},
		"every second one": {func(w *world, have uint64) (int, int, uint64) {
			var last uint64
			for i := range 5 {
				last = w.publish(several(100, 101)[0], several(10+i, 11+i)[0])
				w.delete(last - 1)
			}
			return 10, 15, last
		}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			was, have := w.first(10)
			was.close(t)
			from, to, last := c.delete(w, have)
			now := w.start(nil)
			now.reach(t, last)
			now.fresh(t)
			w.expectAll(0, 10)
			w.expectAll(from, to)
			if n := w.count("a") - 10; n != to-from {
				t.Errorf("%d are new, want %d", n, to-from)
			}
			if n := now.log.count("sequences were deleted"); n != c.holes {
				t.Errorf("%d holes were reported, want %d", n, c.holes)
			}
			now.reach(t, w.publish(several(20, 22)...))
			w.expectAll(20, 22)
		})
	}
}

// What is deleted from the end of the log while the index is busy must not count as stale for ever, nor keep those waiting
// who wait for its position.
func TestDeletedWhileItWaits(t *testing.T) {
	w := newWorld(t)
	c := w.start(func(o *Options) { o.Config.Queue.Capacity, o.Config.MinBatch, o.Config.MaxBatch = 2, 1, 1 })
	apply, stuck := c.pool.apply, newGate(t)
	c.pool.apply = func(s *store, evs []*storeEvent, applied uint64) (int, error) {
		stuck.wait()
		return apply(s, evs, applied)
	}
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 150)...)...)
	until(t, "the queue is full", func() bool { return c.shard().mark.read().outstanding == 2 })
	w.delete(last, last-1, last-2)
	stuck.open()
	if err := c.Await(within(t), map[int]uint64{0: last}); err != nil {
		t.Fatal(err)
	}
	c.fresh(t)
	w.expectAll(0, 147)
	if n := w.count("a"); n != 147 {
		t.Errorf("%d observations, want 147", n)
	}
}

// The server goes away and comes back: staleness says so meanwhile, and nothing waits for AckWait afterwards.
func TestServerRestart(t *testing.T) {
	w := newWorld(t)
	c, _ := w.first(10)
	for round := range 2 {
		from := 10 + 10*round
		w.server.Stop()
		until(t, "staleness grows while nobody knows", func() bool { return c.Staleness(time.Now()) > 50*time.Millisecond })
		w.server.Restart()
		c.fresh(t)
		c.reach(t, w.publish(several(from, from+10)...))
		w.expectAll(0, from+10)
	}
	if got := w.aside(); len(got) != 0 {
		t.Errorf("set aside: %q, though the stream is the same", got)
	}
}

// The server goes away in the middle of a backlog, with deliveries under way.
func TestServerRestartUnderABacklog(t *testing.T) {
	w := newWorld(t)
	c := w.start(func(o *Options) { o.Config.Queue.Capacity, o.Config.MinBatch, o.Config.MaxBatch = 8, 1, 4 })
	apply := c.pool.apply
	var seen atomic.Int64
	stuck := newGate(t)
	c.pool.apply = func(s *store, evs []*storeEvent, applied uint64) (int, error) {
		if seen.Add(int64(len(evs))) > 100 {
			stuck.wait()
		}
		return apply(s, evs, applied)
	}
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 300)...)...)
	until(t, "a part is applied", func() bool { return seen.Load() > 100 })
	w.server.Stop()
	stuck.open()
	until(t, "the loss is seen", func() bool { return c.Staleness(time.Now()) > 0 })
	w.server.Restart()
	c.reach(t, last)
	c.fresh(t)
	w.expectAll(0, 300)
	if n := w.count("a"); n != 300 {
		t.Errorf("%d observations, want 300", n)
	}
}

// Another reader of the worker's consumer takes deliveries away, as a crash and a slow connection do: the log would give
// them out again only after AckWait.
func TestDeliveriesThatGetLost(t *testing.T) {
	t.Run("before the start", func(t *testing.T) {
		w := newWorld(t)
		w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 40)...)...)
		thief, err := bus.EnsureWorkerConsumer(within(t), w.conn.JS, 0, "w0", 1)
		if err != nil {
			t.Fatal(err)
		}
		steal(t, thief, 41)
		c := w.start(nil)
		c.reach(t, 41)
		w.expectAll(0, 40)
	})
	for _, at := range []string{"in the middle", "at the end", "as the connection breaks"} {
		t.Run(at, func(t *testing.T) {
			w := newWorld(t)
			c := w.start(func(o *Options) {
				o.Config.Queue.Capacity, o.Config.MinBatch, o.Config.MaxBatch = 2, 1, 2
				if at == "as the connection breaks" {
					o.Config.Checkpoint = 10 * time.Second // nothing but the new connection tells of the loss
				}
			})
			apply, stuck := c.pool.apply, newGate(t)
			c.pool.apply = func(s *store, evs []*storeEvent, applied uint64) (int, error) {
				stuck.wait()
				return apply(s, evs, applied)
			}
			last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 250)...)...)
			until(t, "the queue is full", func() bool { return c.shard().mark.read().outstanding == 2 })
			// Full up to its fetcher, its channel and what the library holds for it, the worker asks for no more, and the rest
			// is for the thief. On a busy machine that takes a while: it counts as settled when nothing moves for half a second.
			n, since := 0, time.Now()
			until(t, "the worker asks for no more", func() bool {
				rest, err := c.consumerOf(0).Info(within(t))
				if err != nil {
					t.Fatal(err)
				}
				if rest.NumWaiting > 0 || n != int(rest.NumPending) {
					n, since = int(rest.NumPending), time.Now()
				}
				return time.Since(since) > 500*time.Millisecond
			})
			if at == "in the middle" {
				n /= 2
			}
			steal(t, c.consumerOf(0), n)
			if at == "as the connection breaks" {
				w.server.Restart()
			}
			stuck.open()
			c.reach(t, last)
			c.fresh(t)
			w.expectAll(0, 250)
		})
	}
}

// steal takes deliveries and never acknowledges them.
func steal(t *testing.T, c jetstream.Consumer, n int) {
	t.Helper()
	batch, err := c.FetchNoWait(n)
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for range batch.Messages() {
		got++
	}
	if got != n || batch.Error() != nil {
		t.Fatalf("took %d of %d away: %v", got, n, batch.Error())
	}
}

// A consumer that says that nothing is pending, as one on a cluster may after its reset, is not believed over the stream: what the
// stream has is not passed over, but asked for anew. What it has no more is passed.
func TestNothingPendingIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 5)...)...)
	opt, c := w.options(nil)
	if err := opt.Config.Resolve(); err != nil {
		t.Fatal(err)
	}
	c.Worker = &Worker{Options: opt, consumers: map[int]jetstream.Consumer{}}
	s, err := c.openShard(within(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	// It follows a subject that has nothing.
	blind, err := w.stream(bus.LogStream(0)).CreateConsumer(within(t), jetstream.ConsumerConfig{AckPolicy: jetstream.AckAllPolicy, FilterSubject: "engram.log.0.none"})
	if err != nil {
		t.Fatal(err)
	}
	c.consumers[0] = blind
	s.settle(within(t))
	s.settle(within(t))
	select {
	case p := <-s.passed:
		t.Errorf("the position passes %d to %d, which the stream has", p.applied+1, p.last)
	case <-s.refetch:
	default:
		t.Error("what the consumer does not know of is not asked for anew")
	}
	for n := uint64(1); n <= last; n++ {
		if err := w.stream(bus.LogStream(0)).DeleteMsg(within(t), n); err != nil {
			t.Fatal(err)
		}
	}
	s.settle(within(t))
	select {
	case p := <-s.passed:
		if p.last != last {
			t.Errorf("the position passes up to %d, want %d", p.last, last)
		}
	default:
		t.Error("what was deleted is not passed")
	}
	if err := s.store.Load().Close(); err != nil {
		t.Fatal(err)
	}
}

// Before a worker has read a backlog it knows that there is one, and how old that is.
func TestBacklogAtTheStartIsStale(t *testing.T) {
	w := newWorld(t)
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 5)...)...)
	opt, c := w.options(nil)
	if err := opt.Config.Resolve(); err != nil {
		t.Fatal(err)
	}
	c.Worker = &Worker{Options: opt}
	s, err := c.openShard(within(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := w.stream(bus.LogStream(0)).GetMsg(within(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if got, want := s.staleness(now), now.Sub(msg.Time); got != want {
		t.Errorf("staleness is %v, and the oldest entry of the log is %v old", got, want)
	}
	if m := s.mark.read(); m.last != last {
		t.Errorf("the end of the log is %d, want %d", m.last, last)
	}
	if err := s.store.Load().Close(); err != nil {
		t.Fatal(err)
	}
}

// A shard that cannot be opened is named once, and its directory with it.
func TestShardThatCannotBeOpened(t *testing.T) {
	w := newWorld(t)
	opt, _ := w.options(nil)
	dir := filepath.Join(w.dir, "shard-0")
	if err := os.WriteFile(dir, []byte("not a directory"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(within(t), opt)
	if err == nil || strings.Count(err.Error(), "opening shard 0") != 1 || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v", err)
	}
}

// The same where the first thing that the closed store meets is an event that it cannot take: nothing must stay
// outstanding for it.
func TestPoisonWhileTheStoreIsClosed(t *testing.T) {
	w := newWorld(t)
	c, _ := w.first(20)
	old := c.shard().store.Load()
	if err := old.Abandon(); err != nil {
		t.Fatal(err)
	}
	w.write(bus.Entry{Subject: bus.LogSubject(0, "nowhere"), ID: "poison", Data: []byte{0xff}})
	last := w.publish(several(20, 40)...)
	until(t, "another store has everything", func() bool { return c.shard().store.Load() != old && c.applied() >= last })
	w.expectAll(0, 40)
	if got := w.quarantine(); len(got) != 1 {
		t.Errorf("%d events in the quarantine, want the one that is poison", len(got))
	}
}
