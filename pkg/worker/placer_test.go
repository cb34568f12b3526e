package worker

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
)

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
	ends(t, a, b)
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
	ends(t, a)
}

// What comes back from a cut connection answers only when it is fresh: nobody waited for it meanwhile.
func TestACopyThatWasCutOffIsNotTrustedAtOnce(t *testing.T) {
	c := newCluster(t, 1)
	a, b := c.join("a", "", 2), c.join("b", "", 2)
	c.fill(0, 20)
	c.settled(2, a, b)
	letGo := c.standStill(0, a)
	until(t, "b has seen the poison, too", func() bool { return b.Applied(0) == a.Applied(0) })
	b.disconnected()
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
