package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	crpc "connectrpc.com/connect"
	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/api/engram/v1/engramv1connect"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/rpc"
	"github.com/engram-memory/engram/pkg/wire"
)

// h2c returns a client of HTTP/2 without TLS.
func h2c(t *testing.T) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: protocols}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func ingestClient(t *testing.T, opts ...crpc.ClientOption) engramv1connect.IngestServiceClient {
	return engramv1connect.NewIngestServiceClient(h2c(t), "http://"+shared.HTTPAddr(), opts...)
}

// onStream is what of a bad input a stream can say: it numbers observations itself, and acknowledges as init says.
func onStream(b bad) (*api.ObserveRequest, bool) {
	req, ok := b.proto.(*api.ObserveRequest)
	if !ok || req.GetIdempotencyKey() != "" || req.GetAcknowledgement() != 0 {
		return nil, false
	}
	for _, o := range req.GetObservations() {
		if o.GetSession() != "" || o.GetSequence() != 0 {
			return nil, false
		}
	}
	return req, true
}

// streamTransports are those of transports with services of gRPC, and with streams: of each, one stream for all bad input,
// whose sequence 1 stays to be taken.
func streamTransports(t *testing.T) map[string]func(bad) (*wire.Error, int, bool) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*requestTimeout)
	t.Cleanup(cancel)
	refusal := func(err error) (*wire.Error, int, bool) {
		var e *crpc.Error
		if !errors.As(err, &e) {
			t.Fatalf("answered with %v", err)
		}
		told := rpc.Refusal(err)
		if uint32(e.Code()) != told.GRPC() || e.Message() == "" {
			t.Errorf("gRPC says %v of %v", e, told)
		}
		return told, told.Status(), true
	}
	unary := func(opts ...crpc.ClientOption) func(bad) (*wire.Error, int, bool) {
		c := ingestClient(t, opts...)
		return func(b bad) (*wire.Error, int, bool) {
			req, ok := b.proto.(*api.ObserveRequest)
			if !ok {
				return nil, 0, false
			}
			req = proto.CloneOf(req)
			req.Space = b.space
			_, err := c.Observe(ctx, crpc.NewRequest(req))
			return refusal(err)
		}
	}
	raw := func(b bad) (*wire.Error, int, bool) {
		body, ok := b.proto.([]byte)
		if !ok {
			return nil, 0, false
		}
		resp, err := http.Post("http://"+shared.HTTPAddr()+engramv1connect.IngestServiceObserveProcedure, "application/proto", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusBadRequest || !bytes.Contains(text, []byte(`"invalid_argument"`)) {
			t.Fatalf("%d %s, %v", resp.StatusCode, text, err)
		}
		return wire.Errorf(wire.CodeMalformed, "", "%s", text), http.StatusBadRequest, true
	}
	refused := func(r *api.StreamRefused) (*wire.Error, int, bool) {
		if r.GetExpected() != 1 || r.GetSequence() > 1 {
			t.Fatalf("refused with %v", r)
		}
		e := wire.FromProto(r.GetError())
		return e, e.Status(), true
	}
	stream := ingestClient(t, crpc.WithGRPC()).ObserveStream(ctx)
	t.Cleanup(func() { _, _ = stream.CloseRequest(), stream.CloseResponse() })
	if err := stream.Send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Init{Init: &api.StreamInit{}}}); err != nil {
		t.Fatal(err)
	}
	if in, err := stream.Receive(); err != nil || in.GetOpened() == nil {
		t.Fatalf("init was answered with %v, %v", in, err)
	}
	return map[string]func(bad) (*wire.Error, int, bool){
		"gRPC": unary(crpc.WithGRPC()), "gRPC-Web": unary(crpc.WithGRPCWeb()), "Connect": unary(), "Connect JSON": unary(crpc.WithProtoJSON()),
		"Connect raw": raw,
		"gRPC stream": func(b bad) (*wire.Error, int, bool) {
			req, ok := onStream(b)
			if !ok {
				return nil, 0, false
			}
			if err := stream.Send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Observe{
				Observe: &api.StreamObserve{Sequence: 1, Space: b.space, Observations: req.GetObservations()},
			}}); err != nil {
				t.Fatal(err)
			}
			in, err := stream.Receive()
			if err != nil {
				t.Fatal(err)
			}
			return refused(in.GetRefused())
		},
		"WebSocket JSON":     socketTransport(ctx, t, wire.JSON, refused),
		"WebSocket protobuf": socketTransport(ctx, t, wire.Protobuf, refused),
	}
}

func socketTransport(ctx context.Context, t *testing.T, f wire.Format, refused func(*api.StreamRefused) (*wire.Error, int, bool)) func(bad) (*wire.Error, int, bool) {
	c, _, err := websocket.Dial(ctx, "ws://"+shared.HTTPAddr()+rpc.StreamPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(1 << 20)
	kind := websocket.MessageText
	if f == wire.Protobuf {
		kind = websocket.MessageBinary
	}
	ask := func(body []byte) *api.ObserveStreamResponse {
		if err := c.Write(ctx, kind, body); err != nil {
			t.Fatal(err)
		}
		_, answer, err := c.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		out, e := wire.DecodeFrameResponse(f, answer)
		if e != nil {
			t.Fatal(e)
		}
		return out
	}
	frame := func(in *api.ObserveStreamRequest) []byte {
		body, e := wire.EncodeFrameRequest(f, in)
		if e != nil {
			t.Fatal(e)
		}
		return body
	}
	if o := ask(frame(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Init{Init: &api.StreamInit{}}})); o.GetOpened() == nil {
		t.Fatalf("init was answered with %v", o)
	}
	return func(b bad) (*wire.Error, int, bool) {
		var body []byte
		switch req, ok := onStream(b); {
		case f == wire.JSON && (b.json == "" || strings.Contains(b.json, `"session"`) || strings.Contains(b.json, `"sequence"`)):
			return nil, 0, false
		case f == wire.JSON:
			body = fmt.Appendf(nil, `{"observe":{"sequence":1,"space":%s,"observations":[%s]}}`, strconv.Quote(b.space), b.json)
		case ok:
			body = frame(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Observe{Observe: &api.StreamObserve{Sequence: 1, Space: b.space, Observations: req.GetObservations()}}})
		default:
			raw, is := b.proto.([]byte)
			if !is {
				return nil, 0, false
			}
			body = raw
		}
		return refused(ask(body).GetRefused())
	}
}

// Good input gets the same answer on every transport, and what is kept is the same.
func TestGoodInput(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*requestTimeout)
	defer cancel()
	conn := connect(t)
	space := unique("good")
	define(t, conn, space, f32(1, 2, 3))
	full := func(id string) *api.Observation {
		return &api.Observation{
			Id: id, Space: space, ObservedAt: 1767366245000000001, Text: "é and 世界", Embedding: f32(0.25, -1, 3e-2), Priority: api.Priority_PRIORITY_HIGH, Importance: 0.75,
			ExpiresAt: 4102444800000000000, Metadata: map[string]*api.Value{
				"s": {Kind: &api.Value_String_{String_: "x"}}, "n": {Kind: &api.Value_Number{Number: 1.5}}, "b": {Kind: &api.Value_Bool{Bool: true}},
			},
		}
	}
	request := func(id string) *api.ObserveRequest {
		return &api.ObserveRequest{Space: space, Observations: []*api.Observation{full(id)}, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE}
	}
	single := func(id string) []byte {
		body, err := json.Marshal(map[string]any{
			"id": id, "observed_at": "2026-01-02T15:04:05.000000001Z", "text": "é and 世界", "embedding": []float32{0.25, -1, 3e-2}, "priority": "high", "importance": 0.75,
			"expires_at": "2100-01-01T00:00:00Z", "metadata": map[string]any{"s": "x", "n": 1.5, "b": true}, "acknowledgement": "searchable",
		})
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	result := func(resp *api.ObserveResponse) *api.ObserveResult {
		if len(resp.GetResults()) != 1 {
			t.Fatalf("answered with %v", resp)
		}
		return resp.GetResults()[0]
	}
	decoded := func(body []byte) *api.ObserveResult {
		out := new(api.ObserveResult)
		if err := protojson.Unmarshal(body, out); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		return out
	}
	unary := func(opts ...crpc.ClientOption) func(string) *api.ObserveResult {
		return func(id string) *api.ObserveResult {
			resp, err := ingestClient(t, opts...).Observe(ctx, crpc.NewRequest(request(id)))
			if err != nil {
				t.Fatal(err)
			}
			return result(resp.Msg)
		}
	}
	ways := map[string]func(string) *api.ObserveResult{
		"NATS protobuf": func(id string) *api.ObserveResult {
			resp, err := newClient(conn).Observe(ctx, space, request(id))
			if err != nil {
				t.Fatal(err)
			}
			return result(resp)
		},
		"NATS JSON": func(id string) *api.ObserveResult {
			m, err := conn.NC.RequestMsg(&nats.Msg{Subject: bus.ObserveSubject(space), Data: single(id)}, requestTimeout)
			if err != nil {
				t.Fatal(err)
			}
			return decoded(m.Data)
		},
		"HTTP JSON": func(id string) *api.ObserveResult {
			_, _, text := post(t, shared.HTTPAddr(), "/v1/spaces/"+space+"/observations", wire.TypeJSON, string(single(id)))
			return decoded([]byte(text))
		},
		"gRPC": unary(crpc.WithGRPC()), "gRPC-Web": unary(crpc.WithGRPCWeb()), "Connect": unary(), "Connect JSON": unary(crpc.WithProtoJSON()),
		"WebSocket": func(id string) *api.ObserveResult {
			c, _, err := websocket.Dial(ctx, "ws://"+shared.HTTPAddr()+rpc.StreamPath, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.CloseNow() }()
			one := bytes.Replace(single(id), []byte(`"acknowledgement":"searchable",`), nil, 1)
			for _, body := range []string{`{"init":{"acknowledgement":"searchable"}}`, fmt.Sprintf(`{"observe":{"sequence":1,"space":%q,"observations":[%s]}}`, space, one)} {
				if err := c.Write(ctx, websocket.MessageText, []byte(body)); err != nil {
					t.Fatal(err)
				}
			}
			for {
				_, body, err := c.Read(ctx)
				if err != nil {
					t.Fatal(err)
				}
				out, e := wire.DecodeFrameResponse(wire.JSON, body)
				if e != nil || out.GetRefused() != nil {
					t.Fatalf("%v %s", e, body)
				}
				if a := out.GetAck(); a.GetLevel() == api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE {
					return a.GetResults()[0]
				}
			}
		},
	}
	for way, send := range ways {
		id := "by " + way
		r := send(id)
		if r.GetId() != id || r.GetPosition() == "" || r.GetDuplicate() || !r.GetSearchable() || r.GetError() != nil {
			t.Errorf("%s: answered with %v", way, r)
			continue
		}
		got, err := newClient(conn).Get(ctx, space, &api.GetRequest{Ids: []string{id}, Include: []string{"text", "metadata", "embedding"}})
		if err != nil || len(got.GetObservations()) != 1 {
			t.Fatalf("%s: %v, %v", way, got, err)
		}
		h, o := got.GetObservations()[0], full(id)
		kept := &api.Observation{
			Id: h.GetId(), Space: space, ObservedAt: h.GetObservedAt(), Text: h.GetText(), Embedding: h.GetEmbedding(), Metadata: h.GetMetadata(), Priority: h.GetPriority(),
			Importance: h.GetImportance(), ExpiresAt: h.GetExpiresAt(),
		}
		if !proto.Equal(kept, o) || h.GetPosition() != r.GetPosition() {
			t.Errorf("%s: kept %v\nsent %v", way, kept, o)
		}
	}
}
