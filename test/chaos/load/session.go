package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
	"github.com/engram-memory/engram/test/chaos/history"
)

// session is a writer's numbered stream over gRPC, one batch at a time. It goes on with its session on the next gateway when a
// stream ends, and begins another session where the outcome of a batch stays unknown, since nothing else may follow under its
// numbers.
type session struct {
	w       *writer
	gateway int

	id     string // of the session, "" before the first
	acked  uint64 // up to where it is
	stream *connect.BidiStreamForClient[api.ObserveStreamRequest, api.ObserveStreamResponse]
	cancel context.CancelFunc
}

// sent is a batch on its way.
type sent struct {
	batch []history.Write
	first uint64 // sequence of the first
	frame []*api.Observation
	wrote bool // something of it may be in the log without an acknowledgement
}

// observe writes a batch and settles it.
func (s *session) observe(batch []history.Write) {
	b := &sent{batch: batch}
	for i := range batch {
		b.frame = append(b.frame, s.w.l.observation(&batch[i], s.w.random))
	}
	var last error
	for end := time.Now().Add(writeWithin); time.Now().Before(end); {
		err := s.try(b)
		if err == nil {
			return
		}
		last = err
		e := wire.AsError(err)
		switch {
		case e.Code == wire.CodeUnknownSession, e.Code == wire.CodeGone:
			s.forgetSession()
			if b.wrote {
				s.giveUp(b, last)
				return
			}
		case e.Code == wire.CodeOutOfSequence: // what a gateway refused before goes on being refused until it is sent again
		case !passes(e):
			s.giveUp(b, last)
			return
		}
		_ = Pause(context.Background(), min(max(e.RetryAfter, 50*time.Millisecond), time.Second)) // no context ends it
	}
	s.giveUp(b, last)
}

// giveUp settles what has no acknowledgement.
func (s *session) giveUp(b *sent, err error) {
	for i := range b.batch {
		if b.batch[i].Outcome != history.Accepted {
			s.w.settle(&b.batch[i], "observe on a stream", nil, 0, b.wrote, err)
		}
	}
	if b.wrote {
		s.forgetSession()
	}
}

func (s *session) forgetSession() {
	s.end()
	s.id, s.acked = "", 0
}

// end cuts the stream off. The gateway keeps the session.
func (s *session) end() {
	if s.cancel != nil {
		s.cancel()
	}
	s.stream, s.cancel = nil, nil
}

// try opens a stream where there is none, sends what is not acknowledged of a batch, and hears what becomes of it. An error ends
// the stream.
func (s *session) try(b *sent) (err error) {
	defer func() {
		if err != nil {
			s.end()
		}
	}()
	if s.stream == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	limit := time.AfterFunc(writeTry, s.cancel) // an end of the stream is what wakes one that waits for it
	defer limit.Stop()
	if b.first == 0 {
		b.first = s.acked + 1
	}
	done := s.acked + 1 - b.first
	b.wrote = true
	err = s.stream.Send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Observe{Observe: &api.StreamObserve{
		Sequence: s.acked + 1, Observations: b.frame[done:], Space: b.batch[0].Space, DeadlineMs: uint32(writeDeadline.Milliseconds()),
	}}})
	if err != nil {
		return wire.Errorf(wire.CodeUnavailable, "", "sending on the stream: %v", err)
	}
	for s.acked+1 < b.first+uint64(len(b.batch)) {
		out, err := s.stream.Receive()
		if err != nil {
			return wire.Errorf(wire.CodeUnavailable, "", "the stream ended: %v", err)
		}
		if err := s.hear(b, out); err != nil {
			return err
		}
	}
	if !limit.Stop() {
		s.end() // it was cancelled in this moment
	}
	return nil
}

// open opens a stream on the next gateway.
func (s *session) open() error {
	grpc := s.w.l.ways.grpc
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	limit := time.AfterFunc(writeTry, cancel)
	defer limit.Stop()
	s.gateway++
	s.stream = grpc[s.gateway%len(grpc)].ObserveStream(ctx)
	err := s.stream.Send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Init{Init: &api.StreamInit{Session: s.id, Acknowledged: s.acked}}})
	if err != nil {
		return wire.Errorf(wire.CodeUnavailable, "", "opening a stream: %v", err)
	}
	out, err := s.stream.Receive()
	if err != nil {
		return contractError(ctx, err)
	}
	if e := wire.FromProto(out.GetClosed().GetError()); e != nil {
		return e
	}
	o := out.GetOpened()
	if o == nil {
		return wire.Errorf(wire.CodeUnavailable, "", "instead of opening it the gateway says %v", out)
	}
	if o.GetNext() != s.acked+1 {
		return fmt.Errorf("the session %q goes on at %d, and %d was acknowledged", s.id, o.GetNext(), s.acked)
	}
	s.id = o.GetSession()
	return nil
}

// hear takes a frame of the gateway; the error is a refusal of the batch.
func (s *session) hear(b *sent, out *api.ObserveStreamResponse) error {
	switch f := out.GetFrame().(type) {
	case *api.ObserveStreamResponse_Ack:
		for i, r := range f.Ack.GetResults() {
			n := f.Ack.GetSequence() + uint64(i)
			at := n - b.first
			if n != s.acked+1 || at >= uint64(len(b.batch)) {
				return fmt.Errorf("an ack of %d came where %d is next", n, s.acked+1)
			}
			if r.GetPosition() == "" {
				return fmt.Errorf("the ack of %d has no position: %v", n, r.GetError())
			}
			s.w.settle(&b.batch[at], "observe on a stream", []*api.ObserveResult{r}, 0, true, nil)
			s.acked = n
		}
	case *api.ObserveStreamResponse_Refused:
		if f.Refused.GetSequence() > f.Refused.GetExpected() {
			return nil
		}
		e := wire.FromProto(f.Refused.GetError())
		if e == nil {
			return errors.New("a refusal without an error")
		}
		b.wrote = b.wrote && !nothingWritten(e)
		return e
	case *api.ObserveStreamResponse_Closed:
		if e := wire.FromProto(f.Closed.GetError()); e != nil {
			return e
		}
		return wire.Errorf(wire.CodeUnavailable, "", "the gateway closed the stream")
	}
	return nil
}
