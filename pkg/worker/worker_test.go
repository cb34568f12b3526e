package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/dirlock"
	"github.com/engram-memory/engram/pkg/event"
)

// What is in the log is found, acknowledged once it is durable, and after a restart there without being read again.
func TestLogBecomesSearchable(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 60)...)...)
	c.reach(t, last)
	w.expectAll(0, 60)
	until(t, "the ack floor and the durable position reach the end", func() bool {
		info, err := c.consumerOf(0).Info(within(t))
		if err != nil {
			t.Fatal(err)
		}
		return info.AckFloor.Stream == last && c.shard().store.Load().Durable() == last
	})
	req := &api.RecallRequest{Space: "a", Embedding: embedding(3, 1, 2), K: proto.Uint32(25), Include: []string{"text", "embedding"}}
	before := w.recall(req)
	if before.GetApplied() != w.position(last) || before.GetStalenessMs() != 0 || !before.GetExact() || before.GetSearched() != 60 {
		t.Errorf("of itself, the answer says applied %s, staleness %v, searched %d", before.GetApplied(), before.GetStalenessMs(), before.GetSearched())
	}
	size := c.shard().store.Load().LogBytes()
	c.close(t)

	c = w.start(nil)
	if got := c.shard().store.Load().Appended(); got != last {
		t.Errorf("opened at position %d, want %d", got, last)
	}
	if diff := cmp.Diff(before, w.recall(req), protocmp.Transform(), protocmp.IgnoreFields(new(api.RecallResponse), "took_us")); diff != "" {
		t.Errorf("the answer changed with a restart (-before +after):\n%s", diff)
	}
	last = w.publish(define("a", 3)) // of no effect: gives no record
	c.reach(t, last)
	info, err := c.consumerOf(0).Info(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if info.Delivered.Consumer != 1 {
		t.Errorf("%d were delivered after the restart, want the one that is new", info.Delivered.Consumer)
	}
	if after := c.shard().store.Load().LogBytes(); after > size+200 {
		t.Errorf("the row log grew from %d to %d bytes with nothing new in it", size, after)
	}
}

// Upserts, forgets and drops end as the log says, in whatever order the lanes let them through.
func TestLastWriteWins(t *testing.T) {
	w := newWorld(t)
	c := w.start(func(o *Options) {
		o.Config.NumWorkers, o.Config.Steal, o.Config.MinBatch, o.Config.MaxBatch = 4, 1, 1, 4
	})
	events := []*api.LogEvent{define("a", 3), define("b", 3)}
	for i := range 400 {
		e := observe("a", fmt.Sprint(i%5), direction(i)...)
		if i%3 == 0 {
			e.GetObserve().Priority = api.Priority_PRIORITY_HIGH
		}
		e.GetObserve().Text = fmt.Sprint("version ", i)
		events = append(events, e, observe("b", fmt.Sprint(i), 1, 0, 0))
	}
	forget := &api.LogEvent{Event: &api.LogEvent_Forget{Forget: &api.ForgetEvent{Space: "a", Ids: []string{"4"}}}}
	drop := &api.LogEvent{Event: &api.LogEvent_Drop{Drop: &api.DropEvent{Space: "b", Generation: 1}}}
	c.reach(t, w.publish(append(events, forget, drop)...))
	resp := new(api.GetResponse)
	if code := w.ask(bus.VerbGet, &api.GetRequest{Space: "a", Ids: []string{"0", "1", "2", "3", "4"}}, resp); code != "" {
		t.Fatal(code)
	}
	var texts []string
	for _, h := range resp.GetObservations() {
		texts = append(texts, h.GetText())
	}
	if want := []string{"version 395", "version 396", "version 397", "version 398"}; !slices.Equal(texts, want) {
		t.Errorf("left are %q, want %q", texts, want)
	}
	if code := w.ask(bus.VerbGet, &api.GetRequest{Space: "b", Ids: []string{"1"}}, resp); code != "unknown_space" {
		t.Errorf("get in a dropped space: %q", code)
	}
}

func TestSecondWorkerOnADirectoryNamesTheLock(t *testing.T) {
	w := newWorld(t)
	w.start(nil)
	opt, _ := w.options(func(o *Options) { o.Config.Name = "w1" })
	_, err := Start(within(t), opt)
	if !errors.Is(err, dirlock.ErrLocked) || !strings.Contains(err.Error(), "LOCK") {
		t.Fatalf("the second worker: %v", err)
	}
}

func TestStartRefusesWhatCannotBe(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*Config){
		"shards":              func(c *Config) { c.Shards = []int{1} },
		"recall_concurrency":  func(c *Config) { c.RecallWorkers = -1 },
		"max_batch_size":      func(c *Config) { c.MaxBatch = 1 << 40 },
		"capacity":            func(c *Config) { c.Queue.Capacity = 1 << 40 },
		"name":                func(c *Config) { c.Name = "a.b" },
		"index.keep_versions": func(c *Config) { c.Index.KeepVersions = -1 },
		"index.link_threads":  func(c *Config) { c.Index.LinkThreads = -1 },
		"index.audit_rate":    func(c *Config) { c.Index.AuditRate = -1 },
		"index.audit_share":   func(c *Config) { c.Index.AuditShare = 1.5 },
		"max_space_labels":    func(c *Config) { c.MaxSpaceLabels = -1 },
	} {
		opt, _ := w.options(func(o *Options) { change(&o.Config) })
		if _, err := Start(within(t), opt); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Copies of a shard have different names and directories, and share its requests.
func TestCopiesShareRequests(t *testing.T) {
	w := newWorld(t)
	first := w.start(nil)
	second := w.start(func(o *Options) { o.Config.Name, o.Config.Dir = "w1", t.TempDir() })
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 9)...)...)
	first.reach(t, last)
	second.reach(t, last)
	until(t, "both have answered", func() bool {
		w.expectAll(0, 9)
		return first.answered.Load() > 0 && second.answered.Load() > 0
	})
	first.close(t)
	w.expectAll(0, 9)
}

// A closed worker leaves nothing behind, and closing does not wait for a server that is away.
func TestCloseIsCompleteAndPrompt(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprintf("server away %t", away), func(t *testing.T) {
			others := goleak.IgnoreCurrent()
			w := newWorld(t)
			c := w.start(nil)
			c.reach(t, w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 200)...)...))
			// A request that waits does not hold up the end.
			body, err := proto.Marshal(&api.RecallRequest{Space: "a", Id: "1", AtLeast: w.position(1 << 40), DeadlineMs: 20_000})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.conn.NC.PublishRequest(bus.ShardSubject(0, bus.VerbRecall), "_INBOX.nobody", body); err != nil {
				t.Fatal(err)
			}
			until(t, "a request waits", func() bool {
				c.shard().mark.mu.Lock()
				defer c.shard().mark.mu.Unlock()
				return len(c.shard().mark.waiters) == 1
			})
			if away {
				w.server.Stop()
				until(t, "the loss is seen", func() bool { return c.Staleness(time.Now()) > 0 })
			}
			start := time.Now()
			c.close(t)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("closing took %v", took)
			}
			w.conn.Close()
			w.server.Stop()
			goleak.VerifyNone(t, others)
		})
	}
}

// Heartbeats come at 4 to 10 Hz from an idle worker with the default interval, with the numbers of its shard.
func TestHeartbeats(t *testing.T) {
	w := newWorld(t)
	sub, err := w.conn.NC.SubscribeSync(bus.HeartbeatSubject("w0"))
	if err != nil {
		t.Fatal(err)
	}
	c := w.start(func(o *Options) { o.Config.Heartbeat, o.Config.Queue.Capacity = DefaultConfig().Heartbeat, 1234 })
	next := func() *api.ShardStatus {
		msg, err := sub.NextMsgWithContext(within(t))
		if err != nil {
			t.Fatal(err)
		}
		hb := new(api.Heartbeat)
		if err := proto.Unmarshal(msg.Data, hb); err != nil || hb.GetWorker() != "w0" || hb.GetEpoch() != w.topo.Epoch || len(hb.GetShards()) != 1 {
			t.Fatalf("heartbeat %v: %v", hb, err)
		}
		return hb.GetShards()[0]
	}
	next() // what is applied before the first one counts for no rate
	w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 20)...)...)
	last := w.write(bus.Entry{Subject: bus.LogSubject(0, "a"), Data: []byte("\xff")})
	for next().GetDurable() != last {
	}
	const beats = 5
	start := time.Now()
	for range beats - 1 {
		next()
	}
	st := next()
	if rate := beats / time.Since(start).Seconds(); rate < 3 || rate > 11 {
		t.Errorf("%.1f heartbeats a second, want 4 to 10", rate)
	}
	if st.GetDrainRate() <= 0 {
		t.Error("no drain rate")
	}
	st.DrainRate = 0
	if diff := cmp.Diff(&api.ShardStatus{
		State: api.CopyState_COPY_STATE_SERVING, Reason: "the worker holds all shards",
		Applied: last, Durable: last, Capacity: 1234, HighReserved: 123, Fetched: last, LastSequence: last, Quarantined: 1,
		StreamCreatedAt: c.shard().store.Load().Source().CreatedAt,
	}, st, protocmp.Transform()); diff != "" {
		t.Errorf("the shard's state (-want +got):\n%s", diff)
	}
}

func TestAtLeastWaitsAndTimesOut(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 3)...)...)
	c.reach(t, last)
	ask := func(at string, deadline uint32) (string, *api.RecallResponse) {
		resp := new(api.RecallResponse)
		return w.ask(bus.VerbRecall, &api.RecallRequest{Space: "a", Embedding: embedding(direction(3)...), AtLeast: at, DeadlineMs: deadline}, resp), resp
	}
	if code, _ := ask(w.position(last+1), 30); code != "deadline" {
		t.Errorf("a position that does not come: %q", code)
	}
	for _, at := range []string{"x", "other.0:1", event.Position{Epoch: w.topo.Epoch, Shard: 1, Sequence: 1}.String()} {
		if code, _ := ask(at, 30); code != "invalid_position" {
			t.Errorf("at_least %q: %q", at, code)
		}
	}
	answer := make(chan string)
	go func() {
		_, resp := ask(w.position(last+1), uint32(patience.Milliseconds()))
		if h := resp.GetHits(); len(h) > 0 {
			answer <- h[0].GetId()
		}
		close(answer)
	}()
	until(t, "the request waits", func() bool {
		c.shard().mark.mu.Lock()
		defer c.shard().mark.mu.Unlock()
		return len(c.shard().mark.waiters) > 0
	})
	w.publish(several(3, 4)...)
	if id := <-answer; id != "3" {
		t.Errorf("a recall that waited for the write found %q", id)
	}
}

// An answer that NATS would not carry is refused in words. The last bytes below the limit are those of the headers.
func TestAnswersThatAreTooLarge(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	const dim, rows = 512, 560
	events := []*api.LogEvent{define("big", dim)}
	for i := range rows {
		v := make([]float32, dim)
		v[i%dim] = 1
		events = append(events, observe("big", fmt.Sprint(i), v...))
	}
	c.reach(t, w.publish(events...))
	req := &api.RecallRequest{Space: "big", Id: "1", K: proto.Uint32(1000), Include: []string{"embedding"}}
	if code := w.ask(bus.VerbRecall, req, new(api.RecallResponse)); code != "too_large" {
		t.Errorf("%d embeddings of %d bytes: %q", rows, 4*dim, code)
	}
	req.Include = nil
	if n := len(w.recall(req).GetHits()); n != rows-1 {
		t.Errorf("%d hits without embeddings, want %d", n, rows-1)
	}

	limit := int(w.conn.NC.MaxPayload())
	texts := func(n int) *api.LogEvent {
		e := observe("a", fmt.Sprint("t", n), 1, 1, 1)
		e.GetObserve().Text = strings.Repeat("x", n)
		return e
	}
	events = []*api.LogEvent{define("a", 3)}
	for i := range 15 {
		events = append(events, texts(event.MaxText-i))
	}
	last := w.publish(events...)
	list := &api.ListRequest{Space: "a", AtLeast: w.position(last)}
	resp := new(api.ListResponse)
	if code := w.ask(bus.VerbList, list, resp); code != "" {
		t.Fatalf("15 long texts: %q", code)
	}
	// One more, so that the answer ends a few bytes below the limit: too little for the headers.
	left := limit - proto.Size(resp)
	list.AtLeast = w.position(w.publish(texts(left - 150)))
	if code := w.ask(bus.VerbList, list, resp); code != "too_large" {
		t.Errorf("an answer of %d bytes where %d fit: %q", proto.Size(resp), limit, code)
	}
}

// Never more than queue.capacity is between fetched and searchable, and what waits is staleness.
func TestCapacityBoundsWhatIsOutstanding(t *testing.T) {
	const capacity = 16
	w := newWorld(t)
	c := w.start(func(o *Options) { o.Config.Queue.Capacity, o.Config.MinBatch, o.Config.MaxBatch = capacity, 1, 8 })
	apply, stuck := c.pool.apply, newGate(t)
	c.pool.apply = func(s *store, evs []*storeEvent, applied uint64) (int, error) {
		stuck.wait()
		if n := c.shard().mark.read().outstanding; n > capacity {
			t.Errorf("%d are outstanding, %d may be", n, capacity)
		}
		return apply(s, evs, applied)
	}
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 300)...)...)
	until(t, "the queue is full", func() bool { return c.shard().mark.read().outstanding == capacity })
	until(t, "staleness grows", func() bool { return c.Staleness(time.Now()) > 20*time.Millisecond })
	if m := c.shard().mark.read(); m.outstanding > capacity || m.applied != 1 || m.last != last {
		t.Errorf("with a stuck index: %+v", m)
	}
	stuck.open()
	c.reach(t, last)
	c.fresh(t)
	w.expectAll(0, 300)
}

// Index workers of a worker that is closed with a backlog leave it to the next start.
func TestCloseWithABacklog(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	apply := c.pool.apply
	c.pool.apply = func(s *store, evs []*storeEvent, applied uint64) (int, error) {
		<-ctx.Done()
		return apply(s, evs[:1], applied)
	}
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 100)...)...)
	until(t, "all are fetched", func() bool { return c.shard().store.Load().Appended() == last })
	context.AfterFunc(c.ctx, cancel) // the index goes on as the worker ends
	c.close(t)
	c = w.start(nil)
	c.reach(t, last)
	w.expectAll(0, 100)
}

func TestReadyAndMetricsWhileItRuns(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	until(t, "the worker is ready", func() bool { return c.Ready() == nil })
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 30)...)...)
	if err := c.Await(within(t), map[int]uint64{0: last}); err != nil {
		t.Fatal(err)
	}
	until(t, "lag and staleness are 0", func() bool {
		return counted(c.shard().metrics.Lag.(prometheus.Collector)) == 0 && counted(c.shard().metrics.Staleness.(prometheus.Collector)) == 0
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Await(ctx, map[int]uint64{0: last + 1}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "shard 0") {
		t.Errorf("waiting for what does not come: %v", err)
	}
	w.server.Stop()
	until(t, "the worker is not ready", func() bool { return c.Ready() != nil })
}

// The recall API knows a space from its definition, before the copy has it from the log: that is nothing found, and not
// nothing there.
func TestSpaceThatIsOnItsWay(t *testing.T) {
	w := newWorld(t)
	w.start(nil)
	for name, c := range map[string]struct {
		header string
		failed bool
	}{"from the recall API": {"early", false}, "from anybody": {"", true}} {
		body, err := proto.Marshal(&api.RecallRequest{Space: "early", Embedding: embedding(1, 0)})
		if err != nil {
			t.Fatal(err)
		}
		msg := &nats.Msg{Subject: bus.ShardSubject(0, bus.VerbRecall), Data: body, Header: nats.Header{}}
		if c.header != "" {
			msg.Header.Set(bus.HeaderSpace, c.header)
		}
		m, err := w.conn.NC.RequestMsgWithContext(within(t), msg)
		if err != nil {
			t.Fatal(err)
		}
		resp := new(api.RecallResponse)
		refused := m.Header.Get(micro.ErrorCodeHeader) != ""
		if refused != c.failed || !refused && (proto.Unmarshal(m.Data, resp) != nil || len(resp.GetHits()) != 0 || resp.GetApplied() == "") {
			t.Errorf("%s: refused %t, %v", name, refused, resp)
		}
	}
}
