package gateway

import (
	"maps"
	"slices"

	"github.com/engram-memory/engram/pkg/bus"
)

// Reading is how many bytes of requests are being read.
func (g *Gateway) Reading() int { return int(g.bodies.used.Load()) }

// Crowd takes all places of a service for forgets or defines, and returns what leaves them.
func (s *Service) Crowd(kind string) (leave func()) {
	places := map[string]*bus.Places{"forget": s.forgets, "define": s.defines}[kind]
	gone := make(chan struct{})
	for places.Go(func() { <-gone }) == nil {
	}
	return func() { close(gone) }
}

// Told returns the spaces whose producers are told of pressure.
func (g *Gateway) Told() []string {
	g.pressures.mu.Lock()
	defer g.pressures.mu.Unlock()
	return slices.Sorted(maps.Keys(g.pressures.told))
}
