package worker

import (
	"sync"
	"time"
)

const (
	// pullHeartbeat is how often a server that has nothing to deliver says so. Twice that without a word is silence.
	pullHeartbeat = time.Second
	// longSilence is when the consumer is taken for gone. A server that is busy with its disk for seconds is not.
	longSilence = 10 * time.Second
)

// silence says for how long the server of a log has said nothing, though the connection stands: the server that leads the log or
// its consumer may have been cut off from the one that this worker is connected to. What was written meanwhile is not known
// here, so the time counts as staleness.
type silence struct {
	mu     sync.Mutex
	since  time.Time // zero while the server speaks
	last   time.Time // when it last was missed
	broken bool      // the log is not followed: it lasts until it is
}

// missed notes that the server has not said a word for twice the heartbeat. It returns how long that is going on.
func (s *silence) missed(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lasts(now) {
		s.since = now.Add(-2 * pullHeartbeat)
	}
	s.last = now
	return now.Sub(s.since)
}

// broke notes that the log is not followed any more.
func (s *silence) broke(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lasts(now) {
		s.since = now
	}
	s.broken = true
}

// over notes that the log is followed again, and where it ends is known.
func (s *silence) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since, s.broken = time.Time{}, false
}

// age is how long it lasts, 0 where it does not.
func (s *silence) age(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lasts(now) {
		return 0
	}
	return now.Sub(s.since)
}

// lasts is true until the log is followed again, and otherwise for as long as the server goes on being missed: a heartbeat is not
// told of. mu is held.
func (s *silence) lasts(now time.Time) bool {
	return !s.since.IsZero() && (s.broken || now.Sub(s.last) < 3*pullHeartbeat)
}
