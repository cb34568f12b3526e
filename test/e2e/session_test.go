//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

const (
	sessionRounds   = 6   // streams of a session that end with the death of their gateway
	perRound        = 300 // observations that are acknowledged in a round before that
	sessionWindow   = 200
	sessionDeadline = 15 * time.Second // of one transport
)

// A client writes numbered observations to one gateway until that is killed, and goes on with the other one, while the
// first is started again, six times over. What was acknowledged is in the index, each at the position that it was
// acknowledged with, and what a dead gateway had taken without a word of it is there once.
func TestSessionMoves(t *testing.T) {
	nats := startNATS(t)
	newDaemon(t, nats, "space-worker", "space-worker", "--dir", filepath.Join(t.TempDir(), "worker")).run()
	newDaemon(t, nats, "recall-api", "recall-api", "--http", "").run()
	var gateways [2]*daemon
	for i := range gateways {
		gateways[i] = newDaemon(t, nats, "ingest-gateway-"+strconv.Itoa(i), "ingest-gateway", "--http", "127.0.0.1:0")
		gateways[i].run()
	}
	conn := connect(t, nats.url)
	for name, dial := range carriers {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), sessionDeadline)
			defer cancel()
			n := &numbered{t: t, js: conn.JS, space: "moves-" + strings.ToLower(name), total: (sessionRounds + 1) * perRound, ledger: map[uint64]string{}}
			for round := range sessionRounds {
				g := gateways[round%2]
				g.ready()
				n.round(dial(ctx, t, g.http), round, g.process)
				g.start()
			}
			last := gateways[sessionRounds%2]
			last.ready()
			gateways[1-sessionRounds%2].ready()
			n.finish(dial(ctx, t, last.http))
			t.Logf("%d observations; %d were sent again and had been acknowledged before, %d had been taken without a word", n.total, n.again, n.unheard)
			if n.again == 0 || n.unheard == 0 {
				t.Error("that is too little of something")
			}
			n.check(ctx, client.New(conn.NC))
		})
	}
}

// numbered is a client of one session, and what it was told.
type numbered struct {
	t     *testing.T
	js    jetstream.JetStream
	space string
	total uint64

	session string
	opened  *api.StreamOpened // of the present stream
	next    uint64            // what is sent next
	floor   uint64            // up to where the present stream has acknowledged, or what lies before its first
	acked   uint64            // up to where any has
	ledger  map[uint64]string // position by sequence
	again   int               // duplicates of what was acknowledged before
	unheard int               // duplicates of what was not
}

// round writes until enough is acknowledged, and kills the gateway while it has a window of observations at hand. In every
// other round the client hears nothing of what the gateway says then, though the log has some of that, and in
// every third it does not say in its next init what was acknowledged.
func (n *numbered) round(c carrier, round int, gateway *process) {
	n.t.Helper()
	n.open(c, round%3 != 1)
	for until := uint64(round+1) * perRound; n.acked < until; {
		n.fill(c)
		n.hear(n.recv(c))
	}
	n.fill(c)
	deaf := round%2 == 0
	if deaf {
		n.logged(n.acked + 1)
	}
	gateway.kill()
	for !deaf {
		out, err := c.recv()
		if err != nil {
			break
		}
		n.hear(out)
	}
	c.cut()
}

// finish writes the rest, and closes the session.
func (n *numbered) finish(c carrier) {
	n.t.Helper()
	n.open(c, true)
	for n.acked < n.total {
		n.fill(c)
		n.hear(n.recv(c))
	}
	if err := c.send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Close{Close: &api.StreamClose{}}}); err != nil {
		n.t.Fatal(err)
	}
	if e := n.recv(c).GetClosed(); e == nil || e.GetNext() != n.total+1 || e.GetResumable() || e.GetError() != nil {
		n.t.Errorf("closed %v", e)
	}
}

// open begins the session, or goes on with it where the gateway says.
func (n *numbered) open(c carrier, tell bool) {
	n.t.Helper()
	in := &api.StreamInit{Session: n.session, Space: n.space, Window: sessionWindow}
	if tell {
		in.Acknowledged = n.acked
	}
	if err := c.send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Init{Init: in}}); err != nil {
		n.t.Fatal(err)
	}
	o := n.recv(c).GetOpened()
	switch next := o.GetNext(); {
	case o == nil, n.session == "" && next != 1, n.session != "" && (o.GetSession() != n.session || !o.GetResumed()):
		n.t.Fatalf("session %q was opened as %v", n.session, o)
	case next <= in.GetAcknowledged() || next > n.acked+1:
		n.t.Fatalf("the stream goes on at %d, where up to %d was acknowledged, and %d told", next, n.acked, in.GetAcknowledged())
	}
	n.session, n.opened = o.GetSession(), o
	n.next, n.floor = o.GetNext(), o.GetNext()-1
}

// fill sends frames of several sizes while the window has room.
func (n *numbered) fill(c carrier) {
	n.t.Helper()
	for end := min(n.total, n.floor+uint64(n.opened.GetWindow())); n.next <= end; {
		f := &api.StreamObserve{Sequence: n.next}
		for size := 1 + n.next%7; size > 0 && n.next <= end; size-- {
			vector := event.AppendF32(nil, []float32{1, float32(n.next)})
			f.Observations = append(f.Observations, &api.Observation{Embedding: &api.Embedding{Data: vector, Encoding: api.Encoding_ENCODING_F32}})
			n.next++
		}
		if err := c.send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Observe{Observe: f}}); err != nil {
			n.t.Fatalf("sending %d: %v", f.GetSequence(), err)
		}
	}
}

func (n *numbered) recv(c carrier) *api.ObserveStreamResponse {
	n.t.Helper()
	out, err := c.recv()
	if err != nil {
		n.t.Fatalf("after %d were acknowledged: %v", n.acked, err)
	}
	return out
}

// hear takes a frame of the gateway into the ledger.
func (n *numbered) hear(out *api.ObserveStreamResponse) {
	n.t.Helper()
	switch f := out.GetFrame().(type) {
	case *api.ObserveStreamResponse_Ack:
		for i, r := range f.Ack.GetResults() {
			n.accepted(f.Ack.GetSequence()+uint64(i), r)
		}
	case *api.ObserveStreamResponse_Refused:
		if e := wire.FromProto(f.Refused.GetError()); !passes(e) && e.Code != wire.CodeOutOfSequence {
			n.t.Fatalf("refused %v", f.Refused)
		}
		if f.Refused.GetSequence() == f.Refused.GetExpected() {
			n.next = f.Refused.GetExpected()
		}
	case *api.ObserveStreamResponse_Status:
	default:
		n.t.Fatalf("the gateway says %v", out)
	}
}

func (n *numbered) accepted(sequence uint64, r *api.ObserveResult) {
	n.t.Helper()
	before, known := n.ledger[sequence]
	switch {
	case sequence != n.floor+1:
		n.t.Fatalf("%d was acknowledged after %d", sequence, n.floor)
	case r.GetError() != nil || r.GetPosition() == "" && !known:
		n.t.Fatalf("the acknowledgement of %d is %v", sequence, r)
	case known && (!r.GetDuplicate() || r.GetPosition() != "" && r.GetPosition() != before):
		n.t.Fatalf("%d was at %s, and is acknowledged again with %v", sequence, before, r)
	case known:
		n.again++
	default:
		n.ledger[sequence] = r.GetPosition()
		if r.GetDuplicate() {
			n.unheard++
		}
	}
	n.floor = sequence
	n.acked = max(n.acked, sequence)
}

// logged waits until the log has so many observations of the space, beside its definition.
func (n *numbered) logged(want uint64) {
	n.t.Helper()
	eventually(n.t, startTimeout, func() error {
		if got := n.inLog(); got < want+1 {
			return fmt.Errorf("the log has %d entries of the space, want %d", got, want+1)
		}
		return nil
	})
}

// inLog counts the entries of the space in its log.
func (n *numbered) inLog() uint64 {
	n.t.Helper()
	shard := event.ShardOf(n.space, shards)
	stream, err := n.js.Stream(n.t.Context(), bus.LogStream(shard))
	if err != nil {
		n.t.Fatal(err)
	}
	subject := bus.LogSubject(shard, n.space)
	info, err := stream.Info(n.t.Context(), jetstream.WithSubjectFilter(subject))
	if err != nil {
		n.t.Fatal(err)
	}
	return info.State.Subjects[subject]
}

// check compares the ledger with the log, the list, the count, and each observation by its id.
func (n *numbered) check(ctx context.Context, c *client.Client) {
	n.t.Helper()
	if got := n.inLog(); got != n.total+1 {
		n.t.Errorf("the log has %d entries of the space, of %d observations and its definition", got, n.total)
	}
	if err := n.inOrder(); err != nil {
		n.t.Error(err)
	}
	list := &api.ListRequest{AtLeast: n.ledger[n.total], DeadlineMs: uint32(patience.Milliseconds()), Include: []string{"none"}}
	listed := map[string]bool{}
	for more := true; more; {
		page, err := c.List(ctx, n.space, list)
		if err != nil {
			n.t.Fatal(err)
		}
		for _, h := range page.GetObservations() {
			if listed[h.GetId()] {
				n.t.Errorf("%s is there twice", h.GetId())
			}
			listed[h.GetId()] = true
			n.holds(h)
			list.Before = h.GetPosition()
		}
		more = page.GetMore() && len(page.GetObservations()) > 0
	}
	if len(listed) != int(n.total) {
		n.t.Errorf("%d observations are listed, of %d", len(listed), n.total)
	}
	n.checkIDs(ctx, c)
	info, err := c.Spaces(ctx, n.space)
	if err != nil {
		n.t.Fatal(err)
	}
	if s := info.GetSpaces(); len(s) != 1 || s[0].GetObservations() != n.total {
		n.t.Errorf("the space is %v, and has %d observations", s, n.total)
	}
}

// checkIDs asks for each sequence by the id that the gateway gave it.
func (n *numbered) checkIDs(ctx context.Context, c *client.Client) {
	n.t.Helper()
	for first := uint64(1); first <= n.total; first += perRound {
		get := &api.GetRequest{Include: []string{"none"}}
		for i := first; i < first+perRound; i++ {
			get.Ids = append(get.Ids, n.session+":"+strconv.FormatUint(i, 10))
		}
		got, err := c.Get(ctx, n.space, get)
		if err != nil {
			n.t.Fatal(err)
		}
		if len(got.GetObservations()) != perRound {
			n.t.Errorf("of %d and those behind it %d can be had by their ids, of %d", first, len(got.GetObservations()), perRound)
		}
		for _, h := range got.GetObservations() {
			n.holds(h)
		}
	}
}

// holds compares an observation with the ledger.
func (n *numbered) holds(h *api.Hit) {
	n.t.Helper()
	id := n.session + ":" + strconv.FormatUint(h.GetSequence(), 10)
	if h.GetSession() != n.session || h.GetId() != id || h.GetPosition() != n.ledger[h.GetSequence()] {
		n.t.Errorf("%v is there, and was acknowledged at %q", h, n.ledger[h.GetSequence()])
	}
}

// inOrder tells whether all sequences were acknowledged, at positions in their order.
func (n *numbered) inOrder() error {
	var last event.Position
	for sequence := uint64(1); sequence <= n.total; sequence++ {
		at, err := event.ParsePosition(n.ledger[sequence])
		if err != nil {
			return errors.Join(fmt.Errorf("%d was not acknowledged", sequence), err)
		}
		if at.Sequence <= last.Sequence {
			return fmt.Errorf("%d stands at %s, before the one that it follows, at %s", sequence, at, last)
		}
		last = at
	}
	return nil
}
