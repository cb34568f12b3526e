package gateway

import (
	"errors"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/wire"
)

// shardState is what a gateway knows of one shard's lag: what it has put into the log, what is on its way there, and
// how far the workers say they are.
type shardState struct {
	cfg AdmissionConfig

	mu       sync.Mutex
	last     uint64 // highest stream sequence known
	applied  uint64 // of the most advanced copy that speaks; while none does, the highest that was known
	copies   map[string]copyState
	inFlight int // observations that wait for their commit
	bytes    int // of those
	drain    float64
	active   bool
	heard    time.Time // when a worker last spoke of the shard
	failing  time.Time // since when every write has failed, zero when the latest did not
	failed   error     // of the latest write
	created  int64     // of the stream that these sequences are of, Unix nanoseconds; 0 for unknown
	// capacity is what the workers say they have, 0 for unknown: the smaller of theirs and the configured one counts.
	// reserved is their high_priority_ratio.
	capacity int
	reserved float64
}

// copyState is what a worker last said of its copy.
type copyState struct {
	applied uint64
	heard   time.Time
}

// room is the number of observations that may be outstanding; mu is held.
func (s *shardState) room() float64 {
	if s.capacity > 0 && s.capacity < s.cfg.Capacity {
		return float64(s.capacity)
	}
	return float64(s.cfg.Capacity)
}

// limit is the lag up to which observations of a priority are taken; mu is held. The workers' high_priority_ratio is
// theirs even where activate is above it.
func (s *shardState) limit(high bool) float64 {
	if high {
		return s.room()
	}
	return min(s.cfg.Activate, 1-s.reserved) * s.room()
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
	refused := lag > 0 && lag+float64(n) > s.limit(high) || s.active && !high || s.bytes > 0 && s.bytes+bytes > s.cfg.MaxBytes
	if !refused {
		s.inFlight += n
		s.bytes += bytes
		return nil
	}
	if !s.active && !high {
		s.active = true
	}
	e := wire.Errorf(wire.CodeBackpressure, "", "the shard is %d observations behind, of %d that it may be; send the request again later",
		s.lag(), int(s.room()))
	e.RetryAfter = s.retryAfter()
	return e
}

// turn switches backpressure off once the lag has fallen to the recovery share; mu is held.
func (s *shardState) turn() {
	if s.active && float64(s.lag()) <= s.cfg.Recover*s.room() {
		s.active = false
	}
}

// retryAfter is when the shard will have recovered at the rate it drains now, between 10 ms and 10 s; mu is held.
func (s *shardState) retryAfter() time.Duration {
	excess := float64(s.lag()) - s.cfg.Recover*s.room()
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
	failed := 0
	for _, o := range out {
		s.last = max(s.last, o.Sequence)
		if o.Err != nil && !errors.Is(o.Err, nats.ErrMaxPayload) {
			failed++
			s.failed = o.Err
		}
	}
	switch {
	case failed < len(out):
		s.failing, s.failed = time.Time{}, nil
	case s.failing.IsZero():
		s.failing = time.Now()
	}
}

// failure returns the error of the latest write, if every write has failed for long enough to say so.
func (s *shardState) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing.IsZero() || time.Since(s.failing) < failingFor {
		return nil
	}
	return s.failed
}

// incarnation begins again with another stream of the same name, whose sequences mean something else. A word on an older
// one than is known is refused.
func (s *shardState) incarnation(created int64) (current bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if created > s.created {
		if s.created != 0 {
			s.last, s.applied, s.copies = 0, 0, nil
		}
		s.created = created
	}
	return created == s.created
}

// stream returns the creation time of the stream that the state is about, 0 for unknown.
func (s *shardState) stream() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.created
}

// heartbeat takes a worker's word on its copy into account.
func (s *shardState) heartbeat(worker string, st *api.ShardStatus, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.copies == nil {
		s.copies = map[string]copyState{}
	}
	s.copies[worker] = copyState{applied: st.GetApplied(), heard: now}
	// The most advanced of those that speak: one that has lost its files, or is gone, must not count for what it was.
	s.applied = 0
	for name, c := range s.copies {
		if now.Sub(c.heard) > silence {
			delete(s.copies, name)
			continue
		}
		s.applied = max(s.applied, c.applied)
	}
	s.last = max(s.last, st.GetLastSequence())
	s.capacity = int(st.GetCapacity())
	s.reserved = float64(st.GetHighReserved()) / float64(max(st.GetCapacity(), 1))
	if st.GetDrainRate() > 0 {
		s.drain = st.GetDrainRate()
	}
	s.heard = now
	s.turn()
}

// asked takes the server's word into account: the end of the stream, and the highest ack floor of its consumers, which
// counts only while no worker speaks.
func (s *shardState) asked(floor, last uint64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last, last)
	if now.Sub(s.heard) > silence {
		s.applied = max(s.applied, floor)
	}
	s.turn()
}
