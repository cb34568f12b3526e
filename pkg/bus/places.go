package bus

import (
	"sync"
	"time"

	"github.com/engram-memory/engram/pkg/wire"
)

// Places bounds the requests of one kind that a service has a goroutine for. NewPlaces makes them.
type Places struct {
	most    int
	what    string
	mu      sync.Mutex
	open    int
	stopped bool
	running sync.WaitGroup
}

// NewPlaces returns so many places. what names the requests, as in "forgets".
func NewPlaces(most int, what string) *Places { return &Places{most: most, what: what} }

// Go runs f on a goroutine of its own, or returns the refusal of a request for which there is no place.
func (p *Places) Go(f func()) *wire.Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return wire.Errorf(wire.CodeUnavailable, "", "this service is stopping; send the request again")
	}
	if p.open >= p.most {
		refused := wire.Errorf(wire.CodeBackpressure, "", "%d %s wait here already; send the request again later", p.open, p.what)
		refused.RetryAfter = time.Second
		return refused
	}
	p.open++
	p.running.Go(func() {
		defer p.leave()
		f()
	})
	return nil
}

func (p *Places) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
}

// Stop returns once all that run have ended; no other begins. What a subscription had received is handed over after it ends.
func (p *Places) Stop() {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.running.Wait()
}
