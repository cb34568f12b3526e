package worker

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vecstore"
)

func texts(hits []*api.Hit) string {
	var all []string
	for _, h := range hits {
		all = append(all, h.GetText())
	}
	return strings.Join(all, ", ")
}

// As of a position recall, get and list answer with what held then, though it was replaced or forgotten since.
func TestReadsOfThePast(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	version := func(id, text string, v ...float32) *api.LogEvent {
		e := observe("a", id, v...)
		e.GetObserve().Text = text
		return e
	}
	publish := func(events ...*api.LogEvent) uint64 {
		last := w.publish(events...)
		c.reach(t, last)
		return last
	}
	defined := publish(define("a", 3))
	first := publish(version("x", "x1", 1, 0, 0), version("y", "y1", 0, 1, 0))
	second := publish(version("x", "x2", 0.1, 0, 1), version("z", "z1", 1, 1, 0))
	last := publish(&api.LogEvent{Event: &api.LogEvent_Forget{Forget: &api.ForgetEvent{Space: "a", Ids: []string{"y"}}}})
	for _, tc := range []struct {
		asOf                  string
		get, list, recallNear string
	}{
		{w.position(defined), "", "", ""},
		{w.position(first), "x1, y1", "y1, x1", "x1, y1"},
		{w.position(second), "x2, y1, z1", "z1, x2, y1", "z1, x2, y1"},
		{w.position(last), "x2, z1", "z1, x2", "z1, x2"},
		{"", "x2, z1", "z1, x2", "z1, x2"},
		{w.position(0), "", "", ""},
	} {
		got := new(api.GetResponse)
		if code := w.ask(bus.VerbGet, &api.GetRequest{Space: "a", Ids: []string{"x", "y", "z"}, AsOf: tc.asOf}, got); code != "" || texts(got.GetObservations()) != tc.get {
			t.Errorf("get as of %q: %s %q, want %q", tc.asOf, code, texts(got.GetObservations()), tc.get)
		}
		list := new(api.ListResponse)
		if code := w.ask(bus.VerbList, &api.ListRequest{Space: "a", AsOf: tc.asOf}, list); code != "" || texts(list.GetObservations()) != tc.list {
			t.Errorf("list as of %q: %s %q, want %q", tc.asOf, code, texts(list.GetObservations()), tc.list)
		}
		resp := w.recall(&api.RecallRequest{Space: "a", Embedding: embedding(1, 0, 0), AsOf: tc.asOf})
		if got := texts(resp.GetHits()); got != tc.recallNear {
			t.Errorf("recall as of %q: %q, want %q", tc.asOf, got, tc.recallNear)
		}
	}
}

// A position that is to come is waited for, and one that cannot be is refused, with the field.
func TestAsOfIsCheckedAndWaitedFor(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 3)...)...)
	c.reach(t, last)
	list := func(asOf string, deadline uint32) (string, *api.ListResponse) {
		resp := new(api.ListResponse)
		return w.ask(bus.VerbList, &api.ListRequest{Space: "a", AsOf: asOf, DeadlineMs: deadline}, resp), resp
	}
	if code, _ := list(w.position(last+1), 30); code != "deadline" {
		t.Errorf("a position that does not come: %q", code)
	}
	for _, at := range []string{"x", "other.0:1", event.Position{Epoch: w.topo.Epoch, Shard: 1, Sequence: 1}.String()} {
		if code, _ := list(at, 30); code != "invalid_position" {
			t.Errorf("as_of %q: %q", at, code)
		}
	}
	answer := make(chan int)
	go func() {
		_, resp := list(w.position(last+2), uint32(patience.Milliseconds()))
		answer <- len(resp.GetObservations())
	}()
	until(t, "the request waits", func() bool {
		c.shard().mark.mu.Lock()
		defer c.shard().mark.mu.Unlock()
		return len(c.shard().mark.waiters) > 0
	})
	c.reach(t, w.publish(several(3, 6)...))
	if n := <-answer; n != 5 {
		t.Errorf("a list that waited for the second of three writes has %d observations, want 5", n)
	}
}

// What a request asks of the index reaches the store, and what the store says of its answer the client.
func TestEffortReachesTheStore(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	last := w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 3)...)...)
	c.reach(t, last)
	var asked atomic.Pointer[vecstore.Query]
	c.search = func(store *vecstore.Shard, space string, q vecstore.Query) (vecstore.Result, error) {
		asked.Store(&q)
		res, err := store.Search(space, q)
		res.Searched, res.Exact = 17, q.Ef > 0
		return res, err
	}
	for _, tc := range []struct {
		target api.RecallTarget
		ef     *uint32
		effort vecstore.Effort
		asOf   uint64
	}{
		{api.RecallTarget_RECALL_TARGET_UNSPECIFIED, nil, vecstore.EffortBalanced, 0},
		{api.RecallTarget_RECALL_TARGET_BALANCED, proto.Uint32(9), vecstore.EffortBalanced, last},
		{api.RecallTarget_RECALL_TARGET_FAST, proto.Uint32(1), vecstore.EffortFast, 0},
		{api.RecallTarget_RECALL_TARGET_EXACT, nil, vecstore.EffortExact, last - 1},
	} {
		req := &api.RecallRequest{Space: "a", Embedding: embedding(1, 0, 0), Recall: tc.target, Ef: tc.ef}
		if tc.asOf > 0 {
			req.AsOf = w.position(tc.asOf)
		}
		resp := w.recall(req)
		q := asked.Load()
		if q.Effort != tc.effort || q.Ef != int(req.GetEf()) || q.AsOf != tc.asOf || time.Since(q.Now) > patience {
			t.Errorf("%v became %+v", req, q)
		}
		if resp.GetSearched() != 17 || resp.GetExact() != (q.Ef > 0) {
			t.Errorf("the answer says searched %d, exact %t", resp.GetSearched(), resp.GetExact())
		}
	}
	c.search = func(*vecstore.Shard, string, vecstore.Query) (vecstore.Result, error) {
		return vecstore.Result{}, fmt.Errorf("space %q: %w", "a", vecstore.ErrGone)
	}
	req := &api.RecallRequest{Space: "a", Embedding: embedding(1, 0, 0), AsOf: w.position(1)}
	if code := w.ask(bus.VerbRecall, req, new(api.RecallResponse)); code != "gone" {
		t.Errorf("what is not kept: %q", code)
	}
}

// A worker that stops does not wait for a search that takes long: its client is told to ask another copy.
func TestStoppingEndsSearches(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	c.reach(t, w.publish(append([]*api.LogEvent{define("a", 3)}, several(0, 3)...)...))
	searching := make(chan time.Time, 1)
	c.search = func(_ *vecstore.Shard, _ string, q vecstore.Query) (vecstore.Result, error) {
		end, _ := q.Context.Deadline()
		searching <- end
		<-q.Context.Done()
		return vecstore.Result{}, q.Context.Err()
	}
	code := make(chan string, 1)
	go func() {
		code <- w.ask(bus.VerbRecall, &api.RecallRequest{Space: "a", Embedding: embedding(1, 0, 0), DeadlineMs: 60_000}, new(api.RecallResponse))
	}()
	if end := <-searching; time.Until(end) < searchLimit || time.Until(end) > time.Minute {
		t.Errorf("the search may go on until %v", end)
	}
	if err := c.shard().serving.Load().stop(); err != nil {
		t.Error(err)
	}
	if got := <-code; got != "unavailable" {
		t.Errorf("the client was answered with %q", got)
	}
}

// What has overtaken what it replaces changes nothing in the past.
func TestReadsOfThePastWithPriorities(t *testing.T) {
	w := newWorld(t)
	c := w.start(nil)
	const n = 40
	events := []*api.LogEvent{define("a", 3)}
	for i := range n {
		events = append(events, observe("a", fmt.Sprint(i), direction(i)...))
	}
	for i := range n {
		if i%2 == 0 {
			events = append(events, &api.LogEvent{Event: &api.LogEvent_Forget{Forget: &api.ForgetEvent{Space: "a", Ids: []string{fmt.Sprint(i)}}}})
			continue
		}
		e := observe("a", fmt.Sprint(i), direction(i)...)
		e.GetObserve().Text, e.GetObserve().Priority = "again", api.Priority_PRIORITY_HIGH
		events = append(events, e)
	}
	last := w.publish(events...)
	c.reach(t, last)
	then := w.position(last - n)
	for at, want := range map[string]int{then: n, "": n / 2} {
		list := new(api.ListResponse)
		if code := w.ask(bus.VerbList, &api.ListRequest{Space: "a", AsOf: at}, list); code != "" || len(list.GetObservations()) != want {
			t.Errorf("list as of %q: %s, %d observations, want %d", at, code, len(list.GetObservations()), want)
		}
		resp := w.recall(&api.RecallRequest{Space: "a", Embedding: embedding(1, 0, 0), K: proto.Uint32(100), AsOf: at})
		again := strings.Count(texts(resp.GetHits()), "again")
		if len(resp.GetHits()) != want || at == "" && again != want || at != "" && again != 0 {
			t.Errorf("recall as of %q: %d hits, %d of them the later version", at, len(resp.GetHits()), again)
		}
	}
}
