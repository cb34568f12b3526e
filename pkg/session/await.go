package session

import (
	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// await hands over a batch whose observations are durable, to be acked once they are searchable; mu is held. One goroutine
// of the stream waits for all that have come together meanwhile.
func (s *stream) await(b *batch) {
	s.awaiting = append(s.awaiting, b)
	if s.waits {
		return
	}
	s.waits = true
	s.flight.Go(s.waitSearchable)
}

func (s *stream) waitSearchable() {
	for {
		s.mu.Lock()
		all := s.awaiting
		s.awaiting = nil
		s.waits = len(all) > 0
		s.mu.Unlock()
		if len(all) == 0 {
			return
		}
		s.searchable(all)
	}
}

// reach is what of a shard a group of batches waits for.
type reach struct {
	first, last uint64
	deadlineMS  uint32
	refused     map[uint64]*api.Error
	late        *wire.Error
}

// searchable waits for the batches and acks them, in order.
func (s *stream) searchable(all []*batch) {
	shards := map[int]*reach{}
	for _, b := range all {
		for _, r := range b.results {
			at, err := event.ParsePosition(r.GetPosition())
			if err != nil {
				continue // one that is not known any more
			}
			to := shards[at.Shard]
			if to == nil {
				to = &reach{first: at.Sequence, deadlineMS: b.deadlineMS}
				shards[at.Shard] = to
			}
			to.first, to.last = min(to.first, at.Sequence), max(to.last, at.Sequence)
			if b.deadlineMS == 0 || to.deadlineMS == 0 {
				to.deadlineMS = 0 // the gateway's own limit is the longest
			} else {
				to.deadlineMS = max(to.deadlineMS, b.deadlineMS)
			}
		}
	}
	for shard, to := range shards {
		to.refused, to.late = s.m.Core.AwaitSearchable(shard, to.first, to.last, to.deadlineMS)
	}
	for _, b := range all {
		results := make([]*api.ObserveResult, len(b.results)) // those of the ack before may be being sent
		for i, r := range b.results {
			results[i] = &api.ObserveResult{Id: r.GetId(), Position: r.GetPosition(), Duplicate: r.GetDuplicate(), Error: r.GetError()}
			at, err := event.ParsePosition(r.GetPosition())
			if err != nil || r.GetError() != nil {
				continue
			}
			switch to := shards[at.Shard]; {
			case to.late != nil:
				results[i].Error = to.late.Proto()
			case to.refused[at.Sequence] != nil:
				results[i].Error = to.refused[at.Sequence]
			default:
				results[i].Searchable = true
			}
		}
		s.mu.Lock()
		s.settled(outgoing{frame: ackFrame(b.first, results, api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE), n: b.n, bytes: b.bytes})
		s.mu.Unlock()
	}
}
