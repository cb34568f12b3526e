package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/node"
	"github.com/engram-memory/engram/pkg/tlsconf/tlstest"
)

// What the commands print is what a node takes: a token with its line, and nkeys with the configuration of NATS.
func TestTokensOfCommands(t *testing.T) {
	made := decode[struct{ Token, Line string }](t, engram(t, "token", "new", "ingest", "--observe", "team-*,notes", "--recall", "notes", "--valid", "1h", "--json"))
	if strings.Contains(made.Line, made.Token) || !strings.HasPrefix(made.Line, "ingest token=sha256:") || !strings.Contains(made.Line, "observe=team-*,notes recall=notes expires=") {
		t.Fatalf("the line is %q", made.Line)
	}
	contains(t, engram(t, "token", "new", "prom", "--metrics"), "engram_", "prom token=sha256:", " metrics")
	own := strings.Repeat("x", 30)
	o := engramIn(t.Context(), strings.NewReader(own+"\n"), "token", "hash")
	if o.code != 0 || !strings.HasPrefix(o.stdout, "token=sha256:") {
		t.Fatalf("%+v", o)
	}
	if short := engramIn(t.Context(), strings.NewReader("short"), "token", "hash"); short.code != 1 {
		t.Errorf("a password became a token: %+v", short)
	}
	fails(t, exitUsage, "token", "new", "two words")
	fails(t, exitUsage, "token", "new", "x", "--observe", "NO")
	fails(t, exitUsage, "token", "new", "x", "--valid", "0s")
	fails(t, exitUsage, "token", "nkey")

	seeds := t.TempDir()
	seed := func(user string) string { return filepath.Join(seeds, user+".nk") }
	for _, user := range []string{"gateway", "worker", "recall", "admin", "producer", "service"} {
		t.Setenv("NATS_NKEY_"+strings.ToUpper(user), strings.TrimSpace(engram(t, "token", "nkey", "--out", seed(user))))
	}
	if info, err := os.Stat(seed("admin")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the seed has %v, %v", info.Mode(), err)
	}
	fails(t, exitFailure, "token", "nkey", "--out", seed("admin"))

	ca := tlstest.New(t)
	cert, key := ca.Issue("node", "node")
	cfg := node.DefaultConfig(t.TempDir())
	cfg.NATS, cfg.HTTP, cfg.Metrics = "127.0.0.1:0", "127.0.0.1:0", ""
	cfg.NATSAuth = "../../deployments/nats/accounts.conf"
	cfg.Listen.TLS.Cert, cfg.Listen.TLS.Key = cert, key
	cfg.Listen.Auth.File = writeFile(t, "principals", made.Line+"\nown "+strings.TrimSpace(o.stdout)+" recall=*")
	added := strings.TrimSpace(engram(t, "token", "new", "added", "--recall", "other", "--file", cfg.Listen.Auth.File))
	n, err := node.Start(t.Context(), cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	awaitServices(t.Context(), t, n)
	as := func(user string, args ...string) []string {
		return append(args, "--server", n.NATSURL(), "--nkey", seed(user), "--inbox-prefix", "_INBOX_"+user, "--tls-ca", ca.File)
	}
	engram(t, as("producer", "observe", "notes", "the disk is full", "--id", "a", "--ack", "searchable")...)
	contains(t, engram(t, as("service", "recall", "notes", "full disk")...), "the disk is full")
	contains(t, engram(t, as("admin", "status")...), "notes")
	fails(t, exitFailure, append(as("producer", "recall", "notes", "full disk"), "--timeout", "500ms")...)
	fails(t, exitFailure, "recall", "notes", "x", "--server", n.NATSURL(), "--tls-ca", ca.File)

	tr := &http.Transport{TLSClientConfig: ca.Client("", "")}
	t.Cleanup(tr.CloseIdleConnections)
	for token, want := range map[string]int{made.Token: 403, own: 200, added: 200, "": 401} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+n.HTTPAddr()+"/v1/spaces/other/recall", strings.NewReader(`{"text":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := (&http.Client{Transport: tr}).Do(req)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if want == 200 {
			want = 404 // it may, and there is no such space
		}
		if resp.StatusCode != want {
			t.Errorf("%d, want %d", resp.StatusCode, want)
		}
	}
}
