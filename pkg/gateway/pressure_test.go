package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/openapi"
	"github.com/engram-memory/engram/pkg/wire"
	"github.com/engram-memory/engram/pkg/worker"
)

// startWorker runs a worker for every shard, with the capacity that the gateway's admission has, until the test ends.
func startWorker(t *testing.T, conn *bus.Conn, capacity int) {
	t.Helper()
	env, _, stop, err := daemon.NewEnv(conn, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	cfg := daemon.WorkerConfig{Worker: worker.DefaultConfig()}
	cfg.Worker.Dir, cfg.Worker.Queue.Capacity = t.TempDir(), capacity
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w, err := daemon.StartWorker(ctx, cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// httpFace serves a core over HTTP without the rest of a daemon.
func httpFace(t *testing.T, g *gateway.Gateway) (base string) {
	t.Helper()
	mux, err := openapi.New("test", g.Routes()...)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(auth.Open(true, mux))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// Nobody drains the shard: normal observations are refused from 80 % of capacity on, high ones from 100 %, with nothing
// published, and a word on when to try again. A worker comes, and all is taken again.
func TestBackpressure(t *testing.T) {
	const capacity = 100
	space := unique("pressure")
	srv := bustest.Start(t)
	conn := srv.Connect()
	g := core(t, conn, func(c *gateway.Config) { c.Admission.Capacity, c.Deadline = capacity, time.Second })
	base, path := httpFace(t, g), "/v1/spaces/"+space+"/observations"
	fill := func(p api.Priority) (taken int, refused *wire.Error) {
		for ; taken <= 2*capacity; taken++ {
			a := <-observe(g, space, one(&api.Observation{Embedding: f32(1, 2), Priority: p}))
			if a.refused != nil {
				return taken, a.refused
			}
		}
		t.Fatalf("%d observations of priority %v were taken", taken, p)
		return 0, nil
	}
	normal, refused := fill(api.Priority_PRIORITY_NORMAL)
	// The definition of the space stands in the log as well.
	if want := capacity*8/10 - 1; normal != want {
		t.Errorf("%d normal observations were taken, want %d", normal, want)
	}
	if refused.Code != wire.CodeBackpressure || refused.RetryAfter < 10*time.Millisecond || refused.RetryAfter > 10*time.Second {
		t.Errorf("refused with %+v", refused)
	}
	high, refused := fill(api.Priority_PRIORITY_HIGH)
	if normal+high+1 != capacity || refused.Code != wire.CodeBackpressure {
		t.Errorf("%d high observations were taken beside %d normal ones, then %+v", high, normal, refused)
	}

	// What recall could not find yet is told apart from what was not taken. A forget relieves, and is never refused.
	resp, ferr := g.Forget(t.Context(), space, &api.ForgetRequest{Ids: []string{"x"}})
	if ferr != nil || resp.GetPosition() == "" {
		t.Errorf("forget: %v, %v", resp, ferr)
	}
	before := lastSequences(t, conn.JS)
	for _, body := range []string{`{"embedding":[1,2]}`, `{"embedding":[1,2],"priority":"high"}`, `[{"embedding":[1,2],"priority":"high"},{"embedding":[1,2]}]`} {
		status, header, answer := post(t, base, path, "", body)
		e := wire.DecodeError(wire.JSON, []byte(answer))
		after, err := strconv.Atoi(header.Get("Retry-After"))
		if status != http.StatusTooManyRequests || e.Code != wire.CodeBackpressure || err != nil || after < 1 || after > 10 || e.RetryAfter <= 0 {
			t.Errorf("%s: %d %v %s", body, status, header, answer)
		}
	}
	status, _, answer := post(t, base, path, wire.TypeNDJSON, "{\"embedding\":[1,2]}\n{\"embedding\":[1,2]}\n")
	if lines := decodeLines(t, answer); status != http.StatusOK || len(lines) != 2 || !strings.Contains(string(lines[1].Error), `"retry_after_ms"`) {
		t.Errorf("NDJSON: %d %s", status, answer)
	}
	if after := lastSequences(t, conn.JS); !sameSequences(after, before) {
		t.Errorf("the streams went from %v to %v", before, after)
	}

	startWorker(t, srv.Connect(), capacity)
	eventually(t, "normal observations are taken again", func() bool {
		a := <-observe(g, space, one(&api.Observation{Embedding: f32(1, 2)}))
		return a.refused == nil
	})
	for i := range 3 * capacity {
		a := <-observe(g, space, &api.ObserveRequest{Acknowledgement: searchable, Observations: []*api.Observation{{Id: fmt.Sprint(i), Embedding: f32(1, 2)}}})
		if a.refused != nil || !a.resp.GetResults()[0].GetSearchable() {
			t.Fatalf("observation %d with a worker: %v, %v", i, a.resp, a.refused)
		}
	}
}

// Without a worker nothing becomes searchable: it is durable, and the answer says both.
func TestNotSearchableInTime(t *testing.T) {
	// Enough for a commit on a disk that is busy with other tests, too.
	const patience = 1500
	conn := bustest.Start(t).Connect()
	g := core(t, conn, nil)
	base := httpFace(t, g)
	start := time.Now()
	a := <-observe(g, "not-searchable", &api.ObserveRequest{
		Acknowledgement: searchable, DeadlineMs: patience, Observations: []*api.Observation{{Embedding: f32(1)}, {Embedding: f32(1)}},
	})
	if took := time.Since(start); took > patience*time.Millisecond+3*time.Second {
		t.Errorf("it took %v with a deadline of %d ms", took, patience)
	}
	if a.refused != nil {
		t.Fatal(a.refused)
	}
	for _, r := range a.resp.GetResults() {
		if r.GetError().GetCode() != string(wire.CodeDeadline) || r.GetPosition() == "" || r.GetSearchable() {
			t.Errorf("%v", r)
		}
	}
	status, _, answer := post(t, base, "/v1/spaces/not-searchable/observations", "", `{"embedding":[1]}`, wire.HeaderAck, "searchable", wire.HeaderDeadline, fmt.Sprint(patience))
	if e := wire.DecodeError(wire.JSON, []byte(answer)); status != http.StatusGatewayTimeout || e.Code != wire.CodeDeadline {
		t.Errorf("%d %s", status, answer)
	}
	_, refused := g.Forget(t.Context(), "not-searchable", &api.ForgetRequest{Ids: []string{"a"}, Acknowledgement: searchable, DeadlineMs: patience})
	if refused == nil || refused.Code != wire.CodeDeadline {
		t.Errorf("forget: %v", refused)
	}
}

// NATS is away: 503 within the deadline, and everything works again when it is back, with retries written once.
func TestOutage(t *testing.T) {
	srv := bustest.Start(t)
	conn := srv.Connect()
	g := core(t, conn, nil)
	base := httpFace(t, g)
	known, unknown := "/v1/spaces/outage/observations", "/v1/spaces/outage-new/observations"
	if status, _, answer := post(t, base, known, "", `{"embedding":[1,2]}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	srv.Stop()
	eventually(t, "the gateway is not ready", func() bool { return g.Ready() != nil })
	const deadline = 300 * time.Millisecond
	for _, path := range []string{known, unknown} {
		for try := range 2 {
			start := time.Now()
			status, _, answer := post(t, base, path, "", `{"embedding":[1,2]}`, wire.HeaderIdempotencyKey, "retried", wire.HeaderDeadline, fmt.Sprint(deadline.Milliseconds()))
			e := wire.DecodeError(wire.JSON, []byte(answer))
			if took := time.Since(start); status != http.StatusServiceUnavailable || e.Code != wire.CodeUnavailable || took > deadline+time.Second {
				t.Errorf("%s, try %d: %d after %v: %s", path, try, status, took, answer)
			}
		}
	}
	status, _, answer := post(t, base, known, wire.TypeNDJSON, `{"embedding":[1,2]}`, wire.HeaderDeadline, "100")
	if lines := decodeLines(t, answer); status != http.StatusOK || len(lines) != 1 || !strings.Contains(string(lines[0].Error), `"unavailable"`) {
		t.Errorf("NDJSON: %d %s", status, answer)
	}
	if _, refused := g.Forget(t.Context(), "outage", &api.ForgetRequest{Ids: []string{"a"}, DeadlineMs: 100}); refused == nil || refused.Code != wire.CodeUnavailable {
		t.Errorf("forget: %v", refused)
	}

	srv.Restart()
	eventually(t, "the gateway is ready", func() bool { return g.Ready() == nil })
	var positions []string
	for _, path := range []string{known, unknown} {
		var got string
		eventually(t, path+" takes observations", func() bool {
			status, _, answer := post(t, base, path, "", `{"embedding":[1,2]}`, wire.HeaderIdempotencyKey, "retried")
			got = answer
			return status == http.StatusOK
		})
		positions = append(positions, got)
	}
	for i, space := range []string{"outage", "outage-new"} {
		n := 0
		for _, m := range logged(t, conn.JS, space) {
			if m.Headers().Get(bus.HeaderMsgID) == space+"/retried" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s was answered with %s, and the log has it %d times", space, positions[i], n)
		}
	}
}

// Refusals under names that nobody has a space of take no memory.
func TestPressureOfNoSpace(t *testing.T) {
	const capacity = 20
	srv := bustest.Start(t)
	g := core(t, srv.Connect(), func(c *gateway.Config) { c.Admission.Capacity, c.Deadline = capacity, time.Second })
	send := func(space string) *wire.Error {
		return (<-observe(g, space, one(&api.Observation{Embedding: f32(1, 2), Priority: api.Priority_PRIORITY_HIGH}))).refused
	}
	// Nobody drains the shards: names are made up until each shard takes nothing more.
	var refused []string
	for i := 0; len(refused) < 100; i++ {
		if i > 100*capacity {
			t.Fatal("new spaces are taken on and on")
		}
		if space := unique("made-up"); send(space) != nil {
			refused = append(refused, space)
		}
	}
	var there string
	for n := 1; there == ""; n++ {
		if space := fmt.Sprintf("made-up-%d", n); g.Registry.Get(space).Living() {
			there = space
		}
	}
	for i := 0; send(there) == nil; i++ {
		if i > 2*capacity {
			t.Fatal("the space is never refused")
		}
	}
	told := g.Told()
	if !slices.Contains(told, there) {
		t.Errorf("told are %q, and not %s, which is there", told, there)
	}
	for _, space := range refused {
		if slices.Contains(told, space) {
			t.Errorf("%s is told, which is not there", space)
		}
	}
}
