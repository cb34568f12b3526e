package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/wire"
)

// site is a gateway of its own beside the shared node.
type site struct {
	conn *bus.Conn
	part *daemon.Gateway
	http *daemon.HTTPServer
	stop func() error
	cut  sync.Once
}

func startSite(t *testing.T, name string, change func(*gateway.Config)) *site {
	t.Helper()
	conn, err := shared.Connect(name)
	must(t, err)
	env, _, stop, err := daemon.NewEnv(conn, zerolog.Nop())
	must(t, err)
	cfg := daemon.GatewayConfig{Gateway: gateway.DefaultConfig()}
	if change != nil {
		change(&cfg.Gateway)
	}
	part, err := daemon.StartGateway(background(t), cfg, env)
	must(t, err)
	faces, err := daemon.Faces(part)
	if err != nil {
		t.Fatal(err)
	}
	h, err := daemon.ServeHTTP("127.0.0.1:0", faces...)
	must(t, err)
	s := &site{conn: conn, part: part, http: h, stop: stop}
	t.Cleanup(func() {
		s.kill()
		_ = part.Close() // the same
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// past is a context whose deadline is over: a server closed with it cuts its connections.
func past() context.Context {
	ctx, cancel := context.WithDeadline(context.Background(), time.Now())
	cancel()
	return ctx
}

// kill takes NATS and the clients from a gateway from one moment to the next: it can save and say nothing more.
func (s *site) kill() {
	s.cut.Do(func() {
		s.conn.Close()
		_ = s.http.Close(past()) // it says that it had to cut them
	})
}

// writer sends numbered observations on one stream after the other, and keeps a ledger.
type writer struct {
	t       *testing.T
	space   string
	total   uint64
	session string
	acked   uint64
	ledger  map[uint64]string // position by sequence
	again   int               // acks that said duplicate
}

// run opens the session on a stream and writes until all is acked, or until so much is, when stop is called.
func (w *writer) run(p pipe, until uint64, stop func()) {
	w.t.Helper()
	o := open(w.t, p, &api.StreamInit{Session: w.session, Space: w.space, Acknowledged: w.acked, Window: 64})
	if w.session != "" && (!o.GetResumed() || o.GetSession() != w.session || o.GetNext() > w.acked+1) {
		w.t.Fatalf("opened %v after %d were acked", o, w.acked)
	}
	w.session = o.GetSession()
	next := o.GetNext()
	floor := next - 1
	for floor < until {
		for next <= w.total && next-floor <= uint64(o.GetWindow()) {
			if err := p.send(observeFrame(next, &api.Observation{Id: fmt.Sprint("o", next), Text: fmt.Sprint("text ", next), Embedding: f32(1, float32(next))})); err != nil {
				w.t.Fatal(err)
			}
			next++
		}
		out, err := p.recv()
		if err != nil {
			w.t.Fatalf("after %d: %v", floor, err)
		}
		if r := out.GetRefused(); r != nil {
			if r.GetError().GetCode() != string(wire.CodeBackpressure) && r.GetError().GetCode() != string(wire.CodeOutOfSequence) {
				w.t.Fatalf("refused %v", r)
			}
			if r.GetSequence() == r.GetExpected() {
				next = r.GetExpected()
			}
			continue
		}
		for i, r := range out.GetAck().GetResults() {
			sequence := out.GetAck().GetSequence() + uint64(i)
			if sequence != floor+1 || r.GetError() != nil {
				w.t.Fatalf("sequence %d was acked after %d: %v", sequence, floor, r)
			}
			if old, ok := w.ledger[sequence]; ok && old != r.GetPosition() {
				w.t.Fatalf("sequence %d was at %s and is at %s", sequence, old, r.GetPosition())
			}
			if r.GetDuplicate() {
				w.again++
			}
			floor = sequence
			w.acked = max(w.acked, floor)
			w.ledger[sequence] = r.GetPosition()
		}
	}
	if stop != nil {
		stop()
	}
}

// check compares the ledger with what is there: each observation once, and each in the log once.
func (w *writer) check() {
	w.t.Helper()
	ctx := background(w.t)
	conn, err := shared.Connect("check")
	must(w.t, err)
	defer conn.Close()
	shard := event.ShardOf(w.space, 2)
	stream, err := conn.JS.Stream(ctx, bus.LogStream(shard))
	must(w.t, err)
	subject := bus.LogSubject(shard, w.space)
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	must(w.t, err)
	if got := info.State.Subjects[subject]; got != w.total+1 { // and the definition
		w.t.Errorf("the log has %d entries of the space, of %d observations", got, w.total)
	}
	seen := map[string]string{}
	req := &api.ListRequest{AtLeast: w.ledger[w.total], Limit: ptr(uint32(1000))}
	for more := true; more; {
		page, err := client.New(conn.NC).List(ctx, w.space, req)
		must(w.t, err)
		for _, h := range page.GetObservations() {
			if _, twice := seen[h.GetId()]; twice {
				w.t.Errorf("%s is there twice", h.GetId())
			}
			seen[h.GetId()] = h.GetPosition()
			req.Before = h.GetPosition()
		}
		more = page.GetMore()
	}
	if len(seen) != int(w.total) {
		w.t.Errorf("%d observations are there, of %d", len(seen), w.total)
	}
	for sequence, position := range w.ledger {
		if got := seen[fmt.Sprint("o", sequence)]; got != position {
			w.t.Errorf("sequence %d was acked at %s and is at %q", sequence, position, got)
		}
	}
}

func ptr[V any](v V) *V { return &v }

// A gateway is killed in the middle of a stream, and the client goes on with another one: nothing that was acked is lost,
// and nothing is there twice, whether the client says what it has seen acknowledged, or sends all again.
func TestResumeOnAnotherGateway(t *testing.T) {
	for name, dial := range pipes(t) {
		for _, tells := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, tells %v", name, tells), func(t *testing.T) {
				a, b := startSite(t, "a", func(c *gateway.Config) { c.Deadline = time.Second }), startSite(t, "b", nil)
				w := &writer{t: t, space: unique("resume"), total: 600, ledger: map[uint64]string{}}
				first := dial(a.http.Addr())
				w.run(first, 250, func() { a.kill(); first.cut() })
				if !tells {
					w.acked = 0
				}
				w.run(dial(b.http.Addr()), w.total, nil)
				if !tells && w.again < 250 {
					t.Errorf("%d were answered as duplicates, and 250 had been acked before", w.again)
				}
				w.check()
			})
		}
	}
}

// A stream that ends without close leaves its session to be resumed, and to nobody else; one that was closed does not.
func TestResumeAndClose(t *testing.T) {
	dial := pipes(t)["gRPC"]
	w := &writer{t: t, space: unique("again"), total: 30, ledger: map[uint64]string{}}
	w.run(dial(shared.HTTPAddr()), 10, nil) // this stream stays open: the next one takes its session
	second := dial(shared.HTTPAddr())
	w.run(second, 20, second.cut)
	third := dial(shared.HTTPAddr())
	w.run(third, 30, nil)
	w.check()
	must(t, third.send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Close{Close: &api.StreamClose{}}}))
	if c := next(t, third).GetClosed(); c.GetNext() != 31 || c.GetResumable() || c.GetError() != nil {
		t.Errorf("closed %v", c)
	}
	fourth := dial(shared.HTTPAddr())
	must(t, fourth.send(initFrame(&api.StreamInit{Session: w.session})))
	if c := next(t, fourth).GetClosed(); c.GetError().GetCode() != string(wire.CodeUnknownSession) {
		t.Errorf("a closed session was answered with %v", c)
	}
	if _, err := fourth.recv(); err == nil {
		t.Error("the stream went on")
	}
}

// A gateway that stops says so, and its sessions go on elsewhere at the exact place.
func TestDrain(t *testing.T) {
	for name, dial := range pipes(t) {
		t.Run(name, func(t *testing.T) {
			a := startSite(t, "a", nil)
			w := &writer{t: t, space: unique("drain"), total: 100, ledger: map[uint64]string{}}
			p := dial(a.http.Addr())
			w.run(p, 50, nil)
			drained := make(chan error, 1)
			go func() { drained <- a.part.Drain(t.Context()) }()
			closed := (*api.StreamClosed)(nil)
			for closed == nil {
				out := next(t, p)
				for i, r := range out.GetAck().GetResults() {
					w.ledger[out.GetAck().GetSequence()+uint64(i)] = r.GetPosition()
					w.acked = out.GetAck().GetSequence() + uint64(i)
				}
				closed = out.GetClosed()
			}
			if closed.GetError().GetCode() != string(wire.CodeUnavailable) || !closed.GetResumable() || closed.GetNext() != w.acked+1 {
				t.Errorf("closed %v after %d were acked", closed, w.acked)
			}
			p.cut()
			if err := <-drained; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			w.run(dial(shared.HTTPAddr()), w.total, nil)
			w.check()
		})
	}
}
