package demo

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
)

// samples collects milliseconds. Its zero value is ready.
type samples struct {
	mu     sync.Mutex
	values []float64
}

func (s *samples) add(ms float64) {
	s.mu.Lock()
	s.values = append(s.values, ms)
	s.mu.Unlock()
}

func (s *samples) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.values)
}

// percentile is the smallest sample that at least the share p of all is not above (nearest rank), 0 without any.
func (s *samples) percentile(p float64) float64 {
	s.mu.Lock()
	sorted := slices.Sorted(slices.Values(s.values))
	s.mu.Unlock()
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(p * float64(len(sorted))))
	return round(sorted[max(rank, 1)-1])
}

// round leaves three digits after the point: more is noise.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// heartbeats listens to what workers say of their staleness.
type heartbeats struct {
	sub       *nats.Subscription
	staleness samples
}

// watch begins to listen, until stop.
func watch(nc *nats.Conn) (*heartbeats, error) {
	h := &heartbeats{}
	var err error
	h.sub, err = nc.Subscribe(bus.HeartbeatSubject(bus.Any), func(m *nats.Msg) {
		hb := new(api.Heartbeat)
		if proto.Unmarshal(m.Data, hb) != nil {
			return
		}
		most := 0.0
		for _, s := range hb.GetShards() {
			most = max(most, s.GetStalenessMs())
		}
		h.staleness.add(most)
	})
	if err != nil {
		return nil, fmt.Errorf("listening to heartbeats: %w", err)
	}
	return h, nil
}

// last is the newest staleness heard.
func (h *heartbeats) last() time.Duration {
	h.staleness.mu.Lock()
	defer h.staleness.mu.Unlock()
	if n := len(h.staleness.values); n > 0 {
		return time.Duration(h.staleness.values[n-1] * float64(time.Millisecond))
	}
	return 0
}

func (h *heartbeats) stop() error {
	if err := h.sub.Unsubscribe(); err != nil {
		return fmt.Errorf("ending to listen to heartbeats: %w", err)
	}
	return nil
}
