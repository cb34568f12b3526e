package session

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

func ping(tag string) *api.ObserveStreamRequest {
	return &api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Ping{Ping: &api.StreamPing{Tag: tag}}}
}

func recallOf(tag string) *api.ObserveStreamRequest {
	return &api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Recall{
		Recall: &api.StreamRecall{Tag: tag, Request: &api.RecallRequest{Space: "demo"}},
	}}
}

// readOf sends a frame until it is not read any more, and returns how often it was.
func readOf(t *testing.T, p *pipe, f *api.ObserveStreamRequest, most int) int {
	t.Helper()
	for n := range most {
		select {
		case p.in <- f:
		case <-time.After(300 * time.Millisecond):
			return n
		}
	}
	t.Fatalf("%d frames of a client that reads nothing were read", most)
	return 0
}

func TestTags(t *testing.T) {
	f := start(t, newMemory(), newLog(), func(o *Options) {
		o.Recall = func(context.Context, string, *api.RecallRequest) (*api.RecallResponse, *wire.Error) {
			return &api.RecallResponse{}, nil
		}
	})
	p, _ := f.serve(t)
	longest := strings.Repeat("t", event.MaxTag)
	p.send(t, ping(longest))
	if got := p.next(t).GetPong().GetTag(); got != longest {
		t.Errorf("the tag %q came back", got)
	}
	p.send(t, recallOf(longest))
	if got := p.next(t).GetRecalled().GetTag(); got != longest {
		t.Errorf("the tag %q came back", got)
	}
	for _, in := range []*api.ObserveStreamRequest{ping(longest + "t"), recallOf(longest + "t")} {
		p.send(t, in)
		if e := p.next(t).GetRefused().GetError(); e.GetCode() != string(wire.CodeInvalidArgument) || e.GetField() != "tag" {
			t.Errorf("a tag that is too long: %v", e)
		}
	}
}

// Pings are not read on and on while nobody reads their answers, which are counted.
func TestUnreadPongs(t *testing.T) {
	f := start(t, newMemory(), newLog(), nil)
	p, ended := f.serve(t)
	readOf(t, p, ping(strings.Repeat("t", event.MaxTag)), maxQueued+10)
	if got := f.Memory(); got < maxQueued*event.MaxTag || got > maxUnsent {
		t.Errorf("%d bytes are held", got)
	}
	p.Abort()
	<-ended
	if f.Memory() != 0 {
		t.Errorf("%d bytes are left", f.Memory())
	}
}

// shelf is a Memory of so many bytes.
type shelf struct {
	mu        sync.Mutex
	most, has int
}

func (s *shelf) Room(own, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.has <= own || s.has+n <= s.most
}

func (s *shelf) Grow(own, n int) bool {
	if !s.Room(own, n) {
		return false
	}
	s.Force(n)
	return true
}

func (s *shelf) Force(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.has += n
}

func (s *shelf) held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.has
}

func (s *shelf) Give(n int) { s.Force(-n) }

// What streams have yet to send is taken from the memory that they share with requests. Where that is used up, a client that
// does not read its answers is not read much sooner.
func TestUnreadShares(t *testing.T) {
	shared := &shelf{most: 1 << 20}
	f := start(t, newMemory(), newLog(), func(o *Options) { o.Bodies = shared })
	shared.Force(shared.most)
	p, ended := f.serve(t)
	readOf(t, p, ping(strings.Repeat("t", event.MaxTag)), maxQueued)
	shared.Give(shared.most)
	if got := int(f.Memory()); got < fewUnsent || got > 2*fewUnsent || shared.held() != got {
		t.Errorf("%d bytes are held, and %d of what is shared", got, shared.held())
	}
	p.Abort()
	<-ended
	if shared.held() != 0 {
		t.Errorf("%d bytes are left of what is shared", shared.held())
	}
}

// A few answers that are large count as many that are small.
func TestUnreadAnswers(t *testing.T) {
	text := strings.Repeat("a", maxUnsent/4)
	f := start(t, newMemory(), newLog(), func(o *Options) {
		o.Recall = func(context.Context, string, *api.RecallRequest) (*api.RecallResponse, *wire.Error) {
			return &api.RecallResponse{Hits: []*api.Hit{{Text: text}}}, nil
		}
	})
	p, ended := f.serve(t)
	for range 4 {
		p.send(t, recallOf("r"))
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(wait); f.Memory() < maxUnsent; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are held", f.Memory())
		}
	}
	if n := readOf(t, p, ping(""), 10); n > 1 { // one is in the reader's hand
		t.Errorf("%d pings were read", n)
	}
	p.Abort()
	<-ended
	if f.Memory() != 0 {
		t.Errorf("%d bytes are left", f.Memory())
	}
}
