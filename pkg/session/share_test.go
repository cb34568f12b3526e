package session

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

type whoKey struct{}

// authenticated makes a manager take the principal of a stream from its context.
func authenticated(o *Options) {
	o.Principal = func(ctx context.Context) Principal { who, _ := ctx.Value(whoKey{}).(Principal); return who }
}

// serveFor runs a stream of a principal.
func (f *fixture) serveFor(t *testing.T, who string) (*pipe, <-chan *wire.Error) {
	return f.serveUntil(t, who, time.Time{})
}

// serveUntil runs a stream of a principal that expires; the zero time is never.
func (f *fixture) serveUntil(t *testing.T, who string, at time.Time) (*pipe, <-chan *wire.Error) {
	return f.serveIn(context.WithValue(t.Context(), whoKey{}, Principal{Name: who, Shared: true, Expires: at}), t)
}

// One principal cannot take the places of all others.
func TestShareOfAPrincipal(t *testing.T) {
	for _, set := range []Config{{MaxSessions: 8}, {MaxSessions: 100, MaxPerPrincipal: 2}} {
		f := start(t, newMemory(), newLog(), func(o *Options) {
			authenticated(o)
			o.Config.MaxSessions, o.Config.MaxPerPrincipal = set.MaxSessions, set.MaxPerPrincipal
		})
		first, ended := f.serveFor(t, "alice")
		first.open(t, &api.StreamInit{})
		second, _ := f.serveFor(t, "alice")
		second.open(t, &api.StreamInit{})
		third, refused := f.serveFor(t, "alice")
		if e := third.next(t).GetClosed().GetError(); e.GetCode() != string(wire.CodeSessionLimit) || e.GetRetryAfterMs() == 0 {
			t.Errorf("a third stream of a share of two: %v", e)
		}
		<-refused
		bob, _ := f.serveFor(t, "bob")
		bob.open(t, &api.StreamInit{})
		first.Abort()
		<-ended
		again, _ := f.serveFor(t, "alice")
		again.open(t, &api.StreamInit{})
		for range 3 { // without authentication there are no shares
			p, _ := f.serve(t)
			p.open(t, &api.StreamInit{})
		}
	}
}

// A stream that does nothing does not keep its place, and one that has sent its init does.
func TestNoInit(t *testing.T) {
	f := start(t, newMemory(), newLog(), nil)
	f.opening = 500 * time.Millisecond
	opened, _ := f.serve(t)
	opened.open(t, &api.StreamInit{})
	p, ended := f.serve(t)
	p.send(t, ping("still here"))
	p.next(t)
	if c := p.next(t).GetClosed(); c.GetError().GetCode() != string(wire.CodeDeadline) || c.GetResumable() {
		t.Errorf("closed %v", c)
	}
	<-ended
	opened.send(t, ping(""))
	if opened.next(t).GetPong() == nil || f.Count() != 1 {
		t.Errorf("%d streams are left", f.Count())
	}
}

// heldStore is a store one of whose reads waits for release.
type heldStore struct {
	*memory
	held    atomic.Bool
	reached chan struct{}
	release chan struct{}
}

func (h *heldStore) Load(ctx context.Context, id string) (*api.SessionState, uint64, error) {
	if h.held.CompareAndSwap(true, false) {
		close(h.reached)
		<-h.release
	}
	return h.memory.Load(ctx, id)
}

func holdLoad(o *Options) *heldStore {
	h := &heldStore{memory: o.Store.(*memory), reached: make(chan struct{}), release: make(chan struct{})}
	o.Store = h
	return h
}

func resume(id string) *api.ObserveStreamRequest {
	return &api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Init{Init: &api.StreamInit{Session: id}}}
}

// While it is looked up whose a session is, its owner can have it.
func TestResumeBesideAStranger(t *testing.T) {
	var store *heldStore
	f := start(t, newMemory(), newLog(), func(o *Options) { authenticated(o); store = holdLoad(o) })
	first, ended := f.serveFor(t, "alice")
	id := first.open(t, &api.StreamInit{}).GetSession()
	close(first.in)
	first.next(t)
	<-ended
	store.held.Store(true)
	release := sync.OnceFunc(func() { close(store.release) })
	t.Cleanup(release)
	bob, refused := f.serveFor(t, "bob")
	bob.send(t, resume(id))
	<-store.reached
	alice, _ := f.serveFor(t, "alice")
	if o := alice.open(t, &api.StreamInit{Session: id}); !o.GetResumed() {
		t.Errorf("opened %v", o)
	}
	release()
	if c := bob.next(t).GetClosed(); c.GetError().GetCode() != string(wire.CodeUnknownSession) {
		t.Errorf("closed %v", c)
	}
	<-refused
	alice.send(t, frame(1, 1))
	if a := alice.next(t).GetAck(); len(a.GetResults()) != 1 {
		t.Errorf("acked %v", a)
	}
}

// Of two streams of one principal that resume a session at once, one has it in the end, and the other knows.
func TestResumeTwice(t *testing.T) {
	var store *heldStore
	f := start(t, newMemory(), newLog(), func(o *Options) { authenticated(o); store = holdLoad(o) })
	first, ended := f.serveFor(t, "alice")
	id := first.open(t, &api.StreamInit{}).GetSession()
	first.send(t, frame(1, 3))
	first.next(t)
	store.held.Store(true)
	release := sync.OnceFunc(func() { close(store.release) })
	t.Cleanup(release)
	second, _ := f.serveFor(t, "alice")
	second.send(t, resume(id))
	<-store.reached
	close(first.in) // it writes its state meanwhile
	first.next(t)
	<-ended
	release()
	if o := second.next(t).GetOpened(); !o.GetResumed() || o.GetNext() != 4 {
		t.Errorf("opened %v", o)
	}
	third, _ := f.serveFor(t, "alice")
	third.send(t, resume(id))
	if c := second.next(t).GetClosed(); c.GetError().GetCode() != string(wire.CodeConflict) {
		t.Errorf("closed %v", c)
	}
	if o := third.next(t).GetOpened(); !o.GetResumed() || o.GetNext() != 4 {
		t.Errorf("opened %v", o)
	}
}
