package gateway_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/synadia-io/orbit.go/jetstreamext"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/gateway"
)

// Many observations at once share commits: batches are atomic, contiguous, and far fewer than observations.
func TestConcurrentObservationsShareCommits(t *testing.T) {
	const n = 600
	space := unique("batching")
	conn := connect(t)
	g := core(t, conn, func(c *gateway.Config) { c.Batch.MaxSize, c.Batch.MaxDelay = 250, 2*time.Second })
	must(t, observe(g, space, one(&api.Observation{Id: "first", Embedding: f32(1, 2)})))
	var pending []<-chan answer
	for i := range n {
		// Every fourth request has several observations, which stay together.
		req := one(&api.Observation{Id: fmt.Sprintf("%d.0", i), Embedding: f32(1, float32(i))})
		for j := 1; i%4 == 0 && j < 3; j++ {
			req.Observations = append(req.Observations, &api.Observation{Id: fmt.Sprintf("%d.%d", i, j), Embedding: f32(1, float32(i))})
		}
		pending = append(pending, observe(g, space, req))
	}
	ids := map[uint64]string{}
	for i, c := range pending {
		results := must(t, c)
		first := sequence(t, results[0].GetPosition())
		for j, r := range results {
			if got := sequence(t, r.GetPosition()); got != first+uint64(j) {
				t.Fatalf("request %d: observation %d is at %d, the first at %d", i, j, got, first)
			}
			ids[sequence(t, r.GetPosition())] = r.GetId()
		}
	}
	if want := n + n/4*2; len(ids) != want {
		t.Fatalf("%d positions for %d observations", len(ids), want)
	}
	// The log has each of them where its answer said, and requests in the order in which they came.
	batches := map[string]int{}
	var order []string
	for _, m := range logged(t, conn.JS, space) {
		seq := streamSequence(t, m)
		id, ok := ids[seq]
		if !ok {
			continue // the definition, and the first observation
		}
		ev := new(api.LogEvent)
		if err := proto.Unmarshal(m.Data(), ev); err != nil {
			t.Fatal(err)
		}
		if got := ev.GetObserve().GetId(); got != id {
			t.Fatalf("sequence %d holds %q, the answer said %q", seq, got, id)
		}
		delete(ids, seq)
		order = append(order, id)
		batch := m.Headers().Get(jetstreamext.BatchIDHeader)
		batches[batch]++
		if at := m.Headers().Get(jetstreamext.BatchSeqHeader); at != fmt.Sprint(batches[batch]) {
			t.Fatalf("sequence %d is number %s of its batch, and stands at %d", seq, at, batches[batch])
		}
	}
	if len(ids) != 0 {
		t.Fatalf("not in the log: %v", ids)
	}
	if !slices.IsSortedFunc(order, func(a, b string) int { return requestOf(t, a) - requestOf(t, b) }) {
		t.Error("requests do not stand in the log in the order in which they came")
	}
	small := 0
	for _, size := range batches {
		if size > 250 {
			t.Errorf("a batch of %d", size)
		}
		if size < 98 { // what a batch has however slow the log is, and the next request may be one of three
			small++
		}
	}
	if small > 1 {
		t.Errorf("more batches than the last one are not full: %v", batches)
	}
}

func requestOf(t *testing.T, id string) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(id, "%d.", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A request of the largest size fits one atomic batch, whatever the gateway's own batch size is.
func TestLargestRequest(t *testing.T) {
	space := unique("largest")
	conn := connect(t)
	g := core(t, conn, func(c *gateway.Config) { c.Batch.MaxSize = 10 })
	req := new(api.ObserveRequest)
	for i := range 999 {
		req.Observations = append(req.Observations, &api.Observation{Id: fmt.Sprint(i), Embedding: f32(1, float32(i))})
	}
	results := must(t, observe(g, space, req))
	for i, r := range results {
		if got, want := sequence(t, r.GetPosition()), sequence(t, results[0].GetPosition())+uint64(i); got != want {
			t.Fatalf("observation %d is at %d, want %d", i, got, want)
		}
	}
}

// What was taken before Close is answered by it, and nothing is taken after.
func TestCloseAnswersWhatWasTaken(t *testing.T) {
	conn := connect(t)
	space := unique("closing")
	g, release := open(t, conn, func(c *gateway.Config) { c.Batch.MaxDelay = 200 * time.Millisecond })
	defer release()
	must(t, observe(g, space, one(&api.Observation{Embedding: f32(1)})))
	var pending []<-chan answer
	for i := range 50 {
		pending = append(pending, observe(g, space, one(&api.Observation{Id: fmt.Sprint(i), Embedding: f32(1)})))
	}
	pending = append(pending, observe(g, unique("closing-new"), one(&api.Observation{Embedding: f32(1)})))
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range pending {
		must(t, c)
	}
	a := <-observe(g, space, one(&api.Observation{Embedding: f32(1)}))
	if a.refused == nil || a.refused.Status() != 503 {
		t.Errorf("after Close: %v, %v", a.resp, a.refused)
	}
}

// An observation waits for others to share its commit, and no longer than it must.
func TestWaitsForCompany(t *testing.T) {
	conn := connect(t)
	space := unique("company")
	g := core(t, conn, func(c *gateway.Config) { c.Batch.MaxSize, c.Batch.MaxDelay = 2, time.Minute })
	pair := func() *api.ObserveRequest {
		return &api.ObserveRequest{Observations: []*api.Observation{{Embedding: f32(1)}, {Embedding: f32(2)}}}
	}
	must(t, observe(g, space, pair())) // a full batch goes at once
	first := observe(g, space, one(&api.Observation{Id: "a", Embedding: f32(1)}))
	select {
	case a := <-first:
		t.Fatalf("answered alone: %v, %v", a.resp, a.refused)
	case <-time.After(30 * time.Millisecond):
	}
	must(t, observe(g, space, one(&api.Observation{Id: "b", Embedding: f32(1)})))
	must(t, first)
	all := logged(t, conn.JS, space)
	last := all[len(all)-2:]
	if a, b := last[0].Headers().Get(jetstreamext.BatchIDHeader), last[1].Headers().Get(jetstreamext.BatchIDHeader); a == "" || a != b {
		t.Errorf("committed in the batches %q and %q", a, b)
	}
}
