package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/coder/websocket"
	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/api/engram/v1/engramv1connect"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/rpc"
	"github.com/engram-memory/engram/pkg/wire"
)

// holds is how long the short token of TestExpiredToken holds: long enough to open its streams on a slow machine.
const holds = 3 * time.Second

// A stream outlives nothing that it was opened with: over every transport it is ended when the token expires, and its
// session goes on with another token of the same principal.
func TestExpiredToken(t *testing.T) {
	conn, err := shared.Connect("expiry")
	must(t, err)
	defer conn.Close()
	env, _, stop, err := daemon.NewEnv(conn, zerolog.Nop())
	must(t, err)
	env.Alone = true
	in, err := daemon.StartGateway(background(t), daemon.GatewayConfig{Gateway: gateway.DefaultConfig()}, env)
	must(t, err)
	faces, err := daemon.Faces(in)
	if err != nil {
		t.Fatal(err)
	}
	short, long := auth.NewToken(), auth.NewToken()
	end := time.Now().Add(holds)
	file := filepath.Join(t.TempDir(), "principals")
	must(t, os.WriteFile(file, fmt.Appendf(nil, "robot token=%s observe=* expires=%s\nrobot token=%s observe=*\n",
		auth.Hash(short), end.Format(time.RFC3339Nano), auth.Hash(long)), 0o600))
	listeners, err := daemon.NewListeners(daemon.ListenConfig{Auth: auth.Config{File: file}}, zerolog.Nop())
	must(t, err)
	h, err := listeners.HTTP("127.0.0.1:0", faces...)
	must(t, err)
	defer func() {
		must(t, in.Drain(t.Context()))
		_ = h.Close(past())
		must(t, listeners.Close())
		must(t, in.Close())
		must(t, stop())
	}()

	dials := authorized(t, h.Addr())
	space := unique("expiry")
	ending, sessions := map[string]pipe{}, map[string]string{}
	for name, dial := range dials {
		p := dial(short)
		sessions[name] = open(t, p, &api.StreamInit{Space: space}).GetSession()
		must(t, p.send(observeFrame(1, &api.Observation{Embedding: f32(1, 2)})))
		if a := next(t, p).GetAck(); a.GetSequence() != 1 || len(a.GetResults()) != 1 {
			t.Fatalf("%s: %v", name, a)
		}
		ending[name] = p
	}
	for name, p := range ending {
		c := next(t, p).GetClosed()
		if e := c.GetError(); e.GetCode() != string(wire.CodeUnauthenticated) || !strings.Contains(e.GetMessage(), "expired") || !c.GetResumable() || c.GetNext() != 2 {
			t.Errorf("%s: the stream was closed with %v", name, c)
		}
		if early := time.Until(end); early > 0 {
			t.Errorf("%s: the stream was closed %v before the token expired", name, early)
		}
		_, err := p.recv()
		var call *connect.Error
		if code := websocket.CloseStatus(err); code != 4401 && (!errors.As(err, &call) || call.Code() != connect.CodeUnauthenticated) {
			t.Errorf("%s: the connection ended with %v", name, err)
		}
		again := dials[name](long)
		if o := open(t, again, &api.StreamInit{Session: sessions[name], Space: space, Acknowledged: 1}); o.GetNext() != 2 || !o.GetResumed() {
			t.Errorf("%s: with the other token it was opened as %v", name, o)
		}
		must(t, again.send(observeFrame(2, &api.Observation{Embedding: f32(1, 2)})))
		if a := next(t, again).GetAck(); a.GetSequence() != 2 || a.GetResults()[0].GetDuplicate() {
			t.Errorf("%s: %v", name, a)
		}
		again.cut()
	}
}

// authorized are the ways to open a stream with a token.
func authorized(t *testing.T, addr string) map[string]func(token string) pipe {
	ctx := background(t)
	call := func(opts ...connect.ClientOption) func(string) pipe {
		return func(token string) pipe {
			ctx, cancel := context.WithCancel(ctx)
			t.Cleanup(cancel)
			c := h2c(t)
			c.Transport = withToken{c.Transport, token}
			return &grpcPipe{engramv1connect.NewIngestServiceClient(c, "http://"+addr, opts...).ObserveStream(ctx), cancel}
		}
	}
	socket := func(f wire.Format) func(string) pipe {
		return func(token string) pipe {
			c, _, err := websocket.Dial(ctx, "ws://"+addr+rpc.StreamPath, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
			must(t, err)
			t.Cleanup(func() { _ = c.CloseNow() })
			return &socketPipe{c, ctx, func() {}, f}
		}
	}
	return map[string]func(string) pipe{
		"gRPC": call(connect.WithGRPC()), "Connect": call(), "WebSocket JSON": socket(wire.JSON), "WebSocket protobuf": socket(wire.Protobuf),
	}
}
