package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
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

// answering answers observes with what a function says of them.
func answering(t *testing.T, nc *nats.Conn, answer func(*api.ObserveRequest) (*api.ObserveResponse, *wire.Error)) *nats.Subscription {
	t.Helper()
	sub, err := nc.Subscribe(bus.ObserveSubject(bus.Any), func(m *nats.Msg) {
		req := new(api.ObserveRequest)
		if err := proto.Unmarshal(m.Data, req); err != nil {
			t.Error(err)
		}
		resp, refused := answer(req)
		if resp == nil && refused == nil {
			return
		}
		reply := &nats.Msg{Header: nats.Header{}}
		if refused != nil {
			reply.Header.Set(micro.ErrorCodeHeader, fmt.Sprint(refused.Status()))
			reply.Data = wire.EncodeError(wire.Protobuf, refused)
		} else if b, err := proto.Marshal(resp); err != nil {
			t.Error(err)
		} else {
			reply.Data = b
		}
		if err := m.RespondMsg(reply); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return sub
}

func taken(req *api.ObserveRequest) *api.ObserveResponse {
	resp := new(api.ObserveResponse)
	for _, o := range req.GetObservations() {
		resp.Results = append(resp.Results, &api.ObserveResult{Id: o.GetId(), Position: "e.0:1"})
	}
	return resp
}

func producer(t *testing.T, cfg client.ProducerConfig) (*client.Producer, *bus.Conn) {
	t.Helper()
	conn := bustest.Start(t).Connect()
	if err := conn.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := client.New(conn.NC).Producer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return p, conn
}

func hand(t *testing.T, p *client.Producer, space string, o *api.Observation) *client.Pending {
	t.Helper()
	pend, err := p.Observe(t.Context(), space, o)
	if err != nil {
		t.Fatal(err)
	}
	return pend
}

// What is observed while a request is under way shares the next one, in order; refusals are repeated under the same key.
func TestProducerBatchesAndRepeats(t *testing.T) {
	p, conn := producer(t, client.ProducerConfig{Batch: 50})
	var keys []string
	var order []string
	tries := 0
	answering(t, conn.NC, func(req *api.ObserveRequest) (*api.ObserveResponse, *wire.Error) {
		tries++
		keys = append(keys, req.GetIdempotencyKey())
		if tries < 4 {
			e := wire.Errorf([]wire.Code{wire.CodeBackpressure, wire.CodeQuota, wire.CodeUnavailable}[tries-1], "", "later")
			e.RetryAfter = time.Millisecond
			return nil, e
		}
		for _, o := range req.GetObservations() {
			order = append(order, o.GetId())
		}
		return taken(req), nil
	})
	var all []*client.Pending
	for i := range 300 {
		all = append(all, hand(t, p, "s", &api.Observation{Id: fmt.Sprint(i), Text: "x"}))
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, pend := range all {
		if r, err := pend.Wait(t.Context()); err != nil || r.GetId() != fmt.Sprint(i) || order[i] != fmt.Sprint(i) {
			t.Fatalf("observation %d: %v, %v; written as number %s", i, r, err, order[i])
		}
	}
	if len(keys) > 3+1+6+1 || keys[0] == "" || keys[0] != keys[1] || keys[1] != keys[2] || keys[2] != keys[3] || keys[3] == keys[4] {
		t.Errorf("%d requests with the keys %v", len(keys), keys)
	}
}

// A request that is refused for good is sent in parts, under the write ids that it had.
func TestProducerTellsRefusalsApart(t *testing.T) {
	p, conn := producer(t, client.ProducerConfig{})
	ids := map[string]string{} // write id of what was taken
	arrived, hold := make(chan struct{}, 10), make(chan struct{})
	answering(t, conn.NC, func(req *api.ObserveRequest) (*api.ObserveResponse, *wire.Error) {
		arrived <- struct{}{}
		<-hold // so that the rest shares a request
		for _, o := range req.GetObservations() {
			if o.GetText() == "bad" {
				return nil, wire.Errorf(wire.CodeInvalidEmbedding, "text", "bad")
			}
		}
		if len(req.GetObservations()) == 1 {
			ids[req.GetObservations()[0].GetId()] = req.GetIdempotencyKey()
		}
		return taken(req), nil
	})
	hand(t, p, "s", &api.Observation{Id: "first"})
	<-arrived
	good, bad, other := hand(t, p, "s", &api.Observation{Id: "a"}), hand(t, p, "s", &api.Observation{Id: "b", Text: "bad"}), hand(t, p, "s", &api.Observation{Id: "c"})
	close(hold)
	if _, err := good.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	var e *wire.Error
	if _, err := bad.Wait(t.Context()); !errors.As(err, &e) || e.Code != wire.CodeInvalidEmbedding {
		t.Error(err)
	}
	if _, err := other.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	a, numberA, _ := strings.Cut(ids["a"], "/")
	c, numberC, _ := strings.Cut(ids["c"], "/")
	if got := numberA + " " + numberC; a == "" || a != c || got != "0 2" {
		t.Errorf("write ids %v", ids)
	}
}

// The window bounds what is unacknowledged, and nothing is sent while a gateway says so.
func TestProducerWindowAndPressure(t *testing.T) {
	p, conn := producer(t, client.ProducerConfig{Window: 3})
	var requests atomic.Int32
	answering(t, conn.NC, func(req *api.ObserveRequest) (*api.ObserveResponse, *wire.Error) {
		requests.Add(1)
		return taken(req), nil
	})
	if _, err := hand(t, p, "s", &api.Observation{Id: "0"}).Wait(t.Context()); err != nil { // from here on it listens
		t.Fatal(err)
	}
	tell := func(m *api.Pressure) {
		b, err := proto.Marshal(m)
		if err == nil {
			err = conn.NC.Publish(bus.PressureSubject("s"), b)
		}
		if err == nil {
			err = conn.NC.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tell(&api.Pressure{RetryAfterMs: 60_000, Reason: "backpressure"})
	// A probe of high priority passes, and then the broadcast has come, too: they share a connection.
	if _, err := hand(t, p, "s", &api.Observation{Id: "high", Priority: api.Priority_PRIORITY_HIGH}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	held := requests.Load()
	var waiting []*client.Pending
	for i := range 3 {
		waiting = append(waiting, hand(t, p, "s", &api.Observation{Id: fmt.Sprint(i)}))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Observe(ctx, "s", &api.Observation{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a fourth in a window of three: %v", err)
	}
	if n := requests.Load(); n != held {
		t.Errorf("%d requests while the space is refused", n-held)
	}
	tell(&api.Pressure{})
	for _, pend := range waiting {
		if _, err := pend.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// Close drains; where it may not wait, what is left fails and says so.
func TestProducerClose(t *testing.T) {
	conn := bustest.Start(t).Connect()
	if err := conn.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := client.New(conn.NC)
	p, err := c.Producer(client.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	answers := answering(t, conn.NC, func(req *api.ObserveRequest) (*api.ObserveResponse, *wire.Error) { return taken(req), nil })
	drained := hand(t, p, "s", &api.Observation{Id: "a"})
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-drained.Done():
	default:
		t.Error("Close returned before the result")
	}
	if _, err := p.Observe(t.Context(), "s", &api.Observation{}); err == nil {
		t.Error("a closed producer took an observation")
	}
	if err := answers.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	answering(t, conn.NC, func(*api.ObserveRequest) (*api.ObserveResponse, *wire.Error) { return nil, nil })
	if p, err = c.Producer(client.ProducerConfig{}); err != nil {
		t.Fatal(err)
	}
	left := hand(t, p, "s", &api.Observation{Id: "b"})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	var e *wire.Error
	if _, err := left.Wait(t.Context()); !errors.As(err, &e) || e.Code != wire.CodeUnavailable {
		t.Errorf("what was left: %v", err)
	}
}
