package nats_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/snapshot"
	"github.com/engram-memory/engram/pkg/tlsconf/tlstest"
	"github.com/engram-memory/engram/pkg/worker"
)

// users are those of accounts.conf.
var users = []string{"gateway", "worker", "recall", "admin", "producer", "service"}

// deployment is a server with the configuration of this directory, as it is, but for where it listens and stores.
type deployment struct {
	t      *testing.T
	srv    *server.Server
	url    string
	ca     string
	seeds  map[string]string // user → path of its seed
	public map[string]string // user → public key
	log    *violations
}

// violations keeps what the server refused.
type violations struct {
	mu    sync.Mutex
	lines []string
}

func (v *violations) Errorf(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if line := fmt.Sprintf(format, args...); strings.Contains(line, "Violation") {
		v.lines = append(v.lines, line)
	}
}

func (v *violations) Noticef(string, ...any) {}
func (v *violations) Warnf(string, ...any)   {}
func (v *violations) Fatalf(string, ...any)  {}
func (v *violations) Debugf(string, ...any)  {}
func (v *violations) Tracef(string, ...any)  {}

// of returns what a user was refused.
func (v *violations) of(public string) (lines []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range v.lines {
		if strings.Contains(l, public) {
			lines = append(lines, l)
		}
	}
	return lines
}

// keys makes an nkey for each user and puts the public halves into the environment.
func keys(t *testing.T) (seeds, public map[string]string) {
	t.Helper()
	dir := t.TempDir()
	seeds, public = map[string]string{}, map[string]string{}
	for _, u := range users {
		kp, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		seed, err := kp.Seed()
		if err != nil {
			t.Fatal(err)
		}
		if public[u], err = kp.PublicKey(); err != nil {
			t.Fatal(err)
		}
		seeds[u] = filepath.Join(dir, u+".nk")
		if err := os.WriteFile(seeds[u], seed, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("NATS_NKEY_"+strings.ToUpper(u), public[u])
	}
	return seeds, public
}

func deploy(t *testing.T) *deployment {
	t.Helper()
	d := &deployment{t: t, log: &violations{}}
	d.seeds, d.public = keys(t)
	authority := tlstest.New(t)
	cert, key := authority.Issue("nats", "nats")
	d.ca = authority.File
	t.Setenv("NATS_TLS_CERT", cert)
	t.Setenv("NATS_TLS_KEY", key)
	opts, err := server.ProcessConfigFile("nats-server.conf")
	if err != nil {
		t.Fatal(err)
	}
	if !opts.SyncAlways || opts.TLSConfig == nil || !net.ParseIP(opts.HTTPHost).IsLoopback() {
		t.Errorf("the configuration says sync always %v, TLS %v, monitoring at %q", opts.SyncAlways, opts.TLSConfig != nil, opts.HTTPHost)
	}
	opts.Host, opts.Port, opts.HTTPPort, opts.StoreDir, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, 0, t.TempDir(), true
	if d.srv, err = server.NewServer(opts); err != nil {
		t.Fatal(err)
	}
	d.srv.SetLoggerV2(d.log, false, false, false)
	go d.srv.Start()
	t.Cleanup(func() {
		d.srv.Shutdown()
		d.srv.WaitForShutdown()
	})
	if !d.srv.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server is not ready")
	}
	d.url = strings.Replace(d.srv.ClientURL(), "nats://", "tls://", 1)
	return d
}

// connect logs in as a user, with the user's own inbox.
func (d *deployment) connect(user string) *bus.Conn {
	d.t.Helper()
	c, err := bus.Connect(d.config(user))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(c.Close)
	return c
}

func (d *deployment) config(user string) bus.Config {
	return bus.Config{
		URL: d.url, NKey: d.seeds[user], InboxPrefix: "_INBOX_" + user, TLS: bus.TLSConfig{CA: d.ca}, Name: user, FailFast: true,
	}
}

const shards = 2

// daemons starts all three, each as its own user, and serves HTTP of the gateway and of recall.
func (d *deployment) daemons(t *testing.T) (http string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	common := daemon.Config{Topology: daemon.TopologyConfig{Shards: shards}}
	var stops []func() error
	t.Cleanup(func() {
		for i := len(stops) - 1; i >= 0; i-- {
			if err := stops[i](); err != nil {
				t.Error(err)
			}
		}
	})
	env := func(user string) daemon.Env {
		e, _, stop, err := daemon.NewEnv(d.connect(user), zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel))
		if err != nil {
			t.Fatal(err)
		}
		stops = append(stops, stop)
		return e
	}
	wc := daemon.WorkerConfig{Config: common, Worker: worker.DefaultConfig()}
	wc.Worker.Dir, wc.Worker.Snapshot.Store, wc.Worker.Snapshot.Interval = t.TempDir(), snapshot.PlaceBucket, 0
	if err := wc.Validate(); err != nil {
		t.Fatal(err)
	}
	shared := env("worker")
	shared.Shared = true
	w, err := daemon.StartWorker(ctx, wc, shared)
	if err != nil {
		t.Fatal(err)
	}
	stops = append(stops, w.Close)
	r, err := daemon.StartRecall(ctx, daemon.RecallConfig{Config: common}, env("recall"))
	if err != nil {
		t.Fatal(err)
	}
	stops = append(stops, r.Close)
	g, err := daemon.StartGateway(ctx, daemon.GatewayConfig{Config: common, Gateway: gateway.DefaultConfig()}, env("gateway"))
	if err != nil {
		t.Fatal(err)
	}
	stops = append(stops, g.Close)
	faces, err := daemon.Faces(g, r)
	if err != nil {
		t.Fatal(err)
	}
	h, err := daemon.ServeHTTP("127.0.0.1:0", faces...)
	if err != nil {
		t.Fatal(err)
	}
	stops = append(stops, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		return h.Close(ctx)
	})
	return "http://" + h.Addr()
}
