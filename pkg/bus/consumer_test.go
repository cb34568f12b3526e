package bus_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/streams"
)

// publish appends n messages to the log of a shard; the body of each is its number, from 1.
func publish(t *testing.T, js jetstream.JetStream, shard, n int) {
	t.Helper()
	for i := range n {
		if _, err := js.Publish(testContext(t), bus.LogSubject(shard, "net"), []byte(strconv.Itoa(i+1))); err != nil {
			t.Fatal(err)
		}
	}
}

// fetch takes n messages, in less time than any redelivery takes, and returns the sequence of the first.
func fetch(t *testing.T, c jetstream.Consumer, n int) (first uint64, msgs []jetstream.Msg) {
	t.Helper()
	batch, err := c.Fetch(n, jetstream.FetchMaxWait(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		if len(msgs) == 0 {
			first = meta.Sequence.Stream
		}
		if want := first + uint64(len(msgs)); meta.Sequence.Stream != want {
			t.Fatalf("sequence %d came where %d was due", meta.Sequence.Stream, want)
		}
		msgs = append(msgs, m)
	}
	if batch.Error() != nil || len(msgs) != n {
		t.Fatalf("%d messages of %d, error %v", len(msgs), n, batch.Error())
	}
	return first, msgs
}

// A worker that was killed with 100 messages in its hands goes on where its own checkpoint says, at once: without the
// reset the server would wait for AckWait, 30 s, before it delivered any of them again.
func TestWorkerConsumerStartsAtThePositionAtOnce(t *testing.T) {
	ctx := testContext(t)
	js := bustest.Start(t).Connect().JS
	mustEnsure(t, js, bus.TopologyConfig{Shards: 1})
	publish(t, js, 0, 120)

	ensure := func(start uint64) jetstream.Consumer {
		t.Helper()
		c, err := bus.EnsureWorkerConsumer(ctx, js, 0, "w1", start)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if first, _ := fetch(t, ensure(0), 100); first != 1 {
		t.Fatalf("a new worker begins at %d", first)
	}
	c := ensure(51)
	if first, _ := fetch(t, c, 70); first != 51 {
		t.Errorf("after the restart it goes on at %d, want 51", first)
	}
	// Below what it has acknowledged: a checkpoint was lost, and the state is rebuilt from an older one.
	first, msgs := fetch(t, ensure(101), 20)
	if first != 101 {
		t.Errorf("forward: %d", first)
	}
	if err := msgs[19].DoubleAck(ctx); err != nil {
		t.Fatal(err)
	}
	if first, _ := fetch(t, ensure(11), 110); first != 11 {
		t.Errorf("below the ack floor: %d, want 11", first)
	}
	// The end of the log is a position as well; what comes next is new.
	c = ensure(121)
	publish(t, js, 0, 1)
	if first, _ := fetch(t, c, 1); first != 121 {
		t.Errorf("at the end: %d, want 121", first)
	}
	info, err := c.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if info.NumPending != 0 || info.NumAckPending != 1 || info.NumRedelivered != 0 {
		t.Errorf("lag %d, %d to acknowledge, %d redelivered", info.NumPending, info.NumAckPending, info.NumRedelivered)
	}
}

func TestWorkerConsumerBelowTheFirstSequence(t *testing.T) {
	ctx := testContext(t)
	js := bustest.Start(t).Connect().JS
	mustEnsure(t, js, bus.TopologyConfig{Shards: 1})
	publish(t, js, 0, 10)
	stream, err := js.Stream(ctx, bus.LogStream(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(8)); err != nil {
		t.Fatal(err)
	}
	c, err := bus.EnsureWorkerConsumer(ctx, js, 0, "w1", 3)
	if err != nil {
		t.Fatal(err)
	}
	if first, _ := fetch(t, c, 3); first != 8 {
		t.Errorf("got %d, want the first that exists, 8", first)
	}
}

func TestWorkerConsumerErrors(t *testing.T) {
	ctx := testContext(t)
	js := bustest.Start(t).Connect().JS
	if _, err := bus.EnsureWorkerConsumer(ctx, js, 0, "w1", 1); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("without a stream: %v", err)
	}
	mustEnsure(t, js, bus.TopologyConfig{Shards: 1})
	publish(t, js, 0, 2)
	if _, err := bus.EnsureWorkerConsumer(ctx, js, 0, "w1", 4); !errors.Is(err, bus.ErrAheadOfLog) {
		t.Errorf("beyond the end: %v", err)
	}
	if _, err := bus.EnsureWorkerConsumer(ctx, js, 0, "w.1", 1); err == nil {
		t.Error("a worker id with a dot was accepted")
	}
}

// A consumer that was made by hand or by another release, with settings that cannot be changed in place, is replaced.
func TestWorkerConsumerReplacesAnother(t *testing.T) {
	ctx := testContext(t)
	js := bustest.Start(t).Connect().JS
	mustEnsure(t, js, bus.TopologyConfig{Shards: 1})
	publish(t, js, 0, 30)
	if _, err := js.CreateConsumer(ctx, bus.LogStream(0), jetstream.ConsumerConfig{
		Durable: "worker_w1", AckPolicy: jetstream.AckExplicitPolicy,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 25,
	}); err != nil {
		t.Fatal(err)
	}
	c, err := bus.EnsureWorkerConsumer(ctx, js, 0, "w1", 11)
	if err != nil {
		t.Fatal(err)
	}
	if first, _ := fetch(t, c, 20); first != 11 {
		t.Errorf("got %d, want 11", first)
	}
	info, err := c.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want, err := streams.Worker("w1")
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Config; got.AckPolicy != want.AckPolicy || got.MaxAckPending != -1 || got.AckWait != want.AckWait ||
		got.InactiveThreshold != want.InactiveThreshold || got.MaxWaiting != want.MaxWaiting {
		t.Errorf("got %+v", got)
	}
}

// The position is the worker's; two workers of one shard do not disturb each other.
func TestWorkerConsumersAreIndependent(t *testing.T) {
	ctx := testContext(t)
	js := bustest.Start(t).Connect().JS
	mustEnsure(t, js, bus.TopologyConfig{Shards: 1})
	publish(t, js, 0, 10)
	for worker, start := range map[string]uint64{"a": 1, "b": 6} {
		c, err := bus.EnsureWorkerConsumer(ctx, js, 0, worker, start)
		if err != nil {
			t.Fatal(err)
		}
		if first, _ := fetch(t, c, 11-int(start)); first != start {
			t.Errorf("worker %s got %d, want %d", worker, first, start)
		}
	}
}

func TestLogKnowsDuplicates(t *testing.T) {
	ctx := testContext(t)
	js := bustest.Start(t).Connect().JS
	mustEnsure(t, js, bus.TopologyConfig{Shards: 1})
	for i, want := range []bool{false, true} {
		m := nats.NewMsg(bus.LogSubject(0, "net"))
		m.Header.Set(bus.HeaderMsgID, "session:1")
		ack, err := js.PublishMsg(ctx, m)
		if err != nil || ack.Duplicate != want || ack.Sequence != 1 {
			t.Errorf("try %d: %+v, %v", i, ack, err)
		}
	}
}
