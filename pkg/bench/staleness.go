package bench

import (
	"context"
	"sync"
	"time"

	"github.com/engram-memory/engram/pkg/node"
)

// staleness samples, once a millisecond, the age of the oldest observation that is in the log and not searchable, the
// largest of all shards. It takes the worker's word for what was delivered to it, and for what was not, the producers':
// what was acknowledged to them was in the log by then.
type staleness struct {
	node *node.Node
	ms   []float64

	mu    sync.Mutex
	shard map[int][]acknowledged // in the order of their times
}

// acknowledged is the newest observation of a request, and when its producer knew that it was durable.
type acknowledged struct {
	sequence uint64
	at       time.Time
}

func newStaleness(n *node.Node) *staleness {
	return &staleness{node: n, shard: map[int][]acknowledged{}}
}

// acked is called by the producers.
func (s *staleness) acked(shard int, sequence uint64) {
	s.mu.Lock()
	s.shard[shard] = append(s.shard[shard], acknowledged{sequence, time.Now()})
	s.mu.Unlock()
}

func (s *staleness) run(ctx context.Context) {
	const every = time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		age := float64(s.oldest(now)) / 1e6
		// Where the machine kept the sampler waiting, the samples that it missed were about as bad as this one.
		for ; last.Before(now); last = last.Add(every) {
			s.ms = append(s.ms, age)
		}
	}
}

func (s *staleness) oldest(now time.Time) time.Duration {
	age := s.node.Staleness(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	for shard, waiting := range s.shard {
		applied := s.node.Applied(shard)
		for len(waiting) > 0 && waiting[0].sequence <= applied {
			waiting = waiting[1:]
		}
		s.shard[shard] = waiting
		if len(waiting) > 0 {
			age = max(age, now.Sub(waiting[0].at))
		}
	}
	return age
}
