package gateway

import "time"

// commitBegins notes that a batch goes to the log.
func (s *shardState) commitBegins(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate.tally(now)
	s.rate.committing++
}

// commitEnds notes that a batch of n entries is done with; full tells that it is large enough to say something of the log's rate.
func (s *shardState) commitEnds(now time.Time, n int, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.rate
	r.tally(now)
	r.committing--
	r.entries += n
	r.full = r.full || full
	if r.committing > 0 && r.spent < longestSpell {
		return
	}
	if r.full && (!r.cut || r.spent >= longestSpell) {
		rate := float64(r.entries) / max(r.spent.Seconds(), 1e-4)
		if s.commit > 0 {
			rate = s.commit + .2*(rate-s.commit)
		}
		s.commit = rate
	}
	*r = commitRate{committing: r.committing, tallied: r.tallied, cut: r.committing > 0}
}

// commitRate measures what the log takes of both priorities together, since it works off one batch after the other and each
// waits for the other one's: entries by the time in which a batch was under way.
type commitRate struct {
	committing, entries int
	spent               time.Duration // up to tallied
	tallied             time.Time
	full                bool // one of the batches was
	cut                 bool // a batch was under way when the last spell was ended, so that this one has entries of that time: much, if it is short
}

// longestSpell is for how long it is measured where there always is a batch under way.
const longestSpell = 2 * time.Second

func (r *commitRate) tally(now time.Time) {
	if r.committing > 0 {
		r.spent += now.Sub(r.tallied)
	}
	r.tallied = now
}

const (
	// batchTime is how long a commit should take at the most: what comes meanwhile waits for the one that is under way.
	batchTime = 0.05
	// urgentTime is that where something of high priority has come within urgentFor. Smaller batches cost the log and the
	// worker a sixth of what they take.
	urgentTime = 0.035
	urgentFor  = 2 * time.Second
	// leastBatch is what a batch may have however slow the log is: below it the sync would be most of a commit.
	leastBatch = 100
)

// batchSize is how many entries a batch may have, of those that are configured.
func (s *shardState) batchSize(most int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.commit == 0 {
		return most
	}
	seconds := batchTime
	if time.Since(s.urgent) < urgentFor {
		seconds = urgentTime
	}
	return min(most, max(int(s.commit*seconds), leastBatch))
}
