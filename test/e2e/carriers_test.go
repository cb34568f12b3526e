//go:build e2e

package e2e

import (
	"context"
	"net/http"
	"testing"

	connectrpc "connectrpc.com/connect"
	"github.com/coder/websocket"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/api/engram/v1/engramv1connect"
	"github.com/engram-memory/engram/pkg/wire"
)

// carrier is a client's end of a stream, whatever carries it.
type carrier interface {
	send(*api.ObserveStreamRequest) error
	recv() (*api.ObserveStreamResponse, error)
	// cut ends the connection without a word to the session.
	cut()
}

// carriers are the ways to open a stream of a gateway at an address.
var carriers = map[string]func(ctx context.Context, t *testing.T, address string) carrier{"gRPC": overGRPC, "WebSocket": overWebSocket}

type grpcCarrier struct {
	*connectrpc.BidiStreamForClient[api.ObserveStreamRequest, api.ObserveStreamResponse]
	cancel context.CancelFunc
}

func overGRPC(ctx context.Context, t *testing.T, address string) carrier {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(func() { cancel(); transport.CloseIdleConnections() })
	c := engramv1connect.NewIngestServiceClient(&http.Client{Transport: transport}, "http://"+address, connectrpc.WithGRPC())
	return &grpcCarrier{c.ObserveStream(ctx), cancel}
}

func (c *grpcCarrier) send(f *api.ObserveStreamRequest) error    { return c.Send(f) }
func (c *grpcCarrier) recv() (*api.ObserveStreamResponse, error) { return c.Receive() }
func (c *grpcCarrier) cut()                                      { c.cancel() }

// webSocketCarrier sends and reads frames of JSON.
type webSocketCarrier struct {
	conn *websocket.Conn
	ctx  context.Context
}

func overWebSocket(ctx context.Context, t *testing.T, address string) carrier {
	t.Helper()
	conn, _, err := websocket.Dial(ctx, "ws://"+address+"/v1/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() }) // it says where it was closed before
	return &webSocketCarrier{conn, ctx}
}

func (c *webSocketCarrier) send(f *api.ObserveStreamRequest) error {
	body, refused := wire.EncodeFrameRequest(wire.JSON, f)
	if refused != nil {
		return refused
	}
	return c.conn.Write(c.ctx, websocket.MessageText, body)
}

func (c *webSocketCarrier) recv() (*api.ObserveStreamResponse, error) {
	_, body, err := c.conn.Read(c.ctx)
	if err != nil {
		return nil, err
	}
	out, refused := wire.DecodeFrameResponse(wire.JSON, body)
	if refused != nil {
		return nil, refused
	}
	return out, nil
}

func (c *webSocketCarrier) cut() { _ = c.conn.CloseNow() }
