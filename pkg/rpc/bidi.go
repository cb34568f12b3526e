package rpc

import (
	"context"
	"errors"
	"io"
	"net/http"
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
}

func (b *bidi) Recv() (*api.ObserveStreamRequest, error) {
	in, err := b.stream.Receive()
	var refused *wire.Error
	switch code := connect.CodeOf(err); {
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
