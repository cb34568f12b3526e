package session

import (
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

// observe takes the observations of a frame, as far as they are new, and answers for those that are not.
func (s *stream) observe(f *api.StreamObserve) {
	space, err := s.checkObserve(f)
	if err != nil {
		s.refuse(f.GetSequence(), err)
		return
	}
	obs := f.GetObservations()
	bytes := proto.Size(f)
	if !s.place(len(obs), bytes) {
		return // the client will send it again
	}
	durable, repeat, fresh, err := s.classify(f.GetSequence(), uint64(len(obs)))
	if err != nil {
		s.mu.Lock()
		s.put(outgoing{frame: refusedFrame(f.GetSequence(), s.order.next, err), n: len(obs), bytes: bytes})
		s.mu.Unlock()
		return
	}
	// The bytes are counted for the last part.
	rest := func(n uint64) int {
		if n > 0 {
			return 0
		}
		return bytes
	}
	if durable.n > 0 {
		s.known(durable, rest(repeat.n+fresh.n), f.GetDeadlineMs())
	}
	for _, p := range []struct {
		part
		repeat bool
		bytes  int
	}{{repeat, true, rest(fresh.n)}, {fresh, false, bytes}} {
		if p.n == 0 {
			continue
		}
		skip := p.first - f.GetSequence()
		s.hand(space, &batch{first: p.first, n: int(p.n), bytes: p.bytes, deadlineMS: f.GetDeadlineMs(), repeat: p.repeat}, obs[skip:skip+p.n])
	}
}

// checkObserve refuses a frame that no session could take, and returns the space of its observations.
func (s *stream) checkObserve(f *api.StreamObserve) (string, *wire.Error) {
	if s.id == "" {
		return "", wire.Errorf(wire.CodeInvalidArgument, "", "the stream has no session yet; send init before the first observation")
	}
	first, obs := f.GetSequence(), f.GetObservations()
	switch {
	case first == 0:
		return "", wire.Errorf(wire.CodeInvalidArgument, "sequence", "the frame has no sequence; sequences begin at 1")
	case len(obs) == 0:
		return "", wire.Errorf(wire.CodeInvalidArgument, "observations", "the request has no observation")
	case first+uint64(len(obs)) < first:
		return "", wire.Errorf(wire.CodeInvalidArgument, "sequence", "the sequence is too large")
	}
	space := f.GetSpace()
	if space == "" {
		space = s.space
	}
	for i, o := range obs {
		sequence := first + uint64(i)
		if space == "" {
			space = o.GetSpace()
		}
		if o.GetSession() != "" && o.GetSession() != s.id || o.GetSequence() != 0 && o.GetSequence() != sequence {
			err := wire.Errorf(wire.CodeInvalidArgument, "sequence", "the observation says session %q and sequence %d, where the stream has %q and %d; leave both out",
				o.GetSession(), o.GetSequence(), s.id, sequence)
			if len(obs) > 1 {
				err = err.At("observations[" + strconv.Itoa(i) + "]")
			}
			return "", err
		}
	}
	named := []string{space}
	for i, o := range obs {
		if o.GetSpace() != space {
			named = append(named, o.GetSpace())
		}
		o.Session, o.Sequence = s.id, first+uint64(i)
	}
	return space, s.m.Allow(s.ctx, named...)
}

// classify tells which sequences are what, once the saved state says that the session takes observations.
func (s *stream) classify(first, n uint64) (durable, repeat, fresh part, refused *wire.Error) {
	for {
		s.mu.Lock()
		switch {
		case s.paused:
			refused = wire.Errorf(wire.CodeConflict, "", "the session is paused; send resume first")
		case s.unsureTooLong():
			s.mu.Unlock()
			err := tooOld(s.id)
			s.end(ending{err: err})
			return part{}, part{}, part{}, err
		case s.saved.exact:
			s.mu.Unlock()
			if err := s.save(s.ctx, false); err != nil {
				return part{}, part{}, part{}, s.unsaved(err)
			}
			continue
		default:
			var ok bool
			if durable, repeat, fresh, ok = s.order.split(first, n); !ok {
				refused = outOfSequence(first, s.order.next)
			}
		}
		s.mu.Unlock()
		return durable, repeat, fresh, refused
	}
}

func outOfSequence(got, expected uint64) *wire.Error {
	return wire.Errorf(wire.CodeOutOfSequence, "sequence", "the session expects sequence %d, and got %d; send again from %d on", expected, got, expected)
}

// hand gives a batch to the core. One that is not the next one any more, since a batch before it has just failed, is
// refused.
func (s *stream) hand(space string, b *batch, obs []*api.Observation) {
	s.mu.Lock()
	if !b.repeat && b.first != s.order.next || b.repeat && b.last() >= s.order.next {
		s.put(outgoing{frame: refusedFrame(b.first, s.order.next, outOfSequence(b.first, s.order.next)), n: b.n, bytes: b.bytes})
		s.mu.Unlock()
		return
	}
	s.order.add(b)
	s.saved.used = s.m.Now()
	s.flight.Add(1)
	s.mu.Unlock()
	s.m.Core.ObserveInOrder(s.ctx, space, &api.ObserveRequest{Observations: obs, DeadlineMs: b.deadlineMS}, b.dead.Load,
		func(resp *api.ObserveResponse, refused *wire.Error) { s.outcome(b, resp.GetResults(), refused) })
}

// outcome takes what became of a batch, and answers for all whose turn it is.
func (s *stream) outcome(b *batch, results []*api.ObserveResult, refused *wire.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order.finish(b, results, refused)
	for b := s.order.pop(); b != nil; b = s.order.pop() {
		switch {
		case b.dead.Load():
			s.settled(outgoing{frame: refusedFrame(b.first, b.expected, outOfSequence(b.first, b.expected)), n: b.n, bytes: b.bytes})
		case b.repeat && b.refused != nil:
			s.settled(outgoing{frame: refusedFrame(b.first, s.order.next, b.refused), n: b.n, bytes: b.bytes})
		case b.repeat:
			s.ack(b, b.n, nil)
		default:
			s.order.settle(b)
			s.ack(b, b.taken, b.failed)
		}
	}
}

// settled is the last word on a batch; mu is held.
func (s *stream) settled(o outgoing) {
	s.put(o)
	s.flight.Done()
}

// ack says that the first observations of a batch are durable, and err why the rest is not; mu is held.
func (s *stream) ack(b *batch, taken int, err *wire.Error) {
	for _, r := range b.results[:taken] {
		if !r.GetDuplicate() {
			s.saved.unsure = false // what the log did not know, nobody has taken before
		}
	}
	waits := s.level == api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE && taken > 0
	refused := outgoing{n: b.n - taken}
	if !waits {
		refused.bytes = b.bytes
	}
	if taken > 0 {
		o := outgoing{frame: ackFrame(b.first, b.results[:taken], api.Acknowledgement_ACKNOWLEDGEMENT_ACCEPTED)}
		if !waits {
			o.n = taken
			if err == nil {
				o.bytes = b.bytes
			}
		}
		s.put(o)
		if s.pressed {
			s.pressed = false
			s.put(outgoing{frame: statusFrame(api.StreamState_STREAM_STATE_READY, 0, s.order.next)})
		}
	}
	if err != nil {
		s.press(err)
		at := b.first + uint64(taken)
		refused.frame = refusedFrame(at, at, err)
		s.put(refused)
	}
	if waits {
		s.await(&batch{first: b.first, n: taken, bytes: b.bytes, deadlineMS: b.deadlineMS, results: b.results[:taken]})
		return
	}
	s.flight.Done()
}

// known answers for observations that were accepted before, without a word to the log: their write ids may be too old for
// it to know them again.
func (s *stream) known(p part, bytes int, deadlineMS uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &batch{first: p.first, n: int(p.n), bytes: bytes, deadlineMS: deadlineMS}
	for i := range p.n {
		b.results = append(b.results, &api.ObserveResult{Duplicate: true, Position: s.order.newest.back(s.order.durable - p.first - i)})
	}
	o := outgoing{frame: ackFrame(b.first, b.results, api.Acknowledgement_ACKNOWLEDGEMENT_ACCEPTED)}
	waits := s.level == api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE
	if !waits {
		o.n, o.bytes = b.n, b.bytes
	}
	s.put(o)
	if waits {
		s.flight.Add(1)
		s.await(b)
	}
}

func ackFrame(first uint64, results []*api.ObserveResult, level api.Acknowledgement) *api.ObserveStreamResponse {
	return &api.ObserveStreamResponse{Frame: &api.ObserveStreamResponse_Ack{
		Ack: &api.StreamAck{Sequence: first, Results: slices.Clip(results), Level: level, At: time.Now().UnixNano()},
	}}
}
