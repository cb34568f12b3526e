package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/tlsconf"
	"github.com/engram-memory/engram/pkg/tlsconf/tlstest"
)

// serveReady serves /readyz as a daemon does, on all addresses of this machine.
func serveReady(t *testing.T, cfg ListenConfig, ready func() error) (port string) {
	t.Helper()
	cfg.Auth = principals(t)
	m, err := listeners(t, cfg).Metrics("0.0.0.0:0", metrics.NewRegistry(), metrics.Checks{"space-worker": ready})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := m.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	_, port, err = net.SplitHostPort(m.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// health runs "space-worker health" with these flags and an address of all interfaces, which is asked on this machine.
func health(t *testing.T, port string, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	args = append([]string{"health", "--metrics", "0.0.0.0:" + port, "--insecure"}, args...)
	p := Program[WorkerConfig]{Common: func(c *WorkerConfig) (Config, string) { return c.Config, "" }}
	err := p.run(t.Context(), args, nil, &out, io.Discard)
	return out.String(), err
}

func TestHealth(t *testing.T) {
	authority := tlstest.New(t)
	cert, key := authority.Issue("worker", "worker")
	other, otherKey := authority.Issue("other", "other")
	for name, c := range map[string]struct {
		listen tlsconf.Server
		args   []string
		ready  error
		want   string // of the error; none where it is empty
	}{
		"ready":     {},
		"not ready": {ready: errors.New("NATS is away"), want: "NATS is away"},
		"TLS":       {listen: tlsconf.Server{Cert: cert, Key: key}, args: []string{"--tls.cert", cert, "--tls.key", key}},
		"TLS that asks for a certificate": {
			listen: tlsconf.Server{Cert: cert, Key: key, ClientCA: authority.File, RequireClient: true},
			args:   []string{"--tls.cert", cert, "--tls.key", key},
		},
		"the certificate of another process": {
			listen: tlsconf.Server{Cert: other, Key: otherKey}, args: []string{"--tls.cert", cert, "--tls.key", key}, want: "another certificate",
		},
		"TLS that is not expected": {listen: tlsconf.Server{Cert: cert, Key: key}, want: "not ready: 400"},
	} {
		t.Run(name, func(t *testing.T) {
			port := serveReady(t, ListenConfig{TLS: c.listen}, func() error { return c.ready })
			out, err := health(t, port, c.args...)
			switch {
			case c.want == "" && (err != nil || out != "{\"ready\":true}\n"):
				t.Errorf("%q, %v", out, err)
			case c.want != "" && (err == nil || out != "" || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%q, %v; want an error with %q", out, err, c.want)
			}
		})
	}
}

// What cannot be asked is a mistake in the configuration, or nobody there, and never a process that is ready.
func TestHealthOfNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := health(t, port); err == nil || errors.Is(err, errUsage) || out != "" {
		t.Errorf("where nobody listens: %q, %v", out, err)
	}
	for _, args := range [][]string{{"--metrics", ""}, {"--metrics", "nonsense"}, {"--no-such-flag"}} {
		if out, err := health(t, port, args...); !errors.Is(err, errUsage) || out != "" {
			t.Errorf("%q: %q, %v", args, out, err)
		}
	}
}
