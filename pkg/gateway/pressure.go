package gateway

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// pressures tells the producers of a space that its observations are refused: at the first refusal, several times a second
// while they would be, and once when they are taken again. So those that were not refused yet hold back, too.
type pressures struct {
	mu sync.Mutex
	// told are the living spaces whose producers hold back.
	told map[string]*pressed

	first chan struct{} // one token: a space was refused that was not told
}

// pressed is a space of which observations were refused.
type pressed struct {
	reason wire.Code
	// Until when normal and high observations are to stay away, as the last refusal said.
	normal, high time.Time
}

const (
	// pressureEvery is the time between two broadcasts for the same space, and pressureSoonest the least time between any.
	pressureEvery   = 200 * time.Millisecond
	pressureSoonest = 10 * time.Millisecond
	// maxPressed bounds the spaces that are told.
	maxPressed = 10_000
)

func newPressures() *pressures {
	return &pressures{told: map[string]*pressed{}, first: make(chan struct{}, 1)}
}

// press notes a refusal that is to be retried. Of a space that is not there nobody is told but who was refused: a client can make
// up as many names as it likes, and would take the places of those that others wait for.
func (g *Gateway) press(space string, high bool, e *wire.Error) {
	if g.Registry.Get(space).Living() {
		g.pressures.refused(space, high, e)
	}
}

// refused notes a refusal that is to be retried.
func (p *pressures) refused(space string, high bool, e *wire.Error) {
	until := time.Now().Add(e.RetryAfter)
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.told[space]
	if known == nil {
		if len(p.told) >= maxPressed {
			return // they are refused one by one
		}
		known = new(pressed)
		p.told[space] = known
		select {
		case p.first <- struct{}{}:
		default:
		}
	}
	known.reason = e.Code
	if high {
		known.high = until
	} else {
		known.normal = until
	}
}

// broadcast runs until the gateway is closed.
func (g *Gateway) broadcast() {
	p := g.pressures
	tick := time.NewTicker(pressureEvery)
	defer tick.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-tick.C:
		case <-p.first:
			// Those that are refused at the same moment are told together.
			t := time.NewTimer(pressureSoonest)
			select {
			case <-g.ctx.Done():
				t.Stop()
				return
			case <-t.C:
			}
		}
		for space, m := range g.news(time.Now()) {
			body, err := proto.Marshal(m)
			if err != nil {
				continue // a code is UTF-8
			}
			// One that does not get through is followed by another, or by the refusal of the request.
			_ = g.Conn.Publish(bus.PressureSubject(space), body)
		}
	}
}

// news is what there is to tell, by space. Whoever is told that observations are taken again is forgotten.
func (g *Gateway) news(now time.Time) map[string]*api.Pressure {
	p := g.pressures
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]*api.Pressure, len(p.told))
	for space, known := range p.told {
		m := &api.Pressure{RetryAfterMs: left(known.normal, now), HighRetryAfterMs: left(known.high, now), Reason: string(known.reason)}
		if known.reason == wire.CodeBackpressure {
			// What the shard says now is newer than what the refusal said, but for what was refused for want of memory.
			normal, high := g.shards[event.ShardOf(space, g.Topology.Shards)].pressure()
			if !known.normal.IsZero() {
				m.RetryAfterMs = milliseconds(normal)
			}
			if !known.high.IsZero() {
				m.HighRetryAfterMs = milliseconds(high)
			}
		}
		if m.GetRetryAfterMs() == 0 && m.GetHighRetryAfterMs() == 0 {
			delete(p.told, space)
		}
		out[space] = m
	}
	return out
}

func left(until, now time.Time) uint32 {
	if until.IsZero() || !until.After(now) {
		return 0
	}
	return milliseconds(until.Sub(now))
}

// milliseconds rounds up: 0 would say that there is no pressure.
func milliseconds(d time.Duration) uint32 {
	return uint32((d + time.Millisecond - 1) / time.Millisecond)
}
