package gateway

import (
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/wire"
)

// shardState is what a gateway knows of one shard's lag: what it has put into the log, what is on its way there, and
// how far the workers say they are.
type shardState struct {
	cfg     AdmissionConfig
	metrics metrics.GatewayShard
	memory  *budget // of what is in flight in all shards

	mu       sync.Mutex
	last     uint64 // highest stream sequence of what this gateway wrote
	heardEnd uint64 // highest that others spoke of; it may be of what is in flight here
	applied  uint64 // of the most advanced copy that speaks; while none does, the highest that was known
	ahead    uint64 // what that copy has searchable behind applied
	copies   map[string]copyState
	moved    chan struct{} // closed when a copy speaks, where somebody waits for that; else nil
	inFlight int           // observations that wait for their commit
	early    int           // of those, how many stand below last, as far as can be told: their batch ends after one that was behind it
	bytes    int           // of those
	shares   shares
	drain    float64
	commit   float64   // entries a second that the log takes in full batches, 0 for unknown
	urgent   time.Time // when something of high priority was admitted last
	rate     commitRate
	active   bool      // normal observations are taken from spaces under their share alone
	full     bool      // high ones were refused, too
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
	applied, ahead uint64
	heard          time.Time
	// answers tells that recalls are answered from it, and finds that they are about to be, too: forgets wait for it.
	answers, finds bool
}

func newShardState(cfg AdmissionConfig, m metrics.GatewayShard, memory *budget) *shardState {
	return &shardState{cfg: cfg, metrics: m, memory: memory, shares: newShares()}
}

// load is what one request asks a shard to take.
type load struct {
	space    string
	n, bytes int
	high     bool
}

// room is the number of observations that may be outstanding; mu is held.
func (s *shardState) room() float64 {
	if s.capacity > 0 && s.capacity < s.cfg.Capacity {
		return float64(s.capacity)
	}
	return float64(s.cfg.Capacity)
}

// floor is the share of capacity beyond it that spaces with little outstanding have for themselves where others fill the shard,
// high observations above all. The worker's queue has as much room.
const floor = 0.05

// normalLimit is the lag up to which normal observations are taken at all, and threshold the one from which on only
// those of spaces under their share are; mu is held. The workers' high_priority_ratio is theirs even where activate is
// above it.
func (s *shardState) normalLimit() float64 { return (1 - s.reserved) * s.room() }
func (s *shardState) threshold() float64   { return min(s.cfg.Activate*s.room(), s.normalLimit()) }

// lag returns last + in flight - applied, less what is searchable behind applied; mu is held. What others wrote since is
// counted where it is more than what is in flight: that may be in the log already, and is not to count twice.
func (s *shardState) lag() uint64 {
	total, done := max(s.last+uint64(s.inFlight-s.early), s.heardEnd), s.applied+s.ahead
	if total <= done {
		return 0
	}
	return total - done
}

// admit takes a request into account, or refuses it. It is taken whole or not at all; one that is larger than the whole
// share is taken when the shard is idle.
func (s *shardState) admit(l load) *wire.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.behind(l); err != nil {
		return err
	}
	if s.bytes > 0 && !s.fitsBytes(l) || !s.memory.Grow(0, l.bytes) {
		e := wire.Errorf(wire.CodeBackpressure, "", "%d bytes wait in this gateway for the commit of their shard; send the request again later", s.bytes)
		e.RetryAfter = commitTime
		return e
	}
	if l.high {
		s.urgent = time.Now()
	}
	s.inFlight += l.n
	s.bytes += l.bytes
	s.shares.add(l)
	return nil
}

// refuses is admit of a request that has not been looked at closely: what is refused anyway is to cost little. It takes nothing
// into account but a refusal.
func (s *shardState) refuses(l load) *wire.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behind(l)
}

// behind refuses what the lag does not allow; mu is held.
func (s *shardState) behind(l load) *wire.Error {
	s.turn()
	lag := float64(s.lag())
	if lag == 0 || l.high && s.admitsHigh(l, lag) || !l.high && s.admitsNormal(l, lag) {
		return s.crowded(l)
	}
	s.refused(l.high)
	e := wire.Errorf(wire.CodeBackpressure, "", "the shard is %d observations behind, of %d that it may be; send the request again later",
		s.lag(), int(s.room()))
	e.RetryAfter = s.retryAfter(l)
	return e
}

const (
	// commitWait is how much may wait for the log, in time: what waits longer would only be late, or past its deadline.
	commitWait = 1.0
	// commitFew is how many entries may always wait.
	commitFew = 1000
)

// crowded refuses what the log would not take in time: once more waits for it than it takes in commitWait, a space may have
// no more on its way than its share of that. High observations have commits of their own, and are few or bounded by the
// capacity; mu is held.
func (s *shardState) crowded(l load) *wire.Error {
	most := max(s.commit*commitWait, commitFew)
	if s.commit == 0 || l.high || float64(s.inFlight+l.n) <= most {
		return nil
	}
	if float64(s.shares.flight(l.space)+l.n) <= most/float64(s.shares.count()+1) {
		return nil
	}
	e := wire.Errorf(wire.CodeBackpressure, "", "%d observations wait for the log of their shard, which takes %.0f a second; send the request again later", s.inFlight, s.commit)
	e.RetryAfter = time.Duration(math.Min(math.Max(float64(s.inFlight)/s.commit/2, .01), 10) * float64(time.Second))
	return e
}

// commitTime is when to come back to a gateway whose memory is full: what fills it is written to the log, which does not
// wait for the workers.
const commitTime = 100 * time.Millisecond

// admitsHigh: up to the capacity; mu is held.
func (s *shardState) admitsHigh(l load, lag float64) bool {
	return lag+float64(l.n) <= s.room() || s.admitsLittle(l, lag)
}

// admitsLittle: into the floor, where a space may have no more than it leaves; mu is held.
func (s *shardState) admitsLittle(l load, lag float64) bool {
	n := float64(l.n)
	return s.shares.of(l.space)+n <= (1+floor)*s.room()-lag-n
}

// admitsNormal: up to the threshold, from where on backpressure is active until the lag has come down to the recovery
// share. While it is, a space may have no more outstanding than its fair share of the threshold, reckoned with one space more
// than there are, and no more than it leaves below the limit: so those that have little pass by those that have much, and
// however many there are, something is left for the next one. Where high observations fill more than what is reserved for
// them, the floor is left, and is shared the same way; mu is held.
func (s *shardState) admitsNormal(l load, lag float64) bool {
	n := float64(l.n)
	if lag+n > s.threshold() {
		s.activate()
	}
	if !s.active {
		return true
	}
	own := s.shares.of(l.space) + n
	if own <= s.threshold()/float64(s.shares.count()+1) && own <= s.normalLimit()-lag-n {
		return true
	}
	return s.shares.outstandingHigh() > s.reserved*s.room() && s.admitsLittle(l, lag)
}

// fitsBytes: above half of what may wait for the commit, a space may have no more than what is left; mu is held.
func (s *shardState) fitsBytes(l load) bool {
	if s.bytes+l.bytes > s.cfg.MaxBytes {
		return false
	}
	return l.high || s.bytes+l.bytes <= s.cfg.MaxBytes/2 || s.shares.bytesOf(l.space)+l.bytes <= s.cfg.MaxBytes-s.bytes-l.bytes
}

func (s *shardState) activate() {
	if !s.active {
		s.active = true
		s.metrics.Normal.Inc()
		s.show()
	}
}

// refused notes that a request was refused; mu is held.
func (s *shardState) refused(high bool) {
	if high && !s.full {
		s.full = true
		s.metrics.High.Inc()
		s.show()
	}
}

// show sets the gauge of the state; mu is held.
func (s *shardState) show() {
	switch {
	case s.full:
		s.metrics.State.Set(2)
	case s.active:
		s.metrics.State.Set(1)
	default:
		s.metrics.State.Set(0)
	}
}

// turn switches backpressure off once the lag has fallen to the recovery share, and says that high observations are taken
// again once it is below what normal ones may use; mu is held.
func (s *shardState) turn() {
	lag := float64(s.lag())
	if s.full && lag <= s.normalLimit() {
		s.full = false
		s.show()
	}
	if s.active && lag <= s.cfg.Recover*s.room() {
		s.active = false
		s.show()
	}
}

// retryAfter is when the shard will take such a request at the rate it drains now, between 10 ms and 10 s; mu is held.
func (s *shardState) retryAfter(l load) time.Duration {
	excess := float64(s.lag()) - s.cfg.Recover*s.room()
	if l.high {
		excess = float64(s.lag()) + float64(l.n) - s.normalLimit()
	}
	if s.drain < 1 {
		return time.Second
	}
	seconds := math.Max(excess, 1) / s.drain
	return time.Duration(math.Min(math.Max(seconds, 0.01), 10) * float64(time.Second))
}

// pressure tells how long observations of normal and of high priority should stay away, 0 where they need not.
func (s *shardState) pressure() (normal, high time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn()
	if s.active {
		normal = s.retryAfter(load{n: 1})
	}
	if s.full {
		high = s.retryAfter(load{n: 1, high: true})
	}
	return normal, high
}

// outstanding is how many observations of a space are between this gateway and searchable.
func (s *shardState) outstanding(space string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.shares.of(space))
}

// take counts entries that are not to be refused, and that are no observations.
func (s *shardState) take(n, bytes int) {
	s.mu.Lock()
	s.inFlight += n
	s.bytes += bytes
	s.memory.Force(bytes)
	s.mu.Unlock()
}

// release gives back what admit or take took for entries that never reached the batcher. A load without a space is what
// take took.
func (s *shardState) release(l load) {
	s.mu.Lock()
	s.inFlight -= l.n
	s.early = min(s.early, s.inFlight)
	s.bytes -= l.bytes
	s.memory.Give(l.bytes)
	s.shares.settle(l, 0, 0)
	s.mu.Unlock()
}

// committed takes the outcomes of admitted entries into account.
func (s *shardState) committed(out []bus.Outcome, l load) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight -= len(out)
	s.bytes -= l.bytes
	s.memory.Give(l.bytes)
	failed, waiting, below := 0, 0, 0
	var last uint64
	for _, o := range out {
		// A duplicate is no more than what it was, unless it is one of what this gateway has just sent and did not hear of: then
		// nothing so new was known.
		if o.Err == nil && (!o.Duplicate || o.Sequence > s.last) {
			waiting++
			last = max(last, o.Sequence)
			if o.Sequence < s.last {
				below++
			}
		}
		if o.Err != nil && !errors.Is(o.Err, nats.ErrMaxPayload) {
			failed++
			s.failed = o.Err
		}
	}
	// What stands between the last that was known and these may be of the other priority's batch, and in flight still.
	s.early -= min(s.early, below)
	if last > s.last {
		s.early += int(last-s.last) - (waiting - below)
		s.last = last
	}
	s.early = min(max(s.early, 0), s.inFlight)
	s.shares.settle(l, waiting, last)
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
			s.last, s.early, s.heardEnd, s.applied, s.ahead, s.copies = 0, 0, 0, 0, 0, nil
			s.shares.restart()
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

// behindCopies returns the names of the copies that answer or are about to and have not applied a sequence, in order, how many
// there are of them, and a channel that is closed when one of them speaks again.
func (s *shardState) behindCopies(sequence uint64, now time.Time) (behind []string, living int, moved <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, c := range s.copies {
		if now.Sub(c.heard) > silence || !c.finds {
			continue
		}
		living++
		if c.applied < sequence {
			behind = append(behind, name)
		}
	}
	slices.Sort(behind)
	if s.moved == nil {
		s.moved = make(chan struct{})
	}
	return behind, living, s.moved
}

// heartbeat takes a worker's word on its copy into account.
func (s *shardState) heartbeat(worker string, st *api.ShardStatus, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.copies == nil {
		s.copies = map[string]copyState{}
	}
	own := copyState{applied: st.GetApplied(), ahead: st.GetAhead(), heard: now}
	switch st.GetState() {
	case api.CopyState_COPY_STATE_OPENING:
		delete(s.copies, worker) // it knows nothing of the log yet
		return
	case api.CopyState_COPY_STATE_CATCHING_UP:
	case api.CopyState_COPY_STATE_JOINING:
		own.finds = true
	default:
		own.answers, own.finds = true, true
	}
	s.copies[worker] = own
	if s.moved != nil {
		close(s.moved)
		s.moved = nil
	}
	// The most advanced of those that speak: one that has lost its files, or is gone, must not count for what it was, and one that
	// does not answer yet counts where none does.
	s.applied, s.ahead = 0, 0
	answered := false
	for name, c := range s.copies {
		switch {
		case now.Sub(c.heard) > silence:
			delete(s.copies, name)
		case answered && !c.answers:
		case c.answers && !answered, c.applied+c.ahead >= s.applied+s.ahead:
			s.applied, s.ahead, answered = c.applied, c.ahead, c.answers
		}
	}
	if own.applied == s.applied {
		s.shares.hear(st)
	}
	s.heardEnd = max(s.heardEnd, st.GetLastSequence())
	if s.inFlight == 0 {
		s.last = max(s.last, s.heardEnd) // what comes next counts on top of it
	}
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
func (s *shardState) asked(acked, last uint64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heardEnd = max(s.heardEnd, last)
	if now.Sub(s.heard) > silence {
		s.applied, s.ahead = max(s.applied, acked), 0
		s.shares.hear(&api.ShardStatus{Applied: s.applied})
	}
	s.turn()
}
