package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/tlsconf"
	"github.com/engram-memory/engram/pkg/tlsconf/tlstest"
)

func listeners(t *testing.T, cfg ListenConfig) *Listeners {
	t.Helper()
	l, err := NewListeners(cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func serveHTTP(t *testing.T, cfg ListenConfig, h http.HandlerFunc) string {
	t.Helper()
	s, err := listeners(t, cfg).HTTP("127.0.0.1:0", h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s.Addr()
}

func principals(t *testing.T, lines ...string) auth.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "principals")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return auth.Config{File: path}
}

func TestNothingIsOpenBeyondLoopback(t *testing.T) {
	held := principals(t, "p token="+auth.Hash("x")+" recall=*")
	for _, addr := range []string{":8080", "0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080", "engram.example:8080"} {
		for name, cfg := range map[string]interface{ Validate() error }{
			"gateway":         &GatewayConfig{HTTP: addr},
			"gateway metrics": &GatewayConfig{Config: Config{Metrics: addr}},
			"recall":          &RecallConfig{HTTP: addr},
			"recall metrics":  &RecallConfig{Config: Config{Metrics: addr}},
			"worker metrics":  &WorkerConfig{Config: Config{Metrics: addr}},
		} {
			if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "--insecure") {
				t.Errorf("%s on %s: %v", name, addr, err)
			}
		}
		for name, cfg := range map[string]ListenConfig{"insecure": {Insecure: true}, "authentication": {Auth: held}} {
			if err := cfg.Validate(Address{"http", addr}); err != nil {
				t.Errorf("%s on %s: %v", name, addr, err)
			}
		}
		// Nor where a program that has validated nothing opens it.
		if _, err := listeners(t, ListenConfig{}).HTTP(addr); err == nil || !strings.Contains(err.Error(), "--insecure") {
			t.Errorf("listening on %s: %v", addr, err)
		}
		if _, err := listeners(t, ListenConfig{}).Metrics(addr, prometheus.NewRegistry(), nil); err == nil || !strings.Contains(err.Error(), "--insecure") {
			t.Errorf("metrics on %s: %v", addr, err)
		}
	}
	for _, addr := range []string{"127.0.0.1:8080", "[::1]:8080", "localhost:8080", ""} {
		if err := (&ListenConfig{}).Validate(Address{"http", addr}); err != nil {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

func status(t *testing.T, c *http.Client, url, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// A certificate of a client is a principal, on HTTP and on the port of the metrics.
func TestPrincipalsOfCertificates(t *testing.T) {
	ca, stranger := tlstest.New(t), tlstest.New(t)
	cert, key := ca.Issue("server", "engram")
	cfg := ListenConfig{
		TLS:  tlsconf.Server{Cert: cert, Key: key, ClientCA: ca.File},
		Auth: principals(t, `search cert="CN:search service" recall=*`, "robot cert=URI:spiffe://example/robot metrics", "p token="+auth.Hash("secret")+" recall=*"),
	}
	addr := serveHTTP(t, cfg, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, auth.FromContext(r.Context()).Name, " ", r.Proto)
	})
	client := func(cert, key string) *http.Client {
		tr := &http.Transport{TLSClientConfig: ca.Client(cert, key), ForceAttemptHTTP2: true}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	search := client(ca.Issue("search", "search service"))
	robot := client(ca.Issue("robot", "something", "spiffe://example/robot"))
	unknown := client(ca.Issue("unknown", "unknown"))
	for _, tc := range []struct {
		name   string
		client *http.Client
		token  string
		code   int
		want   string
	}{
		{"common name", search, "", 200, "search HTTP/2.0"}, {"URI", robot, "", 200, "robot HTTP/2.0"},
		{"a token goes first", search, "secret", 200, "p HTTP/2.0"}, {"a token that is wrong is not made good by a certificate", search, "wrong", 401, "not known"},
		{"no line", unknown, "", 401, "no principal"}, {"none", client("", ""), "", 401, "no credentials"}, {"none, and a token", client("", ""), "secret", 200, "p HTTP/2.0"},
		{"a stranger's", client(stranger.Issue("search", "search service")), "", 401, "no credentials"},
	} {
		if code, body := status(t, tc.client, "https://"+addr, tc.token); code != tc.code || !strings.Contains(body, tc.want) {
			t.Errorf("%s: %d %s", tc.name, code, body)
		}
	}
	// Who speaks no TLS gets nothing.
	if code, body := status(t, http.DefaultClient, "http://"+addr, "secret"); code == 200 {
		t.Errorf("without TLS: %d %s", code, body)
	}

	m, err := listeners(t, cfg).Metrics("127.0.0.1:0", prometheus.NewRegistry(), nil)
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
	for _, tc := range []struct {
		path   string
		client *http.Client
		want   int
	}{
		{"/metrics", robot, 200}, {"/metrics", search, 403}, {"/metrics", client("", ""), 401}, {"/healthz", client("", ""), 200}, {"/readyz", client("", ""), 200},
		{"/v1/spaces", robot, 404}, {"/debug/pprof/", robot, 404},
	} {
		if code, body := status(t, tc.client, "https://"+m.Addr()+tc.path, ""); code != tc.want {
			t.Errorf("metrics %s: %d %s, want %d", tc.path, code, body, tc.want)
		}
	}
}

// slow has times that a test can wait for.
func slow() ServerConfig {
	return ServerConfig{
		ReadHeaderTimeout: 200 * time.Millisecond, ReadTimeout: 200 * time.Millisecond, WriteTimeout: 200 * time.Millisecond,
		IdleTimeout: 200 * time.Millisecond, MaxHeaderBytes: 4096, MaxConnections: 100,
	}
}

// A client that does not go on is cut off, wherever it stops.
func TestSlowClients(t *testing.T) {
	cut := make(chan error, 10)
	addr := serveHTTP(t, ListenConfig{Server: slow()}, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/large" {
			for err == nil {
				_, err = w.Write(make([]byte, 1<<20))
			}
		}
		if r.URL.Path != "/" {
			cut <- err
		}
	})
	for name, sent := range map[string]string{
		"nothing":         "",
		"half a header":   "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
		"half a body":     "POST /body HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n12345",
		"half an upgrade": "POST /body HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: x\r\nContent-Length: 10\r\n\r\n12345",
		"half of gRPC":    "POST /body HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/grpc\r\nContent-Length: 10\r\n\r\n12345",
		"half of Connect": "POST /body HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/connect+proto\r\nContent-Length: 10\r\n\r\n12345",
		"half a stream":   "POST /body/observations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
		"and then idle":   "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
		"does not read":   "GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
		"a large header":  "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + strings.Repeat("x", 16<<10) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, sent); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(sent, "/large") || strings.Contains(sent, "/body") {
				select {
				case err := <-cut:
					if !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("the handler saw %v", err)
					}
				case <-time.After(10 * time.Second):
					t.Fatal("the handler still reads")
				}
			}
			answer, err := io.ReadAll(bufio.NewReader(c))
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("the connection is still there, after %d bytes", len(answer))
			}
			if name == "a large header" && !strings.Contains(string(answer), "431") {
				t.Errorf("the answer is %.100q", answer)
			}
		})
	}
}

// A stream that goes on, and a request that takes its time to be answered, go on for longer than all of these times.
func TestWhatTakesItsTimeIsNotCutOff(t *testing.T) {
	cfg := slow()
	addr := serveHTTP(t, ListenConfig{Server: cfg}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") == "" {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				t.Error(err)
			}
			select {
			case <-r.Context().Done():
				t.Error("the request was taken for gone")
			case <-time.After(3 * cfg.ReadTimeout):
			}
			_, _ = io.WriteString(w, "done")
			return
		}
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintln(w, lines.Text())
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		}
		if err := lines.Err(); err != nil {
			t.Error(err)
		}
	})
	resp, err := http.Post("http://"+addr, "", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "done" {
		t.Fatalf("%q, %v", body, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}

	read, write := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/v1/spaces/notes/observations", read)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	go func() {
		tick := time.NewTicker(cfg.ReadTimeout / 4)
		defer tick.Stop()
		for range 16 {
			<-tick.C
			if _, err := io.WriteString(write, "line\n"); err != nil {
				return
			}
		}
		_ = write.Close()
	}()
	if resp, err = http.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil || strings.Count(string(body), "line\n") != 16 {
		t.Fatalf("%d lines, %v", strings.Count(string(body), "line\n"), err)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	cfg := slow()
	cfg.MaxConnections, cfg.IdleTimeout, cfg.ReadHeaderTimeout = 1, time.Minute, time.Minute
	addr := serveHTTP(t, ListenConfig{Server: cfg}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") })
	ask := func(c net.Conn) {
		t.Helper()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	first, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ask(first)
	if _, err := http.ReadResponse(bufio.NewReader(first), nil); err != nil {
		t.Fatal(err)
	}
	second, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	ask(second)
	if err := second.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a second connection was served: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := second.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := http.ReadResponse(bufio.NewReader(second), nil); err != nil {
		t.Fatalf("a connection that waited was not served: %v", err)
	}
}
