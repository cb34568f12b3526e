package worker

import (
	"math"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
)

// Whoever waits for a position that is far ahead, and as often as can be, keeps neither other spaces, nor those of the same space that
// need not wait, nor acknowledgements from being answered.
func TestWaitersLeavePlaces(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	last := w.publish(define("a", 3), observe("a", "1", 1, 0, 0), define("b", 3), observe("b", "1", 1, 0, 0))
	c.reach(t, last)
	far := w.position(last + 1<<40)
	v := c.shard().serving.Load()
	flood := func(space string) {
		t.Helper()
		body, err := proto.Marshal(&api.GetRequest{Space: space, Ids: []string{"1"}, AtLeast: far, DeadlineMs: math.MaxUint32})
		if err != nil {
			t.Fatal(err)
		}
		answers, err := w.conn.NC.SubscribeSync(w.conn.NC.NewInbox())
		if err != nil {
			t.Fatal(err)
		}
		for range maxOpen + 100 {
			if err := w.conn.NC.PublishMsg(&nats.Msg{Subject: bus.ShardSubject(0, bus.VerbGet), Reply: answers.Subject, Data: body}); err != nil {
				t.Fatal(err)
			}
		}
		for n := range maxOpen + 100 - maxWaiting {
			if _, err := answers.NextMsg(patience); err != nil {
				t.Fatalf("%d of those that may not wait were answered: %v", n, err)
			}
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.waiting[space] != maxWaiting {
			t.Fatalf("%d wait", v.waiting[space])
		}
	}
	flood("a")
	refused := w.refusal(bus.VerbGet, &api.GetRequest{Space: "a", Ids: []string{"1"}, AsOf: far}, new(api.GetResponse))
	if refused.GetCode() != "backpressure" || refused.GetField() != "as_of" || refused.GetRetryAfterMs() == 0 {
		t.Errorf("one waiter more: %v", refused)
	}
	for _, space := range []string{"a", "b"} {
		resp := new(api.GetResponse)
		if code := w.ask(bus.VerbGet, &api.GetRequest{Space: space, Ids: []string{"1"}, AtLeast: w.position(last)}, resp); code != "" || len(resp.GetObservations()) != 1 {
			t.Errorf("%s is read: %s, %v", space, code, resp)
		}
	}
	if code := w.ask(bus.VerbGet, &api.GetRequest{Space: "b", Ids: []string{"1"}, AtLeast: far, DeadlineMs: 1}, new(api.GetResponse)); code != "deadline" {
		t.Errorf("a waiter of another space: %q", code)
	}

	// Acknowledgements have places of their own, even where all others are taken.
	leave := make(chan struct{})
	for v.reads.Go(func() { <-leave }) == nil {
	}
	if code := w.ask(bus.VerbGet, &api.GetRequest{Space: "b", Ids: []string{"1"}}, new(api.GetResponse)); code != "backpressure" {
		t.Errorf("without a place: %q", code)
	}
	if code := w.ask(bus.VerbAwait, &api.AwaitRequest{Sequence: last, DeadlineMs: 1000}, new(api.AwaitResponse)); code != "" {
		t.Errorf("an acknowledgement: %q", code)
	}
	close(leave)

	// Nobody waits for longer than the worker allows.
	until(t, "the waiters have given up", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.waiters == 0 && len(v.waiting) == 0
	})
}

func TestHowLongOneWaits(t *testing.T) {
	for ms, want := range map[uint32]time.Duration{0: waitLimit, 1: time.Millisecond, 10_000: maxWait, 10_001: maxWait, math.MaxUint32: maxWait} {
		if got := waitOf(&api.GetRequest{DeadlineMs: ms}); got != want {
			t.Errorf("%d ms: %v, want %v", ms, got, want)
		}
	}
}
