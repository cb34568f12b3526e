package gateway

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/queue"
	"github.com/engram-memory/engram/pkg/wire"
)

// simulated is the admission of one shard of 10,000, and a worker that takes turns between spaces: what is admitted stands in
// the log at once, and becomes searchable when the test says so.
type simulated struct {
	*shardState
	t       *testing.T
	next    uint64
	waiting [2]*queue.Fair[string, uint64]
	done    map[uint64]bool // behind applied
	until   uint64          // applied
}

func newSimulated(t *testing.T) *simulated {
	t.Helper()
	m, err := metrics.NewGateway(metrics.NewRegistry(), 10)
	if err != nil {
		t.Fatal(err)
	}
	s := &simulated{
		shardState: newShardState(DefaultConfig().Admission, m.Shard(0), &budget{limit: 1 << 40, gauge: m.QueueMemory}), t: t, done: map[uint64]bool{},
		waiting: [2]*queue.Fair[string, uint64]{queue.NewFair[string, uint64](32), queue.NewFair[string, uint64](32)},
	}
	s.drain(0)
	return s
}

// drain makes n observations searchable, one in queue.Weight a normal one, and is followed by a heartbeat.
func (s *simulated) drain(n int) {
	for i := range n {
		lane := s.waiting[queue.High]
		if lane.Len() == 0 || i%queue.Weight == 0 && s.waiting[queue.Normal].Len() > 0 {
			lane = s.waiting[queue.Normal]
		}
		if seq, ok := lane.Pop(); ok {
			s.done[seq] = true
		}
	}
	for s.done[s.until+1] {
		s.until++
		delete(s.done, s.until)
	}
	depth := s.waiting[0].Len() + s.waiting[1].Len()
	st := &api.ShardStatus{
		Applied: s.until, Ahead: uint64(len(s.done)), Fetched: s.next, Depth: uint64(depth), DepthHigh: uint64(s.waiting[queue.High].Len()),
		Capacity: 10_000, HighReserved: 1_000, DrainRate: 1_000,
	}
	for _, lane := range s.waiting {
		lane.Each(func(space string, n int) {
			st.Backlogs = append(st.Backlogs, &api.SpaceBacklog{Space: space, Observations: uint64(n)})
		})
	}
	slices.SortFunc(st.Backlogs, func(a, b *api.SpaceBacklog) int { return int(b.GetObservations()) - int(a.GetObservations()) })
	st.WaitingSpaces = uint64(len(st.Backlogs))
	st.Backlogs = st.Backlogs[:min(len(st.Backlogs), 64)]
	s.heartbeat("w", st, time.Now())
}

func (s *simulated) try(space string, n int, high bool) *wire.Error {
	l := load{space: space, n: n, bytes: 100 * n, high: high}
	if err := s.admit(l); err != nil {
		return err
	}
	out := make([]bus.Outcome, n)
	for i := range out {
		s.next++
		out[i].Sequence = s.next
		lane := queue.Normal
		if high {
			lane = queue.High
		}
		s.waiting[lane].Push(space, s.next, 1)
	}
	s.committed(out, l)
	return nil
}

// flood has a space send until it is refused, and returns how much of it was taken.
func (s *simulated) flood(space string, n int, high bool) (taken int) {
	for ; taken < 1_000_000; taken += n {
		if err := s.try(space, n, high); err != nil {
			if err.Code != wire.CodeBackpressure || err.RetryAfter < 10*time.Millisecond || err.RetryAfter > 10*time.Second {
				s.t.Fatalf("refused with %+v", err)
			}
			return taken
		}
	}
	s.t.Fatalf("space %s was never refused", space)
	return taken
}

// Hysteresis: refused from 80 % on and until it has come down to 50 %; the wait is the excess over the drain rate.
func TestActivationAndRecovery(t *testing.T) {
	s := newSimulated(t)
	if n := s.flood("a", 10, false); n != 8_000 {
		t.Errorf("%d were taken, want 8,000", n)
	}
	if err := s.try("a", 1, false); err == nil || err.RetryAfter != 3*time.Second {
		t.Errorf("at 8,000 with a rate of 1,000: %v", err)
	}
	s.drain(2_900)
	if err := s.try("a", 1, false); err == nil || err.RetryAfter != 100*time.Millisecond {
		t.Errorf("at 5,100: %v", err)
	}
	s.drain(100)
	if err := s.try("a", 1, false); err != nil {
		t.Errorf("at 5,000: %v", err)
	}
	if n, state := testutil.ToFloat64(s.metrics.Normal), testutil.ToFloat64(s.metrics.State); n != 1 || state != 0 {
		t.Errorf("%v activations, state %v", n, state)
	}
}

// High observations are taken to the capacity, and the state says so.
func TestHighUpToCapacity(t *testing.T) {
	s := newSimulated(t)
	s.flood("a", 100, false)
	if n := s.flood("b", 100, true); n != 2_000 {
		t.Errorf("%d high ones were taken beside 8,000, want 2,000", n)
	}
	if n, state := testutil.ToFloat64(s.metrics.High), testutil.ToFloat64(s.metrics.State); n != 1 || state != 2 {
		t.Errorf("%v activations of high, state %v", n, state)
	}
	s.drain(1_000)
	if state := testutil.ToFloat64(s.metrics.State); state != 1 {
		t.Errorf("state %v at 9,000", state)
	}
}

// However many spaces flood, and in whatever order they come, one that has little passes by all of them, and they have no
// more than the normal ones' limit together.
func TestQuietSpaceIsNeverRefused(t *testing.T) {
	for _, floods := range []int{1, 2, 5, 50, 300} {
		s := newSimulated(t)
		for round := range 200 {
			for f := range floods {
				s.flood(fmt.Sprint("flood", f), 20, false)
			}
			for q := range 3 {
				if err := s.try(fmt.Sprint("quiet", q), 2, false); err != nil {
					t.Fatalf("%d floods, round %d: %v", floods, round, err)
				}
			}
			if lag := s.lag(); lag > 9_000 {
				t.Fatalf("%d floods: a lag of %d", floods, lag)
			}
			// A heartbeat comes when about a twentieth is searchable.
			s.drain(500)
		}
	}
}

// A flood that comes through other gateways counts by the worker's word.
func TestFloodThroughOtherGateways(t *testing.T) {
	s := newSimulated(t)
	s.heartbeat("w", &api.ShardStatus{
		Capacity: 10_000, HighReserved: 1_000, DrainRate: 1_000, LastSequence: 8_200, Fetched: 8_200, Depth: 8_200,
		Backlogs: []*api.SpaceBacklog{{Space: "flood", Observations: 8_200}}, WaitingSpaces: 1,
	}, time.Now())
	if err := s.try("flood", 1, false); err == nil {
		t.Error("the flood was taken")
	}
	if err := s.try("quiet", 1, false); err != nil {
		t.Error(err)
	}
}

// High floods do not keep normal observations out, nor high ones of another space.
func TestNormalMovesWhileHighFloods(t *testing.T) {
	s := newSimulated(t)
	s.flood("before", 100, false) // its backlog is not the others' fault
	for range 100 {
		s.flood("high", 50, true)
		if err := s.try("normal", 2, false); err != nil {
			t.Fatalf("a normal one of a quiet space: %v", err)
		}
		if err := s.try("other", 1, true); err != nil {
			t.Fatalf("a high one of a quiet space: %v", err)
		}
		s.drain(500)
	}
}

// What is searchable behind applied does not count as lag.
func TestAheadIsNoLag(t *testing.T) {
	s := newSimulated(t)
	s.flood("a", 100, false)
	s.heartbeat("w", &api.ShardStatus{Applied: 1, Ahead: 5_000, Capacity: 10_000, HighReserved: 1_000, DrainRate: 1_000}, time.Now())
	if err := s.try("b", 10, false); err != nil || s.lag() != 3_009 {
		t.Errorf("lag %d, %v", s.lag(), err)
	}
}

// The account comes out even, whatever became of the requests.
func TestSharesComeOutEven(t *testing.T) {
	s := newSimulated(t)
	for i := range 100 {
		l := load{space: fmt.Sprint("s", i%7), n: 3, bytes: 30, high: i%2 == 0}
		if err := s.admit(l); err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 0:
			s.release(l)
		case 1:
			s.committed([]bus.Outcome{{Err: errExpired}, {Sequence: 1, Duplicate: true}, {Err: errExpired}}, l)
		default:
			s.next += 3
			s.committed([]bus.Outcome{{Sequence: s.next - 2}, {Sequence: s.next - 1}, {Sequence: s.next}}, l)
		}
	}
	s.heartbeat("w", &api.ShardStatus{Applied: s.next, Fetched: s.next, Capacity: 10_000}, time.Now())
	if sh := &s.shares; len(sh.spaces) != 0 || sh.high != 0 || len(sh.committed) != 0 || s.inFlight != 0 || s.bytes != 0 || s.memory.used.Load() != 0 {
		t.Errorf("left: %+v, %d in flight with %d bytes", sh, s.inFlight, s.bytes)
	}
}

// What the log would not take in time is refused, but of spaces with little on its way.
func TestSlowLog(t *testing.T) {
	s := newSimulated(t)
	start := time.Now()
	s.commitBegins(start)
	s.commitEnds(start.Add(250*time.Millisecond), 500, true)
	taken := 0
	var err *wire.Error
	for ; err == nil; taken += 100 {
		err = s.admit(load{space: "flood", n: 100, bytes: 100})
	}
	if taken -= 100; taken != 2_000 || err.Code != wire.CodeBackpressure || err.RetryAfter != 500*time.Millisecond {
		t.Errorf("%d on their way to a log of 2,000 a second, then %v", taken, err)
	}
	if err := s.admit(load{space: "quiet", n: 10, bytes: 10}); err != nil {
		t.Error(err)
	}
}

// A batch of one priority that ends behind one of the other that came after it is counted once.
func TestLagOfTwoBatches(t *testing.T) {
	s := newSimulated(t)
	outcomes := func(first, n int) (out []bus.Outcome) {
		for i := range n {
			out = append(out, bus.Outcome{Sequence: uint64(first + i)})
		}
		return out
	}
	normal, high := load{space: "a", n: 50, bytes: 50}, load{space: "b", n: 2, bytes: 2, high: true}
	for range 2 {
		if err := s.admit(normal); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.admit(high); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		first int
		l     load
	}{{101, high}, {1, normal}, {51, normal}} {
		s.committed(outcomes(step.first, step.l.n), step.l)
		if got := s.lag(); got != 102 {
			t.Errorf("behind the commit at %d the lag is %d, not 102", step.first, got)
		}
	}
	if s.early != 0 || s.inFlight != 0 || s.last != 102 {
		t.Errorf("at the end: %d early, %d in flight, last %d", s.early, s.inFlight, s.last)
	}
}

// What the log takes is of the batches of both priorities together, which wait for each other there.
func TestRateOfTheLog(t *testing.T) {
	s := newSimulated(t)
	at := func(ms int) time.Time { return time.Unix(1, 0).Add(time.Duration(ms) * time.Millisecond) }
	s.commitBegins(at(0))
	s.commitBegins(at(0))
	s.commitEnds(at(100), 300, true)
	s.commitEnds(at(200), 100, false)
	if s.commit != 2_000 {
		t.Errorf("400 in 200 ms by two batches make %v a second", s.commit)
	}
	s.commitBegins(at(1_000))
	s.commitEnds(at(1_100), 1, false)
	if s.commit != 2_000 {
		t.Errorf("with a small batch it is %v", s.commit)
	}
	// There always is a batch under way, of 1,000 a second.
	for ms := 2_000; ms < 9_950; ms += 100 {
		s.commitBegins(at(ms))
		if ms > 2_000 {
			s.commitEnds(at(ms+50), 100, true)
		}
	}
	s.commitEnds(at(10_000), 100, true)
	if s.commit > 1_700 || s.commit < 1_000 {
		t.Errorf("where there always is a batch under way it goes from 2,000 to %v", s.commit)
	}
}

// Bytes that wait for the commit are shared, too, and bounded for all shards together.
func TestBytesInFlight(t *testing.T) {
	s := newSimulated(t)
	s.cfg.MaxBytes, s.memory.limit = 10_000, 12_000
	taken := 0
	for s.admit(load{space: "flood", n: 1, bytes: 100}) == nil {
		taken++
	}
	if taken != 50 {
		t.Errorf("a flood got %d bytes of 10,000", 100*taken)
	}
	for range 10 {
		if err := s.admit(load{space: "quiet", n: 1, bytes: 100}); err != nil {
			t.Fatal(err)
		}
	}
	for s.admit(load{space: "high", n: 1, bytes: 100, high: true}) == nil {
		taken++
	}
	if s.bytes != 10_000 {
		t.Errorf("%d bytes are in flight", s.bytes)
	}
	other := newShardState(s.cfg, s.metrics, s.memory)
	for range 20 {
		if err := other.admit(load{space: "x", n: 1, bytes: 100}); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.admit(load{space: "x", n: 1, bytes: 100}); err == nil || err.Code != wire.CodeBackpressure {
		t.Errorf("past the memory of all shards: %v", err)
	}
}
