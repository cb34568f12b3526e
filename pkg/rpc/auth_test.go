package rpc_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
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

// withToken puts a token into the requests of a client.
type withToken struct {
	next  http.RoundTripper
	token string
}

func (w withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+w.token)
	}
	return w.next.RoundTrip(r)
}

// severalRecall is a recall that names its spaces itself, and the code that it is refused with.
type severalRecall struct {
	req  *api.RecallRequest
	want wire.Code
}

// severalOf returns recalls by who may recall from mine, and from all whose names begin with mine and a hyphen.
func severalOf(mine, theirs string) map[string]severalRecall {
	return map[string]severalRecall{
		"one's own":                    {&api.RecallRequest{Spaces: []string{mine}}, ""},
		"one's own prefix":             {&api.RecallRequest{Prefix: mine + "-"}, wire.CodeUnknownSpace}, // allowed, and there is none
		"somebody else's, too":         {&api.RecallRequest{Spaces: []string{mine, theirs}}, wire.CodeForbidden},
		"one's own and what is not":    {&api.RecallRequest{Spaces: []string{mine, "nowhere"}}, wire.CodeForbidden},
		"a prefix that others have":    {&api.RecallRequest{Prefix: mine[:2]}, wire.CodeForbidden},
		"a space, and somebody else's": {&api.RecallRequest{Space: mine, Spaces: []string{theirs}}, wire.CodeForbidden},
		"a space, and a prefix":        {&api.RecallRequest{Space: mine, Prefix: theirs}, wire.CodeForbidden},
	}
}

// Every method asks for the role in the space that the request names, and so does every frame of a stream; a session is for
// the principal that opened it.
func TestAuthorization(t *testing.T) {
	mine, theirs := unique("mine"), unique("theirs")
	one, other := auth.NewToken(), auth.NewToken()
	text := ""
	for name, token := range map[string]string{"one": one, "other": other} {
		space := map[string]string{"one": mine, "other": theirs}[name]
		grants := map[auth.Role][]string{auth.Observe: {space}, auth.Recall: {space, space + "-*"}, auth.Forget: {space}, auth.Admin: {space}}
		line, err := auth.Line(name, auth.Hash(token), grants, false, time.Time{})
		must(t, err)
		text += line + "\n"
	}
	file := filepath.Join(t.TempDir(), "principals")
	must(t, os.WriteFile(file, []byte(text), 0o600))

	conn, err := shared.Connect("auth")
	must(t, err)
	env, _, stop, err := daemon.NewEnv(conn, zerolog.Nop())
	must(t, err)
	env.Alone = true
	in, err := daemon.StartGateway(background(t), daemon.GatewayConfig{Gateway: gateway.DefaultConfig()}, env)
	must(t, err)
	out, err := daemon.StartRecall(background(t), daemon.RecallConfig{}, env)
	must(t, err)
	listeners, err := daemon.NewListeners(daemon.ListenConfig{Auth: auth.Config{File: file}}, zerolog.Nop())
	must(t, err)
	faces, err := daemon.Faces(in, out)
	if err != nil {
		t.Fatal(err)
	}
	h, err := listeners.HTTP("127.0.0.1:0", faces...)
	must(t, err)
	defer func() {
		must(t, in.Drain(t.Context()))
		_ = h.Close(past())
		must(t, listeners.Close())
		must(t, in.Close())
		must(t, out.Close())
		must(t, stop())
		conn.Close()
	}()

	ctx := background(t)
	client := func(token string) (engramv1connect.IngestServiceClient, engramv1connect.RecallServiceClient) {
		c := h2c(t)
		c.Transport = withToken{c.Transport, token}
		return engramv1connect.NewIngestServiceClient(c, "http://"+h.Addr(), connect.WithGRPC()), engramv1connect.NewRecallServiceClient(c, "http://"+h.Addr(), connect.WithGRPC())
	}
	calls := func(token, space string) map[string]error {
		i, r := client(token)
		o := &api.Observation{Id: "a", Embedding: f32(1, 2)}
		return map[string]error{
			"define":        second(i.Define(ctx, connect.NewRequest(&api.DefineRequest{Space: space, Dimension: ptr(uint32(2))}))),
			"observe":       second(i.Observe(ctx, connect.NewRequest(&api.ObserveRequest{Space: space, Observations: []*api.Observation{o}}))),
			"observe, body": second(i.Observe(ctx, connect.NewRequest(&api.ObserveRequest{Observations: []*api.Observation{{Space: space, Embedding: f32(1, 2)}}}))),
			"forget":        second(i.Forget(ctx, connect.NewRequest(&api.ForgetRequest{Space: space, Ids: []string{"x"}}))),
			"recall":        second(r.Recall(ctx, connect.NewRequest(&api.RecallRequest{Space: space, Embedding: f32(1, 2)}))),
			"get":           second(r.Get(ctx, connect.NewRequest(&api.GetRequest{Space: space, Ids: []string{"a"}}))),
			"list":          second(r.List(ctx, connect.NewRequest(&api.ListRequest{Space: space}))),
			"spaces":        second(r.Spaces(ctx, connect.NewRequest(&api.SpacesRequest{Space: space}))),
			"compact":       second(r.Compact(ctx, connect.NewRequest(&api.CompactRequest{Space: space}))),
			"recall stream": streamError(r.RecallStream(ctx, connect.NewRequest(&api.RecallStreamRequest{Request: &api.RecallRequest{Space: space, Embedding: f32(1, 2)}}))),
		}
	}
	for name, err := range calls(one, mine) {
		if err != nil && rpc.Refusal(err).Code != wire.CodeUnknownSpace { // the calls above are made in no order
			t.Errorf("%s of one's own: %v", name, err)
		}
	}
	for name, err := range calls(one, theirs) {
		if e := rpc.Refusal(err); e.Code != wire.CodeForbidden || connect.CodeOf(err) != connect.CodePermissionDenied {
			t.Errorf("%s of somebody else's: %v", name, err)
		}
	}
	for name, err := range calls("", mine) {
		if connect.CodeOf(err) != connect.CodeUnauthenticated {
			t.Errorf("%s of nobody: %v", name, err)
		}
	}
	_, r := client(one)
	for name, tc := range severalOf(mine, theirs) {
		tc.req.Embedding = f32(1, 2)
		for call, err := range map[string]error{
			"recall":        second(r.Recall(ctx, connect.NewRequest(tc.req))),
			"recall stream": streamError(r.RecallStream(ctx, connect.NewRequest(&api.RecallStreamRequest{Request: tc.req}))),
		} {
			var got wire.Code
			if err != nil {
				got = rpc.Refusal(err).Code
			}
			if got != tc.want {
				t.Errorf("%s of %s: %v, want %q", call, name, err, tc.want)
			}
		}
	}
	_, nobody := client("")
	if _, err := nobody.Recall(ctx, connect.NewRequest(&api.RecallRequest{Spaces: []string{mine}, Embedding: f32(1, 2)})); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("a recall of several spaces by nobody: %v", err)
	}
	all, err := r.Spaces(ctx, connect.NewRequest(&api.SpacesRequest{}))
	must(t, err)
	for _, s := range all.Msg.GetSpaces() {
		if s.GetDefinition().GetName() != mine {
			t.Errorf("the space %s is shown to who has no role in it", s.GetDefinition().GetName())
		}
	}

	streams := map[string]func(token string) pipe{
		"gRPC": func(token string) pipe {
			i, _ := client(token)
			ctx, cancel := context.WithCancel(ctx)
			t.Cleanup(cancel)
			return &grpcPipe{i.ObserveStream(ctx), cancel}
		},
		"WebSocket": func(token string) pipe {
			c, _, err := websocket.Dial(ctx, "ws://"+h.Addr()+rpc.StreamPath, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
			must(t, err)
			return &socketPipe{c, ctx, func() {}, wire.JSON}
		},
	}
	for name, dial := range streams {
		p := dial(one)
		id := open(t, p, &api.StreamInit{Space: mine}).GetSession()
		for _, f := range []*api.StreamObserve{
			{Sequence: 1, Space: theirs, Observations: []*api.Observation{{Embedding: f32(1, 2)}}},
			{Sequence: 1, Observations: []*api.Observation{{Embedding: f32(1, 2), Space: theirs}}},
		} {
			must(t, p.send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Observe{Observe: f}}))
			if r := next(t, p).GetRefused(); r.GetError().GetCode() != string(wire.CodeForbidden) || r.GetExpected() != 1 {
				t.Errorf("%s: a frame for somebody else's space: %v", name, r)
			}
		}
		must(t, p.send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Recall{Recall: &api.StreamRecall{Request: &api.RecallRequest{Space: theirs, Embedding: f32(1, 2)}}}}))
		if r := next(t, p).GetRecalled(); r.GetError().GetCode() != string(wire.CodeForbidden) {
			t.Errorf("%s: a recall of somebody else's space: %v", name, r)
		}
		for of, tc := range severalOf(mine, theirs) {
			tc.req.Embedding = f32(1, 2)
			must(t, p.send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Recall{Recall: &api.StreamRecall{Request: tc.req}}}))
			if r := next(t, p).GetRecalled(); r.GetError().GetCode() != string(tc.want) {
				t.Errorf("%s: a recall of %s: %v, want %q", name, of, r, tc.want)
			}
		}
		must(t, p.send(observeFrame(1, &api.Observation{Embedding: f32(1, 2)})))
		if a := next(t, p).GetAck(); a.GetSequence() != 1 {
			t.Errorf("%s: %v", name, a)
		}
		thief := dial(other)
		must(t, thief.send(initFrame(&api.StreamInit{Session: id})))
		if c := next(t, thief).GetClosed(); c.GetError().GetCode() != string(wire.CodeUnknownSession) {
			t.Errorf("%s: somebody else's session: %v", name, c)
		}
		thief.cut()
		p.cut()
	}
	if _, resp, err := websocket.Dial(ctx, "ws://"+h.Addr()+rpc.StreamPath, nil); err == nil || resp == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a WebSocket of nobody: %v", err)
	}
}
