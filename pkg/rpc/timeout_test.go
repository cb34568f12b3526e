package rpc_test

import (
	"context"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/coder/websocket"
	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/api/engram/v1/engramv1connect"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/rpc"
	"github.com/engram-memory/engram/pkg/wire"
)

// The time that a server gives a body does not count for a stream, which may say nothing for longer.
func TestStreamsGoOnLongerThanABody(t *testing.T) {
	conn, err := shared.Connect("timeout")
	must(t, err)
	env, _, stop, err := daemon.NewEnv(conn, zerolog.Nop())
	must(t, err)
	env.Alone = true
	in, err := daemon.StartGateway(background(t), daemon.GatewayConfig{Gateway: gateway.DefaultConfig()}, env)
	must(t, err)
	const short = 100 * time.Millisecond
	listeners, err := daemon.NewListeners(daemon.ListenConfig{Server: daemon.ServerConfig{ReadTimeout: short}}, zerolog.Nop())
	must(t, err)
	faces, err := daemon.Faces(in)
	must(t, err)
	h, err := listeners.HTTP("127.0.0.1:0", faces...)
	must(t, err)
	defer func() {
		must(t, in.Drain(t.Context()))
		_ = h.Close(past())
		must(t, listeners.Close())
		must(t, in.Close())
		must(t, stop())
		conn.Close()
	}()
	ctx, cancel := context.WithCancel(background(t))
	defer cancel()
	for name, dial := range map[string]func() pipe{
		"gRPC": func() pipe {
			return &grpcPipe{engramv1connect.NewIngestServiceClient(h2c(t), "http://"+h.Addr(), connect.WithGRPC()).ObserveStream(ctx), cancel}
		},
		"Connect": func() pipe {
			return &grpcPipe{engramv1connect.NewIngestServiceClient(h2c(t), "http://"+h.Addr()).ObserveStream(ctx), cancel}
		},
		"WebSocket": func() pipe {
			c, _, err := websocket.Dial(ctx, "ws://"+h.Addr()+rpc.StreamPath, nil)
			must(t, err)
			return &socketPipe{c, ctx, func() {}, wire.JSON}
		},
	} {
		p := dial()
		open(t, p, &api.StreamInit{Space: unique("timeout")})
		quiet := time.NewTimer(3 * short) // longer than a body may take
		<-quiet.C
		must(t, p.send(observeFrame(1, &api.Observation{Embedding: f32(1, 2)})))
		if a := next(t, p).GetAck(); a.GetSequence() != 1 {
			t.Errorf("%s: %v", name, a)
		}
		p.end()
	}
}
