package rpc_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/coder/websocket"
	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/api/engram/v1/engramv1connect"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/node"
	"github.com/engram-memory/engram/pkg/rpc"
	"github.com/engram-memory/engram/pkg/wire"
)

// narrow starts a node whose gateway has little memory for what it reads.
func narrow(t *testing.T) *node.Node {
	t.Helper()
	cfg := node.DefaultConfig(t.TempDir())
	cfg.NATS, cfg.HTTP, cfg.Metrics, cfg.Topology.Shards = "127.0.0.1:0", "127.0.0.1:0", "", 1
	cfg.Gateway.Admission.MaxMemory = memoryOfNarrow
	n, err := node.Start(background(t), cfg, zerolog.Nop())
	must(t, err)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

const memoryOfNarrow = 32 << 20

// sized returns observations of about so many bytes in all.
func sized(bytes int) []*api.Observation {
	var all []*api.Observation
	for ; bytes > 0; bytes -= 60_000 {
		all = append(all, &api.Observation{Text: strings.Repeat("word ", 12_000), Embedding: f32(1, 2)})
	}
	return all
}

// fill begins frames that never end, as many as there is memory for, and returns what ends them.
func fill(t *testing.T, addr string) (end func()) {
	t.Helper()
	ctx := background(t)
	const each = 1 << 20
	var conns []*websocket.Conn
	for range memoryOfNarrow / (2 * each) {
		c, _, err := websocket.Dial(ctx, "ws://"+addr+"/v1/stream", nil)
		must(t, err)
		conns = append(conns, c)
		w, err := c.Writer(ctx, websocket.MessageBinary)
		must(t, err)
		_, err = w.Write(make([]byte, each))
		must(t, err)
	}
	return func() {
		for _, c := range conns {
			_ = c.CloseNow()
		}
	}
}

// isFull asks until the gateway refuses a body for want of memory.
func isFull(t *testing.T, addr string) {
	t.Helper()
	body := `{"text":"` + strings.Repeat("word ", 10_000) + `"}` + strings.Repeat(" ", 3<<20)
	eventually(t, "the memory is taken", func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/v1/spaces/full/observations", strings.NewReader(body))
		must(t, err)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false // it was cut off in the middle of the body
		}
		said, err := io.ReadAll(resp.Body)
		must(t, errors.Join(err, resp.Body.Close()))
		return resp.StatusCode == http.StatusTooManyRequests && wire.DecodeError(wire.JSON, said).Code == wire.CodeBackpressure
	})
}

// What is read of requests and frames is counted together: where clients that begin frames and do not end them have taken it,
// requests of each protocol, packed or not, and the frames of each kind of stream are refused, and taken once it is free.
func TestMemoryIsShared(t *testing.T) {
	n := narrow(t)
	addr := n.HTTPAddr()
	clients := map[string][]connect.ClientOption{
		"gRPC": {connect.WithGRPC()}, "gRPC-Web": {connect.WithGRPCWeb()}, "Connect": nil, "Connect JSON": {connect.WithProtoJSON()},
		"gRPC packed": {connect.WithGRPC(), connect.WithSendGzip()}, "Connect packed": {connect.WithSendGzip()},
		"Connect JSON packed": {connect.WithProtoJSON(), connect.WithSendGzip()},
	}
	unary := func(opts []connect.ClientOption) *wire.Error {
		c := engramv1connect.NewIngestServiceClient(h2c(t), "http://"+addr, opts...)
		_, err := c.Observe(background(t), connect.NewRequest(&api.ObserveRequest{Space: "unary", Observations: sized(3 << 20)}))
		if err == nil {
			return nil
		}
		return rpc.Refusal(err)
	}
	for name, opts := range clients {
		if refused := unary(opts); refused != nil {
			t.Errorf("%s, with memory left: %v", name, refused)
		}
	}
	ways := pipes(t)
	ways["gRPC packed"] = func(addr string) pipe {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		t.Cleanup(cancel)
		return &grpcPipe{engramv1connect.NewIngestServiceClient(h2c(t), "http://"+addr, connect.WithGRPC(), connect.WithSendGzip()).ObserveStream(ctx), cancel}
	}
	streams := map[string]pipe{}
	for name, dial := range ways {
		streams[name] = dial(addr)
		open(t, streams[name], &api.StreamInit{Space: unique("memory")})
	}

	end := fill(t, addr)
	defer end()
	isFull(t, addr)
	for name, opts := range clients {
		if refused := unary(opts); refused == nil || refused.Code != wire.CodeBackpressure || refused.RetryAfter == 0 {
			t.Errorf("%s, with no memory left: %v", name, refused)
		}
	}
	large := observeFrame(1, sized(1<<20)...)
	for name, p := range streams {
		must(t, p.send(large))
		if s := next(t, p).GetStatus(); s.GetState() != api.StreamState_STREAM_STATE_BACKPRESSURE {
			t.Errorf("%s, with no memory left: status %v", name, s)
		}
		if r := next(t, p).GetRefused(); r.GetError().GetCode() != string(wire.CodeBackpressure) || r.GetExpected() != 1 {
			t.Errorf("%s, with no memory left: refused %v", name, r)
		}
	}

	end()
	for name, p := range streams {
		eventually(t, name+" is taken again", func() bool {
			must(t, p.send(large))
			for {
				switch out := next(t, p); {
				case out.GetAck() != nil:
					return true
				case out.GetRefused() != nil:
					return false
				}
			}
		})
		p.end()
	}
	// What each request took was given back: together they are more than there is.
	for range 4 {
		for name, opts := range clients {
			if refused := unary(opts); refused != nil {
				t.Fatalf("%s, with the memory free: %v", name, refused)
			}
		}
	}
}

// Where a packed message is more than what a request can have, or is not packed, the client is told so.
func TestPackedMessages(t *testing.T) {
	for name, opts := range map[string][]connect.ClientOption{
		"gRPC": {connect.WithGRPC(), connect.WithSendGzip()}, "Connect": {connect.WithSendGzip()},
	} {
		_, err := ingest(t, opts...).Observe(background(t), connect.NewRequest(&api.ObserveRequest{
			Space: unique("packed"), Observations: []*api.Observation{{Text: strings.Repeat("a", 17<<20)}},
		}))
		if connect.CodeOf(err) != connect.CodeResourceExhausted || rpc.Refusal(err).Code != wire.CodeTooLarge {
			t.Errorf("%s: 17 MiB: %v", name, err)
		}
	}
	req, err := http.NewRequestWithContext(background(t), http.MethodPost, "http://"+shared.HTTPAddr()+"/"+rpc.IngestService+"/Observe", strings.NewReader("{}"))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Encoding", "gzip")
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	must(t, resp.Body.Close())
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a body that is not packed, and says that it is: %d", resp.StatusCode)
	}
}

// JSON with more objects than observations could have is refused before anything is made of it.
func TestManyObjects(t *testing.T) {
	body := `{"space":"objects","observations":[` + strings.Repeat("{},", event.MaxBatch*(event.MaxMetadataKeys+8)) + `{}]}`
	req, err := http.NewRequestWithContext(background(t), http.MethodPost, "http://"+shared.HTTPAddr()+"/"+rpc.IngestService+"/Observe", strings.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	said, err := io.ReadAll(resp.Body)
	must(t, errors.Join(err, resp.Body.Close()))
	if !strings.Contains(string(said), "JSON objects") {
		t.Errorf("%d %s", resp.StatusCode, said)
	}
}

// eventually asks every few milliseconds until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !so(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it is still not so that %s", what)
		}
	}
}
