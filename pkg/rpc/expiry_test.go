package rpc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
const holds = 4 * time.Second

// A stream outlives nothing that it was opened with: over every transport it is ended when the token expires, and its
// session goes on with another token of the same principal. NDJSON that goes on is refused from then on.
func TestExpiredToken(t *testing.T) {
	short, long := auth.NewToken(), auth.NewToken()
	var end time.Time
	addr := startGuarded(t, func() string {
		end = time.Now().Add(holds)
		return fmt.Sprintf("robot token=%s observe=* expires=%s\nrobot token=%s observe=*\n", auth.Hash(short), end.Format(time.RFC3339Nano), auth.Hash(long))
	})

	dials := authorized(t, addr)
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
	lines := openLines(t, addr, short, space)
	if l := lines.answer(t); l.Error.Code != "" || l.Position == "" {
		t.Errorf("a line while the token holds: %+v", l)
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
	must(t, lines.send())
	if l := lines.answer(t); l.Error.Code != string(wire.CodeUnauthenticated) || l.Position != "" {
		t.Errorf("a line when the token has expired: %+v", l)
	}
}

// startGuarded starts a gateway beside the shared node that goes by a file of principals, which is made once it runs, and returns its
// address.
func startGuarded(t *testing.T, principals func() string) string {
	t.Helper()
	conn, err := shared.Connect(t.Name())
	must(t, err)
	env, _, stop, err := daemon.NewEnv(conn, zerolog.Nop())
	must(t, err)
	env.Alone = true
	in, err := daemon.StartGateway(background(t), daemon.GatewayConfig{Gateway: gateway.DefaultConfig()}, env)
	must(t, err)
	faces, err := daemon.Faces(in)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "principals")
	must(t, os.WriteFile(file, []byte(principals()), 0o600))
	listeners, err := daemon.NewListeners(daemon.ListenConfig{Auth: auth.Config{File: file}}, zerolog.Nop())
	must(t, err)
	h, err := listeners.HTTP("127.0.0.1:0", faces...)
	must(t, err)
	t.Cleanup(func() {
		must(t, in.Drain(context.Background()))
		_ = h.Close(past()) // it says that it had to cut them
		must(t, listeners.Close())
		must(t, in.Close())
		must(t, stop())
		conn.Close()
	})
	return h.Addr()
}

// upload is a request with NDJSON that is sent line by line.
type upload struct {
	in      io.Writer
	answers *json.Decoder
}

// lineAnswer is what comes back for a line, as far as it is read here.
type lineAnswer struct {
	Position string
	Error    struct{ Code string }
}

// openLines begins one in a space, and sends its first line: the headers of the answer come with the first answer.
func openLines(t *testing.T, addr, token, space string) *upload {
	t.Helper()
	body, in := io.Pipe()
	r, err := http.NewRequestWithContext(background(t), http.MethodPost, "http://"+addr+"/v1/spaces/"+space+"/observations", body)
	must(t, err)
	r.Header.Set("Content-Type", wire.TypeNDJSON)
	wrote := make(chan error, 1)
	u := &upload{in: in}
	go func() { wrote <- u.send() }()
	resp, err := withToken{h2c(t).Transport, token}.RoundTrip(r)
	must(t, err)
	t.Cleanup(func() {
		_ = in.Close()
		_ = resp.Body.Close()
	})
	must(t, <-wrote)
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	u.answers = json.NewDecoder(resp.Body)
	return u
}

func (u *upload) send() error {
	_, err := io.WriteString(u.in, `{"embedding":[1,2]}`+"\n")
	return err
}

func (u *upload) answer(t *testing.T) (l lineAnswer) {
	t.Helper()
	must(t, u.answers.Decode(&l))
	return l
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
