package session

import (
	"testing"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

// closedExpired reads the last frame of a stream whose principal has expired.
func (p *pipe) closedExpired(t *testing.T, next uint64, resumable bool) {
	t.Helper()
	out := p.next(t)
	if c := out.GetClosed(); c.GetError().GetCode() != string(wire.CodeUnauthenticated) || c.GetResumable() != resumable || c.GetNext() != next {
		t.Fatalf("a stream of who has expired is ended with %v", out)
	}
}

// A stream ends when its principal expires, once what it has taken is settled, and goes on for the same one with what
// holds for longer, at the exact place.
func TestExpired(t *testing.T) {
	f := start(t, newMemory(), newLog(), func(o *Options) { authenticated(o); o.Config.IdleTimeout = 2 * time.Hour })
	first, ended := f.serveUntil(t, "alice", f.clock.Now().Add(time.Hour))
	lasting, _ := f.serveUntil(t, "bob", time.Time{})
	longer, _ := f.serveUntil(t, "bob", f.clock.Now().Add(time.Hour+1))
	lasting.open(t, &api.StreamInit{})
	longer.open(t, &api.StreamInit{})
	id := first.open(t, &api.StreamInit{}).GetSession()
	first.send(t, frame(1, 3))
	first.acked(t, 1, 3)
	f.clock.move(time.Hour - 1)
	f.Sweep()
	f.log.hold()
	first.send(t, frame(4, 2))
	first.ping(t) // it lives, and has taken the frame
	f.clock.move(1)
	f.Sweep()
	f.log.release() // what is in flight comes first
	first.acked(t, 4, 2)
	first.closedExpired(t, 6, true)
	if err := <-ended; err == nil || err.Code != wire.CodeUnauthenticated {
		t.Errorf("the stream ended with %v", err)
	}
	if s := f.store.state(t, id); !s.GetExact() || s.GetSequence() != 5 {
		t.Errorf("the state is %v", s)
	}
	again, _ := f.serveUntil(t, "alice", f.clock.Now().Add(time.Hour))
	if o := again.open(t, &api.StreamInit{Session: id, Acknowledged: 5}); o.GetNext() != 6 || !o.GetResumed() {
		t.Errorf("opened %v", o)
	}
	lasting.ping(t)
	longer.ping(t)
}

// It ends at that moment, and not when the streams are looked through.
func TestExpiredAtOnce(t *testing.T) {
	f := start(t, newMemory(), newLog(), authenticated)
	soon, _ := f.serveUntil(t, "alice", f.clock.Now().Add(50*time.Millisecond))
	over, _ := f.serveUntil(t, "alice", f.clock.Now().Add(-time.Hour))
	over.closedExpired(t, 0, false)
	soon.closedExpired(t, 0, false)
}
