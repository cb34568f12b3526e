package recall_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/node"
	"github.com/engram-memory/engram/pkg/wire"
)

const shards = 2

// timeout is reached only when something is broken.
const timeout = 10 * time.Second

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
	dir, err := os.MkdirTemp("", "engram-recall-test")
	if err != nil {
		return 1, err
	}
	defer func() {
		if rerr := os.RemoveAll(dir); err == nil {
			err = rerr
		}
	}()
	cfg := node.DefaultConfig(dir)
	cfg.NATS, cfg.HTTP, cfg.Metrics, cfg.Topology.Shards = "127.0.0.1:0", "127.0.0.1:0", "", shards
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

func connect(t *testing.T) *bus.Conn {
	t.Helper()
	conn, err := shared.Connect(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func f32(v ...float32) *api.Embedding {
	return &api.Embedding{Data: event.AppendF32(nil, v), Encoding: api.Encoding_ENCODING_F32}
}

// remember observes with an acknowledgement of searchable, and returns the positions.
func remember(t *testing.T, conn *bus.Conn, space string, all ...*api.Observation) []string {
	t.Helper()
	resp, err := client.New(conn.NC).Observe(t.Context(), space, &api.ObserveRequest{
		Observations: all, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE,
	})
	if err != nil {
		t.Fatal(err)
	}
	var positions []string
	for _, r := range resp.GetResults() {
		if r.GetError() != nil {
			t.Fatal(r.GetError())
		}
		positions = append(positions, r.GetPosition())
	}
	return positions
}

// request sends a body over NATS and returns the answer, or the error in it with its status.
func request(t *testing.T, nc *nats.Conn, f wire.Format, subject string, body []byte) ([]byte, *wire.Error, int) {
	t.Helper()
	m, err := nc.RequestMsg(&nats.Msg{Subject: subject, Data: body, Header: nats.Header{bus.HeaderContentType: {f.ContentType()}}}, timeout)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Header.Get(bus.HeaderContentType); got != f.ContentType() {
		t.Fatalf("answered as %q: %q", got, m.Data)
	}
	code := m.Header.Get(micro.ErrorCodeHeader)
	if code == "" {
		return m.Data, nil, 0
	}
	var status int
	if _, err := fmt.Sscan(code, &status); err != nil {
		t.Fatal(err)
	}
	return nil, wire.DecodeError(f, m.Data), status
}

// call sends a request over HTTP and returns its status and its body.
func call(t *testing.T, method, addr, path, contentType, body string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hitIDs returns the ids of hits, in order.
func hitIDs(hits []*api.Hit) string {
	var all []string
	for _, h := range hits {
		all = append(all, h.GetId())
	}
	return strings.Join(all, " ")
}

// spaces counts the names of unique.
var spaces atomic.Int64

// unique returns a name that no other test, and no other run of this one, has a space under.
func unique(name string) string { return fmt.Sprintf("%s-%d", name, spaces.Add(1)) }
