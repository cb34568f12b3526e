package client_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/wire"
)

// answers replies on a subject, to one request after the other, with a message or an error; the last is repeated.
type answers struct {
	mu   sync.Mutex
	got  []*nats.Msg
	with []any // proto.Message, *wire.Error or []byte
}

func serve(t *testing.T, nc *nats.Conn, subject string, with ...any) *answers {
	t.Helper()
	a := &answers{with: with}
	sub, err := nc.Subscribe(subject, func(m *nats.Msg) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.got = append(a.got, m)
		reply := &nats.Msg{Header: nats.Header{}}
		switch w := a.with[0].(type) {
		case proto.Message:
			b, err := proto.Marshal(w)
			if err != nil {
				t.Error(err)
			}
			reply.Data = b
		case *wire.Error:
			reply.Header.Set(micro.ErrorHeader, w.Error())
			reply.Header.Set(micro.ErrorCodeHeader, "400")
			reply.Data = wire.EncodeError(wire.Protobuf, w)
		case []byte:
			reply.Data = w
		case nil:
			return // no answer
		}
		if len(a.with) > 1 {
			a.with = a.with[1:]
		}
		if err := m.RespondMsg(reply); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sub.Unsubscribe(); err != nil {
			t.Error(err)
		}
	})
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *answers) requests(t *testing.T) []*api.ObserveRequest {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []*api.ObserveRequest
	for _, m := range a.got {
		if m.Header.Get(bus.HeaderContentType) != wire.TypeProtobuf {
			t.Errorf("sent as %v", m.Header)
		}
		req := new(api.ObserveRequest)
		if err := proto.Unmarshal(m.Data, req); err != nil {
			t.Fatal(err)
		}
		all = append(all, req)
	}
	return all
}

// Each method asks on its subject, and returns what the other side says.
func TestMethods(t *testing.T) {
	nc := bustest.Start(t).Connect().NC
	c := client.New(nc)
	ctx := t.Context()
	refusal := &wire.Error{Code: wire.CodeTooLarge, Message: "for a test", Field: "f", RetryAfter: 5 * time.Millisecond}
	for subject, m := range map[string]struct {
		answer proto.Message
		ask    func() (proto.Message, error)
	}{
		bus.ObserveSubject("demo"): {&api.ObserveResponse{Results: []*api.ObserveResult{{Id: "a"}}}, func() (proto.Message, error) {
			return c.Observe(ctx, "demo", &api.ObserveRequest{IdempotencyKey: "k"})
		}},
		bus.RecallSubject("demo"): {&api.RecallResponse{Exact: true}, func() (proto.Message, error) { return c.Recall(ctx, "demo", &api.RecallRequest{Text: "a"}) }},
		bus.GetSubject("demo"):    {&api.GetResponse{Applied: "p"}, func() (proto.Message, error) { return c.Get(ctx, "demo", &api.GetRequest{}) }},
		bus.ListSubject("demo"):   {&api.ListResponse{More: true}, func() (proto.Message, error) { return c.List(ctx, "demo", &api.ListRequest{}) }},
		bus.ForgetSubject("demo"): {&api.ForgetResponse{Position: "p"}, func() (proto.Message, error) { return c.Forget(ctx, "demo", &api.ForgetRequest{}) }},
		bus.DefineSubject("demo"): {&api.DefineResponse{Created: true}, func() (proto.Message, error) { return c.Define(ctx, "demo", &api.DefineRequest{}) }},
		bus.CompactSubject("demo"): {&api.CompactResponse{Copies: []*api.CompactedCopy{{Worker: "w"}}}, func() (proto.Message, error) {
			return c.Compact(ctx, "demo", &api.CompactRequest{DeadlineMs: 5000})
		}},
		bus.SpacesSubject: {&api.SpacesResponse{Spaces: []*api.SpaceInfo{{Shard: 3}}}, func() (proto.Message, error) { return c.Spaces(ctx, "demo") }},
	} {
		serve(t, nc, subject, m.answer, refusal, []byte("\xff not protobuf"))
		if got, err := m.ask(); err != nil || !proto.Equal(got, m.answer) {
			t.Errorf("%s: %v, %v", subject, got, err)
		}
		_, err := m.ask()
		var e *wire.Error
		if !errors.As(err, &e) || *e != *refusal {
			t.Errorf("%s: %v", subject, err)
		}
		if _, err := m.ask(); err == nil || errors.As(err, &e) {
			t.Errorf("%s with an answer that is none: %v", subject, err)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	srv := bustest.Start(t)
	conn := srv.Connect()
	c := client.New(conn.NC)
	code := func(err error) wire.Code {
		var e *wire.Error
		if !errors.As(err, &e) {
			t.Errorf("%v is no error of the contract", err)
			return ""
		}
		return e.Code
	}
	observe := func(ctx context.Context, space, text string) error {
		_, err := c.Observe(ctx, space, &api.ObserveRequest{Observations: []*api.Observation{{Text: text}}})
		return err
	}
	if got := code(observe(t.Context(), "demo", "a")); got != wire.CodeUnavailable {
		t.Errorf("no responders: %s", got)
	}
	serve(t, conn.NC, bus.ObserveSubject("demo"), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := code(observe(ctx, "demo", "a")); got != wire.CodeDeadline {
		t.Errorf("no answer: %s", got)
	}
	if got := code(observe(t.Context(), "demo", strings.Repeat("x", 1<<20))); got != wire.CodeTooLarge {
		t.Errorf("over the server's maximum: %s", got)
	}
	if got := code(observe(t.Context(), "demo", "\xff")); got != wire.CodeMalformed {
		t.Errorf("not UTF-8: %s", got)
	}
	for _, space := range []string{"", "*", ">", "a.b", "a b", "\r\n"} {
		if got := code(observe(t.Context(), space, "a")); got != wire.CodeInvalidSpace {
			t.Errorf("space %q: %s", space, got)
		}
	}
	srv.Stop()
	if got := code(observe(ctx, "demo", "a")); got != wire.CodeUnavailable && got != wire.CodeDeadline {
		t.Errorf("no server: %s", got)
	}
}

// Retries have one key, stop at what a retry cannot change, and wait as long as they are told.
func TestObserveRetrying(t *testing.T) {
	nc := bustest.Start(t).Connect().NC
	c := client.New(nc)
	done := &api.ObserveResponse{Results: []*api.ObserveResult{{Id: "a", Position: "e.0:1"}}}
	refusal := func(code wire.Code) *wire.Error {
		return &wire.Error{Code: code, Message: "for a test", RetryAfter: 20 * time.Millisecond}
	}
	a := serve(t, nc, bus.ObserveSubject("retry"), refusal(wire.CodeBackpressure), refusal(wire.CodeUnavailable), refusal(wire.CodeStorageFull), refusal(wire.CodeDeadline), done)
	var told []wire.Code
	start := time.Now()
	resp, err := c.ObserveRetrying(t.Context(), "retry", &api.ObserveRequest{Observations: []*api.Observation{{Text: "a"}}}, func(e *wire.Error) { told = append(told, e.Code) })
	if err != nil || !proto.Equal(resp, done) {
		t.Fatalf("%v, %v", resp, err)
	}
	if took := time.Since(start); took < 80*time.Millisecond {
		t.Errorf("four refusals of 20 ms took %v", took)
	}
	if len(told) != 4 || told[0] != wire.CodeBackpressure || told[3] != wire.CodeDeadline {
		t.Errorf("told of %v", told)
	}
	all := a.requests(t)
	for _, r := range all {
		if r.GetIdempotencyKey() == "" || r.GetIdempotencyKey() != all[0].GetIdempotencyKey() {
			t.Errorf("sent under the keys %q and %q", all[0].GetIdempotencyKey(), r.GetIdempotencyKey())
		}
	}

	a = serve(t, nc, bus.ObserveSubject("refused"), refusal(wire.CodeWrongDimension))
	var e *wire.Error
	if _, err := c.ObserveRetrying(t.Context(), "refused", &api.ObserveRequest{IdempotencyKey: "own"}, nil); !errors.As(err, &e) || e.Code != wire.CodeWrongDimension {
		t.Errorf("%v", err)
	}
	if all := a.requests(t); len(all) != 1 || all[0].GetIdempotencyKey() != "own" {
		t.Errorf("sent %v", all)
	}

	a = serve(t, nc, bus.ObserveSubject("full"), refusal(wire.CodeBackpressure))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	// It ends between two requests, as a rule, or within one.
	if _, err := c.ObserveRetrying(ctx, "full", &api.ObserveRequest{}, nil); !errors.As(err, &e) || e.Code != wire.CodeBackpressure && e.Code != wire.CodeDeadline {
		t.Errorf("at the end of the context: %v", err)
	}
	if all := a.requests(t); len(all) < 2 {
		t.Errorf("sent %d times in 500 ms", len(all))
	}
}
