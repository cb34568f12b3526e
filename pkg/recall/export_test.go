package recall

import "github.com/engram-memory/engram/pkg/bus"

// Crowd takes all places of a service for what it hands on, answers, or has workers do, and returns what leaves them.
func (s *Service) Crowd(kind string) (leave func()) {
	places := map[string]*bus.Places{"forward": s.forwards, "answer": s.answers, "work": s.works}[kind]
	gone := make(chan struct{})
	for places.Go(func() { <-gone }) == nil {
	}
	return func() { close(gone) }
}
