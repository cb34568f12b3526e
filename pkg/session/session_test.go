package session

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What is refused takes what is behind it along, in whatever state that is, and all can be sent again.
func TestRefusedInTheMiddle(t *testing.T) {
	f := start(t, newMemory(), newLog(), nil)
	p, _ := f.serve(t)
	o := p.open(t, &api.StreamInit{})
	f.log.hold()
	for i := range uint64(5) {
		p.send(t, frame(i+1, 1))
	}
	f.log.refuse[3] = &wire.Error{Code: wire.CodeBackpressure, Message: "later", RetryAfter: 250 * time.Millisecond}
	p.ping(t) // so the reader has handed over all before
	f.log.release()
	acked := uint64(0)
	for acked < 2 {
		a := p.next(t).GetAck()
		acked = a.GetSequence() + uint64(len(a.GetResults())) - 1
	}
	if s := p.next(t).GetStatus(); s.GetState() != api.StreamState_STREAM_STATE_BACKPRESSURE || s.GetRetryAfterMs() != 250 || s.GetNext() != 3 {
		t.Errorf("status %v", s)
	}
	for i, code := range []wire.Code{wire.CodeBackpressure, wire.CodeOutOfSequence, wire.CodeOutOfSequence} {
		if r := p.next(t).GetRefused(); r.GetSequence() != uint64(i+3) || r.GetExpected() != 3 || r.GetError().GetCode() != string(code) {
			t.Errorf("refused %v", r)
		}
	}
	if len(f.log.at) != 2 {
		t.Errorf("the log took %v", f.log.at)
	}
	p.send(t, frame(3, 4))
	if a := p.next(t).GetAck(); a.GetSequence() != 3 || len(a.GetResults()) != 4 || a.GetResults()[0].GetDuplicate() {
		t.Errorf("sent again: %v", a)
	}
	if s := p.next(t).GetStatus(); s.GetState() != api.StreamState_STREAM_STATE_READY {
		t.Errorf("status %v", s)
	}
	// Half of it is known, and half of it new.
	p.send(t, frame(5, 4))
	got := 0
	for got < 4 {
		a := p.next(t).GetAck()
		for i, r := range a.GetResults() {
			sequence := a.GetSequence() + uint64(i)
			if want := fmt.Sprintf("e.1:%d", sequence); r.GetPosition() != want || r.GetDuplicate() != (sequence < 7) {
				t.Errorf("sequence %d: %v", sequence, r)
			}
			got++
		}
	}
	if _, ok := f.log.at[o.GetSession()+":8"]; !ok || len(f.log.at) != 8 {
		t.Errorf("the log has %v", f.log.at)
	}
}

// What comes behind a frame that is refused while frames before it are still under way does not reach the log, so
// something else may be put in its place.
func TestRefusedBeforeItsTurn(t *testing.T) {
	f := start(t, newMemory(), newLog(), nil)
	p, _ := f.serve(t)
	p.open(t, &api.StreamInit{})
	f.log.hold()
	f.log.early[3] = wire.Errorf(wire.CodeInvalidArgument, "importance", "no")
	for i := range uint64(3) {
		p.send(t, frame(i+1, 1))
	}
	for i := range uint64(2) {
		p.send(t, frame(i+4, 1))
		p.refused(t, i+4, 3, wire.CodeOutOfSequence)
	}
	f.log.release()
	p.acked(t, 1, 2)
	p.refused(t, 3, 3, wire.CodeInvalidArgument)
	if len(f.log.at) != 2 {
		t.Fatalf("the log took %v", f.log.at)
	}
	p.send(t, frame(3, 3))
	p.acked(t, 3, 3)
}

// What was handed over already is kept from the log, too, and all is to be sent again from the first that was not taken.
func TestRefusedTwice(t *testing.T) {
	f := start(t, newMemory(), newLog(), nil)
	p, _ := f.serve(t)
	p.open(t, &api.StreamInit{})
	f.log.hold()
	f.log.refuse[1] = wire.Errorf(wire.CodeUnavailable, "", "the deadline passed")
	f.log.refuse[2] = wire.Errorf(wire.CodeStorageFull, "", "full")
	for i := range uint64(4) {
		p.send(t, frame(i+1, 1))
	}
	p.ping(t)
	for _, i := range []int{1, 1, 1, 0} { // the second one, those behind it, and the first
		f.log.releaseOne(i)
	}
	p.refused(t, 1, 1, wire.CodeUnavailable)
	for i := range uint64(3) {
		p.refused(t, i+2, 1, wire.CodeOutOfSequence)
	}
	if len(f.log.at) != 0 {
		t.Fatalf("the log took %v", f.log.at)
	}
	f.log.release()
	p.send(t, frame(1, 4))
	p.acked(t, 1, 4)
}

// A repeat whose first try was not taken is not taken either, so that everything up to the last ack is durable.
func TestRepeatOfWhatIsRefused(t *testing.T) {
	f := start(t, newMemory(), newLog(), nil)
	p, _ := f.serve(t)
	p.open(t, &api.StreamInit{})
	f.log.hold()
	f.log.refuse[1] = wire.Errorf(wire.CodeUnavailable, "", "the deadline passed")
	p.send(t, frame(1, 10))
	p.send(t, frame(5, 6))
	p.ping(t)
	f.log.release()
	p.refused(t, 1, 1, wire.CodeUnavailable)
	p.refused(t, 5, 1, wire.CodeOutOfSequence)
	if len(f.log.at) != 0 {
		t.Fatalf("the log took %v", f.log.at)
	}
	p.send(t, frame(1, 11))
	p.acked(t, 1, 11)
}

// A client that does not read its acks is not read either, and what it makes the gateway hold stays within its window.
func TestSlowClient(t *testing.T) {
	f := start(t, newMemory(), newLog(), nil)
	p, ended := f.serve(t)
	p.open(t, &api.StreamInit{Window: 10})
	sent, most := uint64(0), int64(0)
	// Nothing is read: at some frame the reader stops taking. Ten are in the window, one is in a reader's hand.
	for taken := true; taken; {
		select {
		case p.in <- frame(sent+1, 1):
			sent++
			most = max(most, f.Memory())
		case <-time.After(300 * time.Millisecond):
			taken = false
		}
		if sent > 100 {
			t.Fatal("a client that reads nothing was read on and on")
		}
	}
	if sent < 10 || sent > 12 {
		t.Errorf("%d observations were read with a window of 10", sent)
	}
	if most > 12*200 {
		t.Errorf("%d bytes were held", most)
	}
	// It is ended when it is idle for too long, though it does not read that either.
	f.clock.move(f.Config.IdleTimeout)
	f.Sweep()
	select {
	case err := <-ended:
		if err == nil || err.Code != wire.CodeDeadline {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(3 * farewell):
		t.Fatal("it was not ended")
	}
	if f.Memory() != 0 || f.Count() != 0 {
		t.Errorf("%d bytes and %d streams are left", f.Memory(), f.Count())
	}
}

// Idle streams are ended by the clock, those with frames are not, and the session goes on where it was.
func TestEviction(t *testing.T) {
	f := start(t, newMemory(), newLog(), nil)
	idle, ended := f.serve(t)
	o := idle.open(t, &api.StreamInit{})
	idle.send(t, frame(1, 3))
	idle.next(t)
	busy, _ := f.serve(t)
	busy.open(t, &api.StreamInit{})
	f.clock.move(f.Config.IdleTimeout - time.Second)
	busy.send(t, ping(""))
	busy.next(t)
	f.Sweep()
	if f.Count() != 2 {
		t.Fatalf("%d streams are left too early", f.Count())
	}
	f.clock.move(time.Second)
	f.Sweep()
	if c := idle.next(t).GetClosed(); c.GetNext() != 4 || !c.GetResumable() || c.GetError().GetCode() != string(wire.CodeDeadline) {
		t.Errorf("closed %v", c)
	}
	if err := <-ended; err.Code != wire.CodeDeadline || f.Count() != 1 {
		t.Errorf("it ended with %v, and %d are left", err, f.Count())
	}
	if s := f.store.state(t, o.GetSession()); !s.GetExact() || s.GetSequence() != 3 {
		t.Errorf("saved %v", s)
	}
	again, _ := f.serve(t)
	if o := again.open(t, &api.StreamInit{Session: o.GetSession()}); o.GetNext() != 4 || !o.GetResumed() {
		t.Errorf("opened %v", o)
	}
	// Its positions are known without the log.
	again.send(t, frame(2, 1))
	if a := again.next(t).GetAck(); a.GetResults()[0].GetPosition() != "e.1:2" || !a.GetResults()[0].GetDuplicate() {
		t.Errorf("a repeat: %v", a)
	}
}

func TestTooManyStreams(t *testing.T) {
	f := start(t, newMemory(), newLog(), func(o *Options) { o.Config.MaxSessions = 2 })
	first, gone := f.serve(t)
	first.open(t, &api.StreamInit{})
	second, _ := f.serve(t)
	second.open(t, &api.StreamInit{})
	third, ended := f.serve(t)
	if c := third.next(t).GetClosed(); c.GetError().GetCode() != string(wire.CodeSessionLimit) || c.GetError().GetRetryAfterMs() == 0 {
		t.Errorf("closed %v", c)
	}
	if err := <-ended; err.Code != wire.CodeSessionLimit {
		t.Error(err)
	}
	first.Abort()
	<-gone
	if n := f.Count(); n != 1 {
		t.Fatalf("%d streams count when one is left", n)
	}
	fourth, _ := f.serve(t)
	fourth.open(t, &api.StreamInit{})
}

// A session is its principal's.
func TestOfAnotherPrincipal(t *testing.T) {
	f := start(t, newMemory(), newLog(), authenticated)
	mine, _ := f.serveFor(t, "alice")
	id := mine.open(t, &api.StreamInit{}).GetSession()
	for _, open := range []bool{true, false} { // while it has a stream, and when it has none
		for _, who := range []string{"bob", ""} {
			p, _ := f.serveFor(t, who)
			p.send(t, resume(id))
			if c := p.next(t).GetClosed(); c.GetError().GetCode() != string(wire.CodeUnknownSession) {
				t.Errorf("%q got %v", who, c)
			}
		}
		if open {
			close(mine.in)
			if c := mine.next(t).GetClosed(); !c.GetResumable() || c.GetError() != nil {
				t.Errorf("closed %v", c)
			}
		}
	}
	again, _ := f.serveFor(t, "alice")
	if o := again.open(t, &api.StreamInit{Session: id}); !o.GetResumed() {
		t.Errorf("opened %v", o)
	}
}

// The bucket is not written with each observation, and says whether it knows all.
func TestSaves(t *testing.T) {
	f := start(t, newMemory(), newLog(), nil)
	p, _ := f.serve(t)
	id := p.open(t, &api.StreamInit{}).GetSession()
	observe := func(from, to uint64) {
		for s := from; s <= to; s++ {
			p.send(t, frame(s, 1))
			p.next(t)
		}
	}
	if f.store.writes != 1 || !f.store.state(t, id).GetExact() {
		t.Fatalf("%d writes, %v", f.store.writes, f.store.state(t, id))
	}
	observe(1, 500)
	if f.store.writes != 2 || f.store.state(t, id).GetExact() {
		t.Fatalf("%d writes, %v", f.store.writes, f.store.state(t, id))
	}
	f.Save(t.Context()) // not yet
	f.clock.move(f.Config.SaveInterval)
	f.Save(t.Context())
	if s := f.store.state(t, id); f.store.writes != 3 || s.GetExact() || s.GetSequence() != 500 || len(s.GetPositions()) != 500 {
		t.Fatalf("%d writes, %v", f.store.writes, s)
	}
	f.clock.move(2 * f.Config.SaveInterval)
	f.Save(t.Context())
	f.Save(t.Context())
	if s := f.store.state(t, id); f.store.writes != 4 || !s.GetExact() {
		t.Fatalf("%d writes, %v", f.store.writes, s)
	}
	observe(501, 501)
	if s := f.store.state(t, id); f.store.writes != 5 || s.GetExact() || s.GetSequence() != 500 {
		t.Fatalf("%d writes, %v", f.store.writes, s)
	}
}

// What a gateway that died had taken is found out by sending it again, as long as the log knows; after that the session is
// not resumed.
func TestAfterADeadGateway(t *testing.T) {
	store, log := newMemory(), newLog()
	a := start(t, store, log, nil)
	p, _ := a.serve(t)
	id := p.open(t, &api.StreamInit{}).GetSession()
	p.send(t, frame(1, 20))
	p.next(t)
	dead := store.state(t, id) // what a gateway that dies now leaves

	b := start(t, store, log, nil)
	q, ended := b.serve(t)
	if o := q.open(t, &api.StreamInit{Session: id, Acknowledged: 15}); o.GetNext() != 16 {
		t.Fatalf("opened %v", o)
	}
	q.send(t, frame(16, 8))
	for got := 16; got < 24; {
		for _, r := range q.next(t).GetAck().GetResults() {
			if r.GetPosition() != fmt.Sprintf("e.1:%d", got) || r.GetDuplicate() != (got <= 20) {
				t.Errorf("sequence %d: %v", got, r)
			}
			got++
		}
	}
	// The first one lives after all: it notices, and leaves the session alone.
	p.send(t, frame(21, 1))
	if r := p.next(t).GetAck(); !r.GetResults()[0].GetDuplicate() {
		t.Errorf("the other stream took %v", r)
	}
	a.clock.move(a.Config.SaveInterval)
	a.Save(t.Context())
	if c := p.next(t).GetClosed(); c.GetError().GetCode() != string(wire.CodeConflict) || c.GetResumable() {
		t.Errorf("closed %v", c)
	}
	close(q.in)
	if c := q.next(t).GetClosed(); c.GetNext() != 24 {
		t.Errorf("closed %v", c)
	}
	<-ended

	store.mu.Lock()
	revision := store.revs[id]
	store.mu.Unlock()
	if _, err := store.Save(t.Context(), id, dead, revision); err != nil {
		t.Fatal(err)
	}
	b.clock.move(b.KnownFor + time.Second)
	r, _ := b.serve(t)
	r.send(t, resume(id))
	if c := r.next(t).GetClosed(); c.GetError().GetCode() != string(wire.CodeGone) {
		t.Errorf("closed %v", c)
	}
}

// A pause waits for what is in flight, and refuses what comes during it.
func TestPause(t *testing.T) {
	f := start(t, newMemory(), newLog(), nil)
	p, _ := f.serve(t)
	p.open(t, &api.StreamInit{Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE})
	p.send(t, frame(1, 1))
	p.send(t, &api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Pause{Pause: &api.StreamPause{}}})
	for _, level := range []api.Acknowledgement{1, 2} {
		if a := p.next(t).GetAck(); a.GetLevel() != level || a.GetResults()[0].GetSearchable() != (level == 2) {
			t.Errorf("acked %v", a)
		}
	}
	if s := p.next(t).GetStatus(); s.GetState() != api.StreamState_STREAM_STATE_PAUSED || s.GetNext() != 2 {
		t.Errorf("status %v", s)
	}
	p.send(t, frame(2, 1))
	if r := p.next(t).GetRefused(); r.GetError().GetCode() != string(wire.CodeConflict) || r.GetExpected() != 2 {
		t.Errorf("refused %v", r)
	}
	p.send(t, &api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Resume{Resume: &api.StreamResume{}}})
	p.next(t)
	p.send(t, frame(2, 1))
	if a := p.next(t).GetAck(); a.GetSequence() != 2 {
		t.Errorf("acked %v", a)
	}
	p.next(t)
}
