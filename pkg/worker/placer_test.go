package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/membership"
	"github.com/engram-memory/engram/pkg/placement"
	"github.com/engram-memory/engram/streams"
)

// cluster is a server with the logs of several shards, on which workers come and go.
type cluster struct {
	*world
	// spaces has one for each shard.
	spaces []string
}

func newCluster(t *testing.T, shards int) *cluster {
	t.Helper()
	w := &world{t: t, server: bustest.Start(t)}
	w.conn = w.server.Connect()
	var err error
	if w.topo, _, err = bus.EnsureTopology(within(t), w.conn.JS, bus.TopologyConfig{Shards: shards}); err != nil {
		t.Fatal(err)
	}
	c := &cluster{world: w, spaces: make([]string, shards)}
	for i, left := 0, shards; left > 0; i++ {
		name := fmt.Sprint("space-", i)
		if n := event.ShardOf(name, shards); c.spaces[n] == "" {
			c.spaces[n] = name
			left--
		}
	}
	return c
}

// placed is a worker of a cluster, on a connection of its own.
type placedWorker struct {
	*tested
	conn *bus.Conn
	dir  string
}

// join starts a worker that shares the shards, with a directory of its own unless one is given.
func (c *cluster) join(name, dir string, copies int) *placedWorker {
	c.t.Helper()
	if dir == "" {
		dir = c.t.TempDir()
	}
	conn := c.server.Connect()
	group, err := membership.Join(within(c.t), membership.Options{
		JetStream: conn.JS, Self: membership.Member{Name: name, Epoch: c.topo.Epoch}, Interval: 20 * time.Millisecond,
		Silence: 500 * time.Millisecond, Grace: time.Hour,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	w := &placedWorker{conn: conn, dir: dir}
	w.tested = c.start(func(o *Options) {
		o.Config.Name, o.Config.Dir, o.Config.Placement.Copies, o.Conn, o.JetStream, o.Group = name, dir, copies, conn.NC, conn.JS, group
	})
	return w
}

func (w *placedWorker) serves() []int {
	var all []int
	for _, s := range w.held() {
		if s.serving.Load() != nil {
			all = append(all, s.number)
		}
	}
	slices.Sort(all)
	return all
}

// settled waits until the workers answer for what is placed on them, and hold nothing else.
func (c *cluster) settled(copies int, workers ...*placedWorker) {
	c.t.Helper()
	names := make([]string, len(workers))
	for i, w := range workers {
		names[i] = w.Config.Name
	}
	want := map[string][]int{}
	for shard, on := range placement.Place(c.topo.Shards, copies, names) {
		for _, name := range on {
			want[name] = append(want[name], shard)
		}
	}
	for _, w := range workers {
		until(c.t, fmt.Sprintf("%s answers for %v alone", w.Config.Name, want[w.Config.Name]), func() bool {
			return slices.Equal(w.serves(), want[w.Config.Name]) && len(w.held()) == len(want[w.Config.Name]) && w.Ready() == nil
		})
	}
}

// fill writes rows to the space of each shard.
func (c *cluster) fill(from, to int) {
	c.t.Helper()
	for shard, space := range c.spaces {
		events := []*api.LogEvent{define(space, 3)}
		for i := from; i < to; i++ {
			events = append(events, observe(space, fmt.Sprint(i), direction(i)...))
		}
		entries := make([]bus.Entry, len(events))
		for i, e := range events {
			data, err := proto.Marshal(e)
			if err != nil {
				c.t.Fatal(err)
			}
			entries[i] = bus.Entry{Subject: bus.LogSubject(shard, space), Data: data}
		}
		c.write(entries...)
	}
}

// recallFrom asks a shard for what is nearest to direction(i), once.
func (c *cluster) recallFrom(ctx context.Context, shard, i int) (string, error) {
	body, err := proto.Marshal(&api.RecallRequest{Space: c.spaces[shard], Embedding: embedding(direction(i)...), K: proto.Uint32(1)})
	if err != nil {
		return "", err
	}
	msg, err := c.conn.NC.RequestWithContext(ctx, bus.ShardSubject(shard, bus.VerbRecall), body)
	if err != nil {
		return "", err
	}
	if text := msg.Header.Get(micro.ErrorHeader); text != "" {
		return "", errors.New(text)
	}
	resp := new(api.RecallResponse)
	if err := proto.Unmarshal(msg.Data, resp); err != nil || len(resp.GetHits()) != 1 {
		return "", fmt.Errorf("%v, %w", resp, err)
	}
	return resp.GetHits()[0].GetId(), nil
}

// ask recalls from all shards without a pause, and never twice for one answer, until stop is called, which returns how often.
func (c *cluster) ask(rows int) (stop func() int) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var asked atomic.Int64
	for shard := range c.spaces {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i = (i + 1) % rows {
				try, done := context.WithTimeout(context.Background(), patience)
				id, err := c.recallFrom(try, shard, i)
				done()
				if err != nil || id != fmt.Sprint(i) {
					c.t.Errorf("shard %d, row %d: %q, %v", shard, i, id, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	stop = sync.OnceValue(func() int { cancel(); all.Wait(); return int(asked.Load()) })
	c.t.Cleanup(func() { stop() })
	return stop
}

// Nobody who asks once may notice that a shard has moved.
func TestShardsMoveWithoutAFailedRecall(t *testing.T) {
	c := newCluster(t, 6)
	a := c.join("a", "", 1)
	c.fill(0, 50)
	c.settled(1, a)
	until(t, "all is searchable", func() bool { return a.Staleness(time.Now()) == 0 })
	stop := c.ask(50)
	b := c.join("b", "", 1)
	c.settled(1, a, b)
	d := c.join("c", "", 1)
	c.settled(1, a, b, d)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	c.settled(1, b, d)
	if n := stop(); n < 100 {
		t.Errorf("only %d recalls were made meanwhile", n)
	}
	for shard := range c.spaces {
		s, err := c.conn.JS.Stream(within(t), bus.LogStream(shard))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for range s.ListConsumers(within(t)).Info() {
			n++
		}
		if n > 2 { // that of the worker which holds it, and that of a, which may come back
			t.Errorf("shard %d has %d consumers", shard, n)
		}
	}
}

func TestAShardThatComesBackIsOpenedFromItsFiles(t *testing.T) {
	c := newCluster(t, 4)
	a := c.join("a", "", 1)
	c.fill(0, 20)
	c.settled(1, a)
	b := c.join("b", "", 1)
	c.settled(1, a, b)
	moved := b.serves()
	if len(moved) == 0 {
		t.Fatal("b got nothing")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	c.settled(1, a)
	for _, shard := range moved {
		if s := a.holds(shard); !s.own.Load() {
			t.Errorf("shard %d, which a had before, was read from the log again", shard)
		}
	}
}

// A worker that is killed in a set-up with one copy leaves its shards to others, once they have noticed.
func TestTheShardsOfADeadWorkerAreTaken(t *testing.T) {
	c := newCluster(t, 4)
	a, b := c.join("a", "", 1), c.join("b", "", 1)
	c.fill(0, 20)
	c.settled(1, a, b)
	b.conn.Close()
	c.settled(1, a)
	for shard := range c.spaces {
		if id, err := c.recallFrom(within(t), shard, 7); id != "7" || err != nil {
			t.Errorf("shard %d: %q, %v", shard, id, err)
		}
	}
}

// With two copies nothing is copied when a worker goes for a short while.
func TestGraceWithTwoCopies(t *testing.T) {
	c := newCluster(t, 4)
	a, b, d := c.join("a", "", 2), c.join("b", "", 2), c.join("c", "", 2)
	c.fill(0, 20)
	c.settled(2, a, b, d)
	before := [][]int{b.serves(), d.serves()}
	stop := c.ask(20)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "b and c know that a is gone", func() bool {
		return len(b.Group.View().Gone) == 1 && len(d.Group.View().Gone) == 1
	})
	again := c.join("a", a.dir, 2)
	c.settled(2, again, b, d)
	stop()
	for i, w := range []*placedWorker{b, d} {
		if got := w.serves(); !slices.Equal(got, before[i]) || w.log.count("shard open") != len(got) {
			t.Errorf("%s answered for %v, answers for %v, and has opened %d", w.Config.Name, before[i], got, w.log.count("shard open"))
		}
	}
}

// standStill makes every copy of a shard that begins anew stop at an event of the log until let go.
func (c *cluster) standStill(shard int, a *placedWorker) (letGo func()) {
	c.t.Helper()
	last := c.write(bus.Entry{Subject: bus.LogSubject(shard, c.spaces[shard]), Data: []byte("\xff")})
	until(c.t, "the poison is in the quarantine", func() bool { return a.Applied(shard) >= last })
	if err := c.conn.JS.DeleteStream(within(c.t), bus.QuarantineStream); err != nil {
		c.t.Fatal(err)
	}
	return func() {
		c.t.Helper()
		cfg, err := streams.Quarantine()
		if err == nil {
			_, err = c.conn.JS.CreateStream(within(c.t), cfg)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

func TestACopyThatIsNotFreshDoesNotAnswer(t *testing.T) {
	c := newCluster(t, 1)
	a := c.join("a", "", 2)
	c.fill(0, 20)
	c.settled(2, a)
	letGo := c.standStill(0, a)
	b := c.join("b", "", 2)
	until(t, "b holds a copy", func() bool { return len(b.held()) == 1 && b.log.count("stands still") > 0 })
	stop := c.ask(20)
	until(t, "many recalls", func() bool { return a.answered.Load() > 300 })
	stop()
	if b.answered.Load() != 0 || len(b.serves()) != 0 {
		t.Errorf("a copy that stands still has answered %d recalls", b.answered.Load())
	}
	if err := b.Ready(); err == nil || !strings.Contains(err.Error(), "catching up") {
		t.Errorf("b says of itself: %v", err)
	}
	letGo()
	c.settled(2, a, b)
	stop = c.ask(20)
	until(t, "b answers, too", func() bool { return b.answered.Load() > 10 })
	stop()
}

// The one who has a shard keeps it until the one who is to have it can answer, even where it is about to end.
func TestTheOldCopyGoesOn(t *testing.T) {
	c := newCluster(t, 1)
	a := c.join("a", "", 1)
	c.fill(0, 20)
	c.settled(1, a)
	letGo := c.standStill(0, a)
	b := c.join("b", "", 1)
	a.placer.drain(false)
	until(t, "b holds a copy", func() bool { return len(b.held()) == 1 && b.log.count("stands still") > 0 })
	stop := c.ask(20)
	until(t, "a says why it has the shard", func() bool {
		s := a.holds(0)
		return s != nil && *s.reason.Load() == "kept until b can answer"
	})
	closed := make(chan error, 1)
	go func() { closed <- a.Close() }()
	until(t, "a is stopping", func() bool { return b.Group.View().Living["a"].Stopping })
	select {
	case err := <-closed:
		t.Fatalf("it has ended (%v) without anybody to answer for the shard", err)
	default:
	}
	letGo()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	c.settled(1, b)
	stop()
}

// What a copy stands still at must not keep it from being given up.
func TestACopyThatStandsStillIsGivenUp(t *testing.T) {
	c := newCluster(t, 1)
	a := c.join("a", "", 2)
	c.fill(0, 20)
	c.settled(2, a)
	letGo := c.standStill(0, a)
	b := c.join("b", "", 2)
	until(t, "b stands still", func() bool { return len(b.held()) == 1 && b.log.count("stands still") > 0 })
	b.placer.drain(false)
	until(t, "b has given it up", func() bool { return len(b.held()) == 0 })
	letGo()
	b.placer.drain(true)
	c.settled(2, a, b)
	if n := len(c.quarantine()); n != 1 {
		t.Errorf("the quarantine has %d events, want the one that b stood still at", n)
	}
}

func TestAWorkerWithoutOthersStopsAtOnce(t *testing.T) {
	c := newCluster(t, 2)
	a := c.join("a", "", 2)
	b := c.join("b", "", 2)
	c.settled(2, a, b)
	closed := make(chan error, 2)
	for _, w := range []*placedWorker{a, b} {
		go func() { closed <- w.Close() }()
	}
	for range 2 {
		select {
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Fatal("two workers that end together wait for each other")
		}
	}
}

func TestDrain(t *testing.T) {
	c := newCluster(t, 4)
	a, b := c.join("a", "", 1), c.join("b", "", 1)
	c.settled(1, a, b)
	order := func(req *api.DrainRequest) {
		t.Helper()
		body, err := proto.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.conn.NC.RequestWithContext(within(t), bus.DrainSubject("a"), body); err != nil {
			t.Fatal(err)
		}
	}
	order(&api.DrainRequest{})
	until(t, "a has no shard", func() bool { return len(a.held()) == 0 })
	c.settled(1, b)
	order(&api.DrainRequest{Cancel: true})
	c.settled(1, a, b)
	if _, err := c.conn.NC.RequestWithContext(within(t), bus.DrainSubject("x"), nil); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a worker that is not there: %v", err)
	}
}

// Two workers of one name would take each other's consumers.
func TestAWorkerYieldsToAnotherOfItsName(t *testing.T) {
	c := newCluster(t, 2)
	a := c.join("a", "", 1)
	c.settled(1, a)
	again := c.join("a", "", 1)
	until(t, "the first has given up", func() bool { return len(a.held()) == 0 && a.Ready() != nil })
	c.settled(1, again)
}

func TestFilesOfAShardThatMovedAreRemovedAtLast(t *testing.T) {
	c := newCluster(t, 4)
	a := c.join("a", "", 1)
	c.settled(1, a)
	b := c.join("b", "", 1)
	c.settled(1, a, b)
	moved := b.serves()[0]
	dir := a.shardDir(moved)
	a.placer.stop()
	a.placer.sweep(time.Now())
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("the files of shard %d are gone at once: %v", moved, err)
	}
	a.placer.sweep(time.Now().Add(2 * time.Hour))
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the files of shard %d are there after two hours: %v", moved, err)
	}
	for _, shard := range a.serves() {
		if _, err := os.Stat(a.shardDir(shard)); err != nil {
			t.Errorf("those of shard %d, which it holds: %v", shard, err)
		}
	}
}

func TestAConsumerThatIsGoneIsNoError(t *testing.T) {
	c := newCluster(t, 1)
	if err := bus.DeleteWorkerConsumer(within(t), c.conn.JS, 0, "x"); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("deleting a consumer that is not there: %v", err)
	}
}

// The log's deliveries of a shard that stands still must not keep the others from ending.
func TestAWorkerEndsWhoseShardStandsStill(t *testing.T) {
	c := newCluster(t, 2)
	a := c.join("a", "", 1)
	c.fill(0, 20)
	c.settled(1, a)
	if err := c.conn.JS.DeleteStream(within(t), bus.QuarantineStream); err != nil {
		t.Fatal(err)
	}
	c.write(bus.Entry{Subject: bus.LogSubject(0, c.spaces[0]), Data: []byte("\xff")})
	for i := range 3 { // more than what waits between the connection and the shard
		c.fill(20+100*i, 120+100*i)
	}
	until(t, "shard 0 stands still", func() bool { return a.log.count("stands still") > 0 })
	closed := make(chan error, 1)
	go func() { closed <- a.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
}

// What comes back from a cut connection answers only when it is fresh: nobody waited for it meanwhile.
func TestACopyThatWasCutOffIsNotTrustedAtOnce(t *testing.T) {
	c := newCluster(t, 1)
	a, b := c.join("a", "", 2), c.join("b", "", 2)
	c.fill(0, 20)
	c.settled(2, a, b)
	letGo := c.standStill(0, a)
	until(t, "b has seen the poison, too", func() bool { return b.Applied(0) == a.Applied(0) })
	b.cutOff()
	if v := b.holds(0); v.answers() || b.Group.View().Living["b"].Serves(0) {
		t.Error("a copy that was cut off still claims to answer")
	}
	body, err := proto.Marshal(&api.RecallRequest{Space: c.spaces[0], Embedding: embedding(direction(1)...)})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		m, err := c.conn.NC.RequestWithContext(within(t), bus.ShardSubject(0, bus.VerbRecall), body)
		if err != nil {
			t.Fatal(err)
		}
		if code := m.Header.Get(micro.ErrorCodeHeader); code == "" {
			continue // of a
		} else if code != "503" {
			t.Errorf("a copy that was cut off answered with %s", code)
		}
	}
	letGo()
	c.settled(2, a, b)
}
