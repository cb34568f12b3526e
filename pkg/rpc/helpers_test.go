package rpc_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/coder/websocket"
	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/api/engram/v1/engramv1connect"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/node"
	"github.com/engram-memory/engram/pkg/wire"
)

// shared is one node for the tests that stop nothing; each has spaces of its own.
var shared *node.Node

func TestMain(m *testing.M) {
	code, err := withNode(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withNode(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "engram-rpc-test")
	if err != nil {
		return 1, err
	}
	defer func() {
		if rerr := os.RemoveAll(dir); err == nil {
			err = rerr
		}
	}()
	cfg := node.DefaultConfig(dir)
	cfg.NATS, cfg.HTTP, cfg.Metrics, cfg.Topology.Shards = "127.0.0.1:0", "127.0.0.1:0", "", 2
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if shared, err = node.Start(ctx, cfg, zerolog.New(os.Stderr).Level(zerolog.ErrorLevel)); err != nil {
		return 1, err
	}
	defer func() {
		if cerr := shared.Close(); err == nil {
			err = cerr
		}
	}()
	return m.Run(), nil
}

// limit is reached only when something is broken.
const limit = 20 * time.Second

func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// h2c returns a client of HTTP/2 without TLS, which is what gRPC needs.
func h2c(t *testing.T) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: protocols}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func ingest(t *testing.T, opts ...connect.ClientOption) engramv1connect.IngestServiceClient {
	return engramv1connect.NewIngestServiceClient(h2c(t), "http://"+shared.HTTPAddr(), opts...)
}

func recalls(t *testing.T, opts ...connect.ClientOption) engramv1connect.RecallServiceClient {
	return engramv1connect.NewRecallServiceClient(h2c(t), "http://"+shared.HTTPAddr(), opts...)
}

// pipe is a client's end of a stream, whatever carries it.
type pipe interface {
	send(*api.ObserveStreamRequest) error
	recv() (*api.ObserveStreamResponse, error)
	// end tells the server that no more is sent.
	end()
	cut()
}

type grpcPipe struct {
	s      *connect.BidiStreamForClient[api.ObserveStreamRequest, api.ObserveStreamResponse]
	cancel context.CancelFunc
}

func (p *grpcPipe) send(f *api.ObserveStreamRequest) error    { return p.s.Send(f) }
func (p *grpcPipe) recv() (*api.ObserveStreamResponse, error) { return p.s.Receive() }
func (p *grpcPipe) end()                                      { _ = p.s.CloseRequest() }
func (p *grpcPipe) cut()                                      { p.cancel() }

type socketPipe struct {
	c      *websocket.Conn
	ctx    context.Context
	cancel context.CancelFunc
	f      wire.Format
}

func (p *socketPipe) send(f *api.ObserveStreamRequest) error {
	body, refused := wire.EncodeFrameRequest(p.f, f)
	if refused != nil {
		return refused
	}
	kind := websocket.MessageText
	if p.f == wire.Protobuf {
		kind = websocket.MessageBinary
	}
	return p.c.Write(p.ctx, kind, body)
}

func (p *socketPipe) recv() (*api.ObserveStreamResponse, error) {
	_, body, err := p.c.Read(p.ctx)
	if err != nil {
		return nil, err
	}
	out, refused := wire.DecodeFrameResponse(p.f, body)
	if refused != nil {
		return nil, refused
	}
	return out, nil
}

func (p *socketPipe) end() { _ = p.c.Close(websocket.StatusNormalClosure, "") }
func (p *socketPipe) cut() { _ = p.c.CloseNow() }

// pipes are the ways to open a stream at an address.
func pipes(t *testing.T) map[string]func(addr string) pipe {
	grpc := func(opts ...connect.ClientOption) func(string) pipe {
		return func(addr string) pipe {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			t.Cleanup(cancel)
			return &grpcPipe{engramv1connect.NewIngestServiceClient(h2c(t), "http://"+addr, opts...).ObserveStream(ctx), cancel}
		}
	}
	socket := func(f wire.Format) func(string) pipe {
		return func(addr string) pipe {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			t.Cleanup(cancel)
			c, _, err := websocket.Dial(ctx, "ws://"+addr+"/v1/stream", nil)
			if err != nil {
				t.Fatal(err)
			}
			c.SetReadLimit(16 << 20)
			t.Cleanup(func() { _ = c.CloseNow() })
			return &socketPipe{c, ctx, cancel, f}
		}
	}
	return map[string]func(string) pipe{
		"gRPC": grpc(connect.WithGRPC()), "Connect": grpc(), "Connect JSON": grpc(connect.WithProtoJSON()),
		"WebSocket JSON": socket(wire.JSON), "WebSocket protobuf": socket(wire.Protobuf),
	}
}

func initFrame(f *api.StreamInit) *api.ObserveStreamRequest {
	return &api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Init{Init: f}}
}

func observeFrame(sequence uint64, obs ...*api.Observation) *api.ObserveStreamRequest {
	return &api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Observe{Observe: &api.StreamObserve{Sequence: sequence, Observations: obs}}}
}

func f32(v ...float32) *api.Embedding {
	return &api.Embedding{Data: event.AppendF32(nil, v), Encoding: api.Encoding_ENCODING_F32}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// next returns the next frame.
func next(t *testing.T, p pipe) *api.ObserveStreamResponse {
	t.Helper()
	out, err := p.recv()
	if err != nil {
		t.Fatalf("no frame came: %v", err)
	}
	return out
}

func open(t *testing.T, p pipe, f *api.StreamInit) *api.StreamOpened {
	t.Helper()
	must(t, p.send(initFrame(f)))
	out := next(t, p)
	if out.GetOpened() == nil {
		t.Fatalf("init was answered with %v", out)
	}
	return out.GetOpened()
}

var spaces atomic.Int64

// unique returns a name that no other test has a space under.
func unique(name string) string { return fmt.Sprintf("%s-%d", name, spaces.Add(1)) }
