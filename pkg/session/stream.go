package session

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// Conn is what carries one stream. Recv is called by one goroutine, Send by another.
type Conn interface {
	// Recv returns the next frame: io.EOF when the client sends no more, an *wire.Error for a frame that cannot be read
	// where others can follow it, and any other error when the connection is gone.
	Recv() (*api.ObserveStreamRequest, error)
	// Send writes a frame; it blocks while the client does not read.
	Send(*api.ObserveStreamResponse) error
	// Finish ends the connection after the last Send, and with it a Recv that waits. The error is why, nil for nothing.
	Finish(*wire.Error)
	// Abort ends Recv and Send at once. It may be called at any time.
	Abort()
}

// Broken is what a Recv returns for a frame that cannot be read and behind which no other can be.
type Broken struct{ Why *wire.Error }

func (b Broken) Error() string { return b.Why.Error() }

// ending is why a stream ends.
type ending struct {
	err      *wire.Error
	draining bool // the gateway stops
	gone     bool // the session is somebody else's now: its state is not to be saved
	closed   bool // the client has closed the session: its state is to be removed
	lost     bool // the connection is gone
}

// stream is one connection and its session, once that is open.
type stream struct {
	m         *Manager
	ctx       context.Context
	conn      Conn
	principal Principal
	heard     atomic.Int64 // when the last frame came, Unix nanoseconds
	left      chan struct{}
	opening   *time.Timer // ends a stream that sends no init

	// Set by init, before anything else of the session happens.
	id          string
	level       api.Acknowledgement
	space       string
	window      int
	windowBytes int

	flight sync.WaitGroup // what will still put something into out; the reader alone adds to what is zero
	last   sync.WaitGroup // settle

	mu       sync.Mutex
	changed  sync.Cond // out, used or ended has changed
	out      []outgoing
	queued   int  // frames that are not sent yet
	unsent   int  // bytes of them
	flushed  bool // nothing will be added to out
	used     int  // observations that are not acknowledged yet
	held     int  // bytes of them
	ended    *ending
	taking   bool // the reader is at a frame
	settling bool // settle was called
	recalls  int  // that run, or whose answer is not sent
	paused   bool
	pressed  bool
	order    order
	awaiting []*batch
	waits    bool // a goroutine waits for awaiting

	farewell *time.Timer // cuts off a client that does not read the rest

	saving sync.Mutex // held while the state is written
	saved  saved      // guarded by mu
}

// outgoing is a frame to be sent, and the places that are free once it is.
type outgoing struct {
	frame  *api.ObserveStreamResponse
	n      int
	bytes  int
	after  func()
	frames int // that it was merged of
	size   int // bytes of these
}

// initTimeout is how long a stream may be without its init: one that is open and does nothing takes the place of another.
const initTimeout = 10 * time.Second

// maxRecalls is how many recalls of one stream run at once; while so many do, the stream is not read.
const maxRecalls = 8

// Serve runs a stream until it ends, and returns why if that is not what the client asked for. The error was sent as the
// last frame, where the connection lived and the stream was admitted.
func (m *Manager) Serve(ctx context.Context, conn Conn) *wire.Error {
	// What a session has taken is settled after its connection is gone.
	s := &stream{
		m: m, ctx: context.WithoutCancel(ctx), conn: conn, principal: m.Principal(ctx), left: make(chan struct{}),
	}
	s.changed.L = &s.mu
	s.heard.Store(m.Now().UnixNano())
	if err := m.enter(s); err != nil {
		if conn.Send(closedFrame(0, false, err)) == nil {
			conn.Finish(err)
		}
		return err
	}
	defer m.leave(s)
	s.opening = time.AfterFunc(m.opening, func() {
		s.end(ending{err: wire.Errorf(wire.CodeDeadline, "", "there was no init for %v, so the stream was ended", m.opening)})
	})
	defer s.opening.Stop()
	if !s.principal.Expires.IsZero() {
		expiry := time.AfterFunc(s.principal.Expires.Sub(m.Now()), func() { s.end(ending{err: expired()}) })
		defer expiry.Stop()
	}
	var reader sync.WaitGroup
	reader.Go(s.read)
	s.write()
	s.last.Wait()
	s.farewell.Stop()
	conn.Finish(s.ended.err)
	reader.Wait()
	return s.ended.err
}

// read takes frames until the stream ends.
func (s *stream) read() {
	for s.ready() {
		in, err := s.conn.Recv()
		if !s.begin() {
			return // the client will send it again
		}
		s.heard.Store(s.m.Now().UnixNano())
		var unread *wire.Error
		var broken Broken
		switch {
		case err == nil:
			s.take(in)
		case errors.As(err, &broken):
			s.end(ending{err: broken.Why})
		case errors.As(err, &unread):
			s.unread(unread)
		case errors.Is(err, io.EOF):
			s.end(ending{})
		default:
			s.end(ending{lost: true})
		}
		s.done()
	}
}

// unread refuses a frame that was not read. Where there was no memory for it, the stream says that it is under backpressure.
func (s *stream) unread(err *wire.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.press(err)
	s.put(outgoing{frame: refusedFrame(0, s.order.next, err)})
}

// press says once that observations are refused for backpressure; mu is held.
func (s *stream) press(err *wire.Error) {
	if err.Code == wire.CodeBackpressure && !s.pressed {
		s.pressed = true
		s.put(outgoing{frame: statusFrame(api.StreamState_STREAM_STATE_BACKPRESSURE, err.RetryAfter, s.order.next)})
	}
}

// maxQueued and maxUnsent are how many frames, and how many bytes of frames, may wait to be sent before the stream is not
// read any more, and fewUnsent is the latter where the memory of all streams is used up: what they are to be sent is taken
// from it without asking.
const (
	maxQueued = 4096
	maxUnsent = 1 << 20
	fewUnsent = 16 << 10
)

// ready waits while the client does not read what it is sent; false when the stream has ended.
func (s *stream) ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.ended == nil && (s.queued >= maxQueued || s.unsent >= maxUnsent || s.unsent >= fewUnsent && !s.m.Bodies.Room(0, 1)) {
		s.changed.Wait()
	}
	return s.ended == nil
}

// begin and done are around what the reader does with a frame; begin is false when the stream has ended.
func (s *stream) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taking = s.ended == nil
	return s.taking
}

func (s *stream) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taking = false
	s.settleOnce()
}

// end makes the stream take no more; the first reason counts.
func (s *stream) end(why ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return
	}
	s.ended = &why
	if why.draining {
		s.put(outgoing{frame: statusFrame(api.StreamState_STREAM_STATE_DRAINING, 0, s.order.next)})
	}
	s.changed.Broadcast()
	s.settleOnce()
}

// settleOnce begins to settle when the stream has ended and the reader is at no frame any more; mu is held.
func (s *stream) settleOnce() {
	if s.ended == nil || s.taking || s.settling {
		return
	}
	s.settling = true
	s.last.Go(s.settle)
}

// farewell is how long a client may take to read the rest once its stream has ended.
const farewell = 5 * time.Second

// settle lets what is in flight come to its end, saves the state, and sends the last frame.
func (s *stream) settle() {
	s.flight.Wait()
	s.mu.Lock()
	why := *s.ended
	s.mu.Unlock()
	resumable := false
	switch {
	case s.id == "" || why.gone:
	case why.closed:
		s.forget()
	case s.upToDate():
		resumable = true
	default:
		if err := s.save(s.ctx, true); err != nil {
			s.m.Logger.Warn().Err(err).Msg("the state of a session could not be saved; it can be resumed with what was saved before")
		}
		resumable = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(outgoing{frame: closedFrame(s.order.next, resumable, why.err)})
	s.flushed = true
	s.changed.Broadcast()
	s.farewell = time.AfterFunc(farewell, s.conn.Abort)
}

// write sends what is put until nothing more will be. Where that fails the rest is dropped.
func (s *stream) write() {
	lost := false
	for {
		s.mu.Lock()
		for len(s.out) == 0 && !s.flushed {
			s.changed.Wait()
		}
		all, last := s.out, s.flushed
		s.out = nil
		s.mu.Unlock()
		for _, o := range merge(all) {
			if !lost && s.conn.Send(o.frame) != nil {
				lost = true
				s.end(ending{lost: true})
			}
			if o.after != nil {
				o.after()
			}
			s.sent(o)
		}
		if last {
			return
		}
	}
}

// merge makes one ack out of those that follow each other.
func merge(all []outgoing) []outgoing {
	out := all[:0]
	for _, o := range all {
		if len(out) > 0 {
			into := &out[len(out)-1]
			a, b := into.frame.GetAck(), o.frame.GetAck()
			if a != nil && b != nil && a.GetLevel() == b.GetLevel() && a.GetSequence()+uint64(len(a.GetResults())) == b.GetSequence() {
				a.Results = append(a.GetResults(), b.GetResults()...)
				a.At = b.GetAt()
				into.n, into.bytes = into.n+o.n, into.bytes+o.bytes
				into.frames, into.size = into.frames+o.frames, into.size+o.size
				continue
			}
		}
		out = append(out, o)
	}
	return out
}

// put hands a frame to write; mu is held.
func (s *stream) put(o outgoing) {
	o.frames, o.size = 1, proto.Size(o.frame)
	s.out = append(s.out, o)
	s.queued++
	s.unsent += o.size
	s.m.hold(o.size)
	s.m.Bodies.Force(o.size)
	s.changed.Broadcast()
}

func (s *stream) send(o outgoing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(o)
}

// place waits until the window has room for so many observations and bytes, and takes it; false when the stream ended
// before. What is larger than the window is taken while nothing else is there.
func (s *stream) place(n, bytes int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.ended == nil && s.used > 0 && (s.used+n > s.window || s.held+bytes > s.windowBytes) {
		s.changed.Wait()
	}
	if s.ended != nil {
		return false
	}
	s.used += n
	s.held += bytes
	s.m.hold(bytes)
	return true
}

// sent gives back what a frame took.
func (s *stream) sent(o outgoing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queued -= o.frames
	s.unsent -= o.size
	s.used -= o.n
	s.held -= o.bytes
	s.m.hold(-o.bytes - o.size)
	s.m.Bodies.Give(o.size)
	s.changed.Broadcast()
}

// take does what a frame asks for.
func (s *stream) take(in *api.ObserveStreamRequest) {
	switch f := in.GetFrame().(type) {
	case *api.ObserveStreamRequest_Init:
		s.init(f.Init)
	case *api.ObserveStreamRequest_Observe:
		s.observe(f.Observe)
	case *api.ObserveStreamRequest_Recall:
		s.recall(f.Recall)
	case *api.ObserveStreamRequest_Pause:
		s.pause()
	case *api.ObserveStreamRequest_Resume:
		s.resume()
	case *api.ObserveStreamRequest_Close:
		s.end(ending{closed: true})
	case *api.ObserveStreamRequest_Ping:
		s.ping(f.Ping.GetTag())
	default:
		s.refuse(0, wire.Errorf(wire.CodeMalformed, "", "the frame is empty; it holds one of init, observe, recall, pause, resume, close and ping"))
	}
}

func (s *stream) ping(tag string) {
	if err := checkTag(tag); err != nil {
		s.refuse(0, err)
		return
	}
	s.send(outgoing{frame: &api.ObserveStreamResponse{Frame: &api.ObserveStreamResponse_Pong{
		Pong: &api.StreamPong{Tag: tag, At: time.Now().UnixNano()},
	}}})
}

// checkTag refuses a tag that is too long to be sent back.
func checkTag(tag string) *wire.Error {
	if len(tag) > event.MaxTag {
		return wire.Errorf(wire.CodeInvalidArgument, "tag", "tag has %d bytes; it can have up to %d", len(tag), event.MaxTag)
	}
	return nil
}

func (s *stream) pause() {
	s.flight.Wait() // the reader alone adds to it
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = true
	s.put(outgoing{frame: statusFrame(api.StreamState_STREAM_STATE_PAUSED, 0, s.order.next)})
}

func (s *stream) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = false
	s.put(outgoing{frame: statusFrame(api.StreamState_STREAM_STATE_READY, 0, s.order.next)})
}

// recall answers when it has the answer; others may come before it.
func (s *stream) recall(f *api.StreamRecall) {
	if err := checkTag(f.GetTag()); err != nil {
		s.refuse(0, err)
		return
	}
	if !s.recallPlace() {
		return
	}
	s.flight.Go(func() {
		resp, err := s.answer(f.GetRequest())
		out := &api.StreamRecalled{Tag: f.GetTag(), Response: resp, Error: err.Proto()}
		s.send(outgoing{frame: &api.ObserveStreamResponse{Frame: &api.ObserveStreamResponse_Recalled{Recalled: out}}, after: s.recalled})
	})
}

// recallPlace waits until another recall may run; false when the stream ended before. recalled gives the place back.
func (s *stream) recallPlace() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.ended == nil && s.recalls >= maxRecalls {
		s.changed.Wait()
	}
	s.recalls++
	return s.ended == nil
}

func (s *stream) recalled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recalls--
	s.changed.Broadcast()
}

func (s *stream) answer(req *api.RecallRequest) (*api.RecallResponse, *wire.Error) {
	if s.m.Recall == nil {
		return nil, wire.Errorf(wire.CodeUnsupported, "", "this gateway does not answer recalls; send them to a recall API")
	}
	if wire.SeveralSpaces(req) {
		return s.m.Recall(s.ctx, "", req)
	}
	space := req.GetSpace()
	if space == "" {
		space = s.space
	}
	if err := wire.CheckSpace(space); err != nil {
		return nil, err
	}
	return s.m.Recall(s.ctx, space, req)
}

// refuse says that what begins at a sequence was not taken; 0 where the frame says none.
func (s *stream) refuse(sequence uint64, err *wire.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(outgoing{frame: refusedFrame(sequence, s.order.next, err)})
}

func refusedFrame(sequence, expected uint64, err *wire.Error) *api.ObserveStreamResponse {
	return &api.ObserveStreamResponse{Frame: &api.ObserveStreamResponse_Refused{
		Refused: &api.StreamRefused{Sequence: sequence, Expected: expected, Error: err.Proto()},
	}}
}

func statusFrame(state api.StreamState, retryAfter time.Duration, next uint64) *api.ObserveStreamResponse {
	return &api.ObserveStreamResponse{Frame: &api.ObserveStreamResponse_Status{
		Status: &api.StreamStatus{State: state, RetryAfterMs: uint32(retryAfter.Milliseconds()), Next: next},
	}}
}

func closedFrame(next uint64, resumable bool, err *wire.Error) *api.ObserveStreamResponse {
	return &api.ObserveStreamResponse{Frame: &api.ObserveStreamResponse_Closed{
		Closed: &api.StreamClosed{Next: next, Resumable: resumable, Error: err.Proto()},
	}}
}
