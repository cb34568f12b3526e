package rpc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/session"
	"github.com/engram-memory/engram/pkg/wire"
)

// webSocket serves streams: a frame is a message, JSON in text and protobuf in binary ones, and is answered in kind.
func webSocket(sessions *session.Manager) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return // the library has answered
		}
		conn.SetReadLimit(maxFrame)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		s := &socket{conn: conn, ctx: ctx, held: session.Held{Memory: sessions.Bodies}}
		defer s.held.Release()
		s.format.Store(uint32(wire.JSON))
		_ = sessions.Serve(ctx, s) // the client was told
		_ = conn.CloseNow()        // does nothing where it is closed
	}
}

// socket is a WebSocket as a session has it.
type socket struct {
	conn   *websocket.Conn
	ctx    context.Context
	format atomic.Uint32
	held   session.Held // of the frame that was read last
}

// read returns a message, whose bytes are counted until the next one is asked for. One for which there is no room is read
// over.
func (s *socket) read() (f wire.Format, message []byte, err error) {
	s.held.Release()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	kind, r, err := s.conn.Reader(ctx)
	if err != nil {
		return 0, nil, err
	}
	f = wire.JSON
	if kind == websocket.MessageBinary {
		f = wire.Protobuf
	}
	// A context that ends in a read ends the connection with it.
	silence := time.AfterFunc(frameSilence, cancel)
	defer silence.Stop()
	part := make([]byte, 16<<10)
	for {
		n, err := r.Read(part)
		silence.Reset(frameSilence)
		if !s.held.Grow(n * session.Factor(f)) {
			s.held.Release()
			if _, err := io.Copy(io.Discard, r); err != nil {
				return 0, nil, err
			}
			return 0, nil, session.TooMuchRead()
		}
		message = append(message, part[:n]...)
		if errors.Is(err, io.EOF) {
			return f, message, nil
		}
		if err != nil {
			return 0, nil, err
		}
	}
}

func (s *socket) Recv() (*api.ObserveStreamRequest, error) {
	f, body, err := s.read()
	if errors.Is(err, websocket.ErrMessageTooBig) {
		return nil, session.Broken{Why: wire.Errorf(wire.CodeTooLarge, "", "a frame has more than %d bytes; send fewer observations in one", maxFrame)}
	}
	if err != nil {
		return nil, err
	}
	s.format.Store(uint32(f))
	in, refused := wire.DecodeFrame(f, body)
	if refused != nil {
		return nil, refused
	}
	return in, nil
}

func (s *socket) Send(out *api.ObserveStreamResponse) error {
	f, kind := wire.Format(s.format.Load()), websocket.MessageText
	if f == wire.Protobuf {
		kind = websocket.MessageBinary
	}
	body, refused := wire.EncodeFrame(f, out)
	if refused != nil {
		return refused
	}
	return s.conn.Write(s.ctx, kind, body)
}

// maxReason is the longest reason that a close frame can carry, in bytes.
const maxReason = 123

func (s *socket) Finish(why *wire.Error) {
	code, reason := websocket.StatusNormalClosure, ""
	if why != nil {
		code, reason = websocket.StatusCode(why.Close()), why.Error()
	}
	if len(reason) > maxReason {
		reason = string(why.Code)
	}
	_ = s.conn.Close(code, reason) // a client that is gone does not need it
}

func (s *socket) Abort() { _ = s.conn.CloseNow() }
