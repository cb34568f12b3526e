package recall_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/wire"
	"github.com/engram-memory/engram/pkg/worker"
)

// withoutWorker serves recall, with a gateway and without a worker, on a server of its own.
func withoutWorker(t *testing.T) (srv *bustest.Server, addr string) {
	t.Helper()
	srv = bustest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	common := daemon.Config{Topology: daemon.TopologyConfig{Shards: shards}}
	env := newEnv(t, srv)
	r, err := daemon.StartRecall(ctx, daemon.RecallConfig{Config: common}, env)
	if err != nil {
		t.Fatal(err)
	}
	faces, err := daemon.Faces(r)
	if err != nil {
		t.Fatal(err)
	}
	h, err := daemon.ServeHTTP("127.0.0.1:0", faces...)
	if err != nil {
		t.Fatal(err)
	}
	g, err := daemon.StartGateway(ctx, daemon.GatewayConfig{Config: common, Gateway: gateway.DefaultConfig()}, newEnv(t, srv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := errors.Join(g.Close(), h.Close(ctx), r.Close()); err != nil {
			t.Error(err)
		}
	})
	return srv, h.Addr()
}

func newEnv(t *testing.T, srv *bustest.Server) daemon.Env {
	t.Helper()
	env, _, stop, err := daemon.NewEnv(srv.Connect(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return env
}

// No worker holds the shard: that is said after a short wait for one, over NATS and HTTP, and ends when one comes.
func TestNoWorker(t *testing.T) {
	srv, addr := withoutWorker(t)
	conn := srv.Connect()
	c := client.New(conn.NC)
	if _, err := c.Observe(t.Context(), "demo", &api.ObserveRequest{Observations: []*api.Observation{{Id: "a", Embedding: f32(1, 0)}}}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var e *wire.Error
	if _, err := c.Recall(t.Context(), "demo", &api.RecallRequest{Embedding: f32(1, 0)}); !errors.As(err, &e) || e.Code != wire.CodeUnavailable {
		t.Errorf("recall: %v", err)
	}
	if _, err := c.List(t.Context(), "demo", &api.ListRequest{}); !errors.As(err, &e) || e.Code != wire.CodeUnavailable {
		t.Errorf("list: %v", err)
	}
	status, _, body := call(t, http.MethodPost, addr, "/v1/spaces/demo/recall", "", `{"embedding":[1,0]}`)
	if e := wire.DecodeError(wire.JSON, []byte(body)); status != http.StatusServiceUnavailable || e.Code != wire.CodeUnavailable {
		t.Errorf("recall over HTTP: %d %s", status, body)
	}
	status, _, body = call(t, http.MethodGet, addr, "/v1/spaces/demo/observations/a", "", "")
	if e := wire.DecodeError(wire.JSON, []byte(body)); status != http.StatusServiceUnavailable || e.Code != wire.CodeUnavailable {
		t.Errorf("get over HTTP: %d %s", status, body)
	}
	// Each has waited two seconds for the shard to come to somebody.
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v to say four times that nobody is there", took)
	}
	// The space is known all the same.
	status, _, body = call(t, http.MethodGet, addr, "/v1/spaces/demo", "", "")
	if status != http.StatusOK || !strings.Contains(body, `"dimension":2`) || !strings.Contains(body, `"observations":0`) || !strings.Contains(body, `"applied":""`) {
		t.Errorf("%d %s", status, body)
	}

	cfg := daemon.WorkerConfig{Worker: worker.DefaultConfig()}
	cfg.Worker.Dir = t.TempDir()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	w, err := daemon.StartWorker(t.Context(), cfg, newEnv(t, srv))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Recall(t.Context(), "demo", &api.RecallRequest{Embedding: f32(1, 0), AtLeast: position(t, c)})
	if err != nil || hitIDs(resp.GetHits()) != "a" {
		t.Errorf("with a worker: %v, %v", resp, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// A moment after it has gone nobody waits for it in vain any more.
	waitFor(t, "recall says that the worker is gone", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := c.Recall(ctx, "demo", &api.RecallRequest{Embedding: f32(1, 0)})
		var e *wire.Error
		return errors.As(err, &e) && e.Code == wire.CodeUnavailable
	})
}

// position writes something to the space and returns where it stands.
func position(t *testing.T, c *client.Client) string {
	t.Helper()
	resp, err := c.Forget(t.Context(), "demo", &api.ForgetRequest{Ids: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetPosition()
}

// NATS is away: HTTP says so, and works again when it is back.
func TestOutage(t *testing.T) {
	srv, addr := withoutWorker(t)
	if _, err := client.New(srv.Connect().NC).Observe(t.Context(), "demo", &api.ObserveRequest{Observations: []*api.Observation{{Id: "a", Embedding: f32(1, 0)}}}); err != nil {
		t.Fatal(err)
	}
	srv.Stop()
	start := time.Now()
	for _, r := range []struct{ method, path, body string }{
		{http.MethodPost, "/v1/spaces/demo/recall", `{"embedding":[1,0]}`}, {http.MethodPost, "/v1/spaces/other/recall", `{"embedding":[1,0]}`},
		{http.MethodGet, "/v1/spaces/demo/observations", ""}, {http.MethodDelete, "/v1/spaces/demo/observations/a", ""},
	} {
		status, _, body := call(t, r.method, addr, r.path, "", r.body)
		if e := wire.DecodeError(wire.JSON, []byte(body)); status != http.StatusServiceUnavailable || e.Code != wire.CodeUnavailable {
			t.Errorf("%s %s: %d %s", r.method, r.path, status, body)
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	srv.Restart()
	waitFor(t, "the space is there again", func() bool {
		status, _, _ := call(t, http.MethodGet, addr, "/v1/spaces/demo", "", "")
		return status == http.StatusOK
	})
	waitFor(t, "a space can be looked up", func() bool {
		status, _, _ := call(t, http.MethodGet, addr, "/v1/spaces/other", "", "")
		return status == http.StatusNotFound
	})
}

func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !so(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it is still not so that %s", what)
		}
	}
}
