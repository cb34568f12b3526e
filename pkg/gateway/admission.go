package gateway

import (
	"math"
	"sync"
	"time"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/wire"
)

// shardState is what a gateway knows of one shard's lag: what it has put into the log, what is on its way there, and
// how far the workers say they are.
type shardState struct {
	cfg AdmissionConfig

	mu       sync.Mutex
	last     uint64 // highest stream sequence known
	applied  uint64 // of the most advanced copy
	inFlight int    // observations that wait for their commit
	bytes    int    // of those
	drain    float64
	active   bool
	heard    time.Time // when a worker last spoke of the shard
	created  int64     // of the stream that these sequences are of, Unix nanoseconds; 0 for unknown
	// activations counts how often backpressure began.
	activations uint64
}

// lag returns last + in flight - applied; mu is held.
func (s *shardState) lag() uint64 {
	total := s.last + uint64(s.inFlight)
	if total <= s.applied {
		return 0
	}
	return total - s.applied
}

// admit takes n observations into account, or refuses them. A request is taken whole or not at all; one that is larger
// than the whole share is taken when the shard is idle.
func (s *shardState) admit(n, bytes int, high bool) *wire.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn()
	lag := float64(s.lag())
	limit := s.cfg.Activate * float64(s.cfg.Capacity)
	if high {
		limit = float64(s.cfg.Capacity)
	}
	refused := lag > 0 && lag+float64(n) > limit || s.active && !high || s.bytes > 0 && s.bytes+bytes > s.cfg.MaxBytes
	if !refused {
		s.inFlight += n
		s.bytes += bytes
		return nil
	}
	if !s.active && !high {
		s.active = true
		s.activations++
	}
	e := wire.Errorf(wire.CodeBackpressure, "", "the shard is %d observations behind, of %d that it may be; send the request again later",
		s.lag(), s.cfg.Capacity)
	e.RetryAfter = s.retryAfter()
	return e
}

// turn switches backpressure off once the lag has fallen to the recovery share; mu is held.
func (s *shardState) turn() {
	if s.active && float64(s.lag()) <= s.cfg.Recover*float64(s.cfg.Capacity) {
		s.active = false
	}
}

// retryAfter is when the shard will have recovered at the rate it drains now, between 10 ms and 10 s; mu is held.
func (s *shardState) retryAfter() time.Duration {
	excess := float64(s.lag()) - s.cfg.Recover*float64(s.cfg.Capacity)
	if s.drain < 1 {
		return time.Second
	}
	seconds := math.Max(excess, 1) / s.drain
	return time.Duration(math.Min(math.Max(seconds, 0.01), 10) * float64(time.Second))
}

// take counts n entries that are not to be refused.
func (s *shardState) take(n, bytes int) {
	s.mu.Lock()
	s.inFlight += n
	s.bytes += bytes
	s.mu.Unlock()
}

// release gives back what admit took for entries that never reached the batcher.
func (s *shardState) release(n, bytes int) {
	s.mu.Lock()
	s.inFlight -= n
	s.bytes -= bytes
	s.mu.Unlock()
}

// committed takes the outcomes of admitted entries into account.
func (s *shardState) committed(out []bus.Outcome, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight -= len(out)
	s.bytes -= bytes
	for _, o := range out {
		s.last = max(s.last, o.Sequence)
	}
}

// incarnation begins again with another stream of the same name, whose sequences mean something else. A word on an older
// one than is known is refused.
func (s *shardState) incarnation(created int64) (current bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if created > s.created {
		if s.created != 0 {
			s.last, s.applied = 0, 0
		}
		s.created = created
	}
	return created == s.created
}

// progress takes a worker's or the server's word into account; last and drain may be 0 for unknown.
func (s *shardState) progress(applied, last uint64, drain float64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied = max(s.applied, applied)
	s.last = max(s.last, last)
	if drain > 0 {
		s.drain = drain
	}
	s.heard = now
	s.turn()
}
