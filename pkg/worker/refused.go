package worker

import (
	"slices"
	"sync"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

// maxRefused is how many sequences a shard remembers of those that it sent to the quarantine.
const maxRefused = 4096

// refusals remembers the latest events of a shard that went to the quarantine, for those who wait to hear that their
// write is searchable: the watermark passes such an event, too.
type refusals struct {
	mu     sync.Mutex
	latest []*api.Quarantined // a ring
	next   int
}

func (r *refusals) add(sequence uint64, reason *wire.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := &api.Quarantined{Sequence: sequence, Reason: reason.Proto()}
	if len(r.latest) < maxRefused {
		r.latest = append(r.latest, q)
		return
	}
	r.latest[r.next] = q
	r.next = (r.next + 1) % maxRefused
}

// between returns those of the sequences first to last, in order.
func (r *refusals) between(first, last uint64) []*api.Quarantined {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*api.Quarantined
	for _, q := range r.latest {
		if q.GetSequence() >= first && q.GetSequence() <= last {
			found = append(found, q)
		}
	}
	slices.SortFunc(found, func(a, b *api.Quarantined) int {
		if a.GetSequence() < b.GetSequence() {
			return -1
		}
		return 1
	})
	return found
}
