package vecstore

import (
	"sync"
	"time"
)

// moments remembers how far the row log was at which time, once a second, so that it is known which versions are older
// than what is kept. After an open nothing is known, and everything counts as new.
type moments struct {
	mu   sync.Mutex
	seen []moment
}

type moment struct {
	at       time.Time
	sequence uint64
}

// note remembers where the log is now.
func (m *moments) note(sequence uint64, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.seen); n > 0 && now.Sub(m.seen[n-1].at) < time.Second {
		return
	}
	m.seen = append(m.seen, moment{now, sequence})
}

// before returns the highest sequence that is known to have been in the log at a time, 0 when none is, and lets go of
// what was known of earlier times.
func (m *moments) before(at time.Time) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for n < len(m.seen) && !m.seen[n].at.After(at) {
		n++
	}
	if n == 0 {
		return 0
	}
	sequence := m.seen[n-1].sequence
	m.seen = m.seen[n-1:]
	return sequence
}
