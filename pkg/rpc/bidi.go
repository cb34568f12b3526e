package rpc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/session"
	"github.com/engram-memory/engram/pkg/wire"
)

// bidi is a stream of gRPC or Connect as a session has it.
type bidi struct {
	stream  *connect.BidiStream[api.ObserveStreamRequest, api.ObserveStreamResponse]
	control *http.ResponseController
	body    *body
	silent  atomic.Bool // nothing came of a frame for too long
}

func newBidi(ctx context.Context, stream *connect.BidiStream[api.ObserveStreamRequest, api.ObserveStreamResponse]) *bidi {
	b := &bidi{stream: stream, control: controlOf(ctx), body: bodyOf(ctx)}
	b.body.silenced = func() {
		b.silent.Store(true)
		b.readUntil(time.Now())
	}
	return b
}

func (b *bidi) Recv() (*api.ObserveStreamRequest, error) {
	b.body.next()
	in, err := b.stream.Receive()
	b.body.stopped()
	var refused *wire.Error
	switch code := connect.CodeOf(err); {
	case b.body.full:
		return nil, session.Broken{Why: session.TooMuchRead()}
	case b.body.leftOut:
		return nil, session.TooMuchRead()
	case err != nil && b.silent.Load():
		return nil, session.Broken{Why: silentFrame()}
	case err == nil:
		return in, nil
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case errors.As(err, &refused):
		return nil, refused // it was read to its end
	case code == connect.CodeInvalidArgument:
		return nil, session.Broken{Why: wire.Errorf(wire.CodeMalformed, "", "a frame could not be read: %v", err)}
	case code == connect.CodeResourceExhausted:
		return nil, session.Broken{Why: wire.Errorf(wire.CodeTooLarge, "", "a frame has more than %d bytes; send fewer observations in one", maxFrame)}
	}
	return nil, err
}

// silentFrame is why a stream ends whose client has begun a frame and does not go on.
func silentFrame() *wire.Error {
	return wire.Errorf(wire.CodeDeadline, "", "nothing came of a frame for %v after it had begun", frameSilence)
}

func (b *bidi) Send(out *api.ObserveStreamResponse) error { return b.stream.Send(out) }

// Finish ends a Recv that waits; the status is sent when the handler returns.
func (b *bidi) Finish(*wire.Error) { b.readUntil(time.Now()) }

func (b *bidi) Abort() {
	b.readUntil(time.Now())
	_ = b.control.SetWriteDeadline(time.Now()) // where a connection has none, it is gone
}

func (b *bidi) readUntil(t time.Time) {
	_ = b.control.SetReadDeadline(t) // the same
}

// controlKey is the key of the ResponseController in a request's context.
type controlKey struct{}

// controlled lets a handler of Connect end a read of its request's body, which goes on for as long as the session lets it:
// the time that the server gives a body does not count.
func controlled(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Time{}) // where a connection has none, there is none to take away
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), controlKey{}, control)))
	})
}

func controlOf(ctx context.Context) *http.ResponseController {
	c, _ := ctx.Value(controlKey{}).(*http.ResponseController)
	return c
}
