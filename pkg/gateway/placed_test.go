package gateway

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/metrics"
)

// A copy that does not answer yet must not make the shard look more advanced than those that do, nor hold up forgets.
func TestCopiesThatDoNotAnswerYet(t *testing.T) {
	m, err := metrics.NewGateway(prometheus.NewRegistry(), 1)
	if err != nil {
		t.Fatal(err)
	}
	s := newShardState(DefaultConfig().Admission, m.Shard(0), &budget{limit: 1 << 20, gauge: m.QueueMemory})
	now := time.Now()
	hear := func(worker string, state api.CopyState, applied uint64) {
		s.heartbeat(worker, &api.ShardStatus{Applied: applied, Capacity: 100, State: state}, now)
	}
	expect := func(when string, applied uint64, behind ...string) {
		t.Helper()
		found, living, _ := s.behindCopies(10, now)
		if s.applied != applied || !slices.Equal(found, behind) {
			t.Errorf("%s: applied is %d, want %d; of %d copies %q are behind 10, want %q", when, s.applied, applied, living, found, behind)
		}
	}
	hear("new", api.CopyState_COPY_STATE_CATCHING_UP, 5)
	expect("while nobody answers", 5)
	hear("old", api.CopyState_COPY_STATE_SERVING, 3)
	expect("when one answers that is behind", 3, "old")
	hear("new", api.CopyState_COPY_STATE_CATCHING_UP, 8)
	expect("when the other one has gone on", 3, "old")
	hear("new", api.CopyState_COPY_STATE_JOINING, 9)
	expect("when the other one is about to answer", 3, "new", "old")
	hear("new", api.CopyState_COPY_STATE_SERVING, 9)
	expect("when both answer", 9, "new", "old")
	hear("old", api.CopyState_COPY_STATE_UNSPECIFIED, 12) // of an earlier version, which answers
	expect("when one has it", 12, "new")
	hear("new", api.CopyState_COPY_STATE_OPENING, 0)
	expect("when the other one is opened anew", 12)
}
