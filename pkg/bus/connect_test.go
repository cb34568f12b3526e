package bus_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
)

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// lines is where a connection's callbacks log to while the test reads.
type lines struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func newLines() *lines { return &lines{changed: make(chan struct{}, 1)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
	return l.b.Write(p)
}

// waitFor returns when s has been logged n times.
func (l *lines) waitFor(t *testing.T, ctx context.Context, s string, n int) {
	t.Helper()
	for l.count(s) < n {
		select {
		case <-l.changed:
		case <-ctx.Done():
			t.Fatalf("%q has not been logged %d times:\n%s", s, n, l.text())
		}
	}
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) count(s string) int {
	return strings.Count(l.text(), s)
}

// A daemon may be started before its NATS server, and lives through the server's absence.
func TestConnectBeforeTheServerAndThroughAnOutage(t *testing.T) {
	ctx := testContext(t)
	srv := bustest.Start(t)
	srv.Stop()

	log := newLines()
	conn, err := bus.Connect(bus.Config{URL: srv.URL(), ReconnectWait: 5 * time.Millisecond, Log: zerolog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := make(chan string, 1)
	if _, err := conn.NC.Subscribe("a", func(m *nats.Msg) { got <- string(m.Data) }); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := conn.WaitConnected(short); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, nats.ErrNoServers) {
		t.Fatalf("without a server: %v", err)
	}
	log.waitFor(t, ctx, "cannot connect", 4)
	if n := log.count(`"level":"warn"`); n != 1 {
		t.Errorf("an outage of many attempts has %d warnings, want 1:\n%s", n, log.text())
	}

	srv.Restart()
	if err := conn.WaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	if err := conn.NC.Publish("a", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if m := <-got; m != "first" {
		t.Fatalf("got %q", m)
	}

	down := conn.NC.StatusChanged(nats.RECONNECTING)
	srv.Stop()
	<-down
	conn.NC.RemoveStatusListener(down)
	// Nothing is buffered: what a caller was told has failed must not arrive later.
	if err := conn.NC.Publish("a", []byte("during")); err == nil {
		t.Error("a publish during the outage was taken")
	}
	srv.Restart()
	if err := conn.WaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	if err := conn.NC.Publish("a", []byte("after")); err != nil {
		t.Fatal(err)
	}
	if m := <-got; m != "after" {
		t.Errorf("got %q, want the first publish after the outage", m)
	}
	if err := conn.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	// Drain has waited for the last callback, so the log is complete.
	if log.count("lost the connection") != 1 || log.count(`"message":"reconnected`) == 0 {
		t.Errorf("the log does not tell the story:\n%s", log.text())
	}
	if err := conn.WaitConnected(ctx); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("waiting on a closed connection: %v", err)
	}
}

// refusing is as much of a NATS server as it takes to refuse the first logins and accept the next.
func refusing(t *testing.T, refusals int) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { l.Close() })
	serving.Go(func() {
		for try := 0; ; try++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				if c.SetDeadline(time.Now().Add(10*time.Second)) != nil {
					return
				}
				fmt.Fprint(c, "INFO {\"server_id\":\"x\",\"auth_required\":true,\"headers\":true,\"max_payload\":1024}\r\n")
				for in := bufio.NewScanner(c); in.Scan(); {
					switch {
					case in.Text() != "PING":
					case try < refusals:
						fmt.Fprint(c, "-ERR 'Authorization Violation'\r\n")
						return
					default:
						fmt.Fprint(c, "PONG\r\n")
					}
				}
			})
		}
	})
	return "nats://u:wrong@" + l.Addr().String()
}

// A login that is refused may be one that is being rotated: a daemon goes on trying, a command does not.
func TestConnectRefusedLogin(t *testing.T) {
	log := newLines()
	conn, err := bus.Connect(bus.Config{URL: refusing(t, 4), ReconnectWait: time.Millisecond, Log: zerolog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.WaitConnected(testContext(t)); err != nil {
		t.Fatalf("the connection was given up: %v", err)
	}
	if log.count("Authorization Violation") != 1 || log.count("wrong") != 0 {
		t.Errorf("the log does not say why, once, without the password:\n%s", log.text())
	}
	_, err = bus.Connect(bus.Config{URL: refusing(t, 1), FailFast: true})
	if !errors.Is(err, nats.ErrAuthorization) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("failing fast: %v", err)
	}
}

func TestConnectFailFast(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := "nats://user:secret@" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = bus.Connect(bus.Config{URL: addr, FailFast: true})
	if !errors.Is(err, nats.ErrNoServers) {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells the password: %v", err)
	}
}

func TestConnectInProcess(t *testing.T) {
	srv := bustest.Start(t)
	conn, err := bus.Connect(bus.Config{InProcess: srv.InProcess(), FailFast: true, Name: "inside"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.JS.AccountInfo(testContext(t)); err != nil {
		t.Error(err)
	}
	conn.Close() // Closing twice is allowed.
	if _, err := bus.Connect(bus.Config{InProcess: srv.InProcess(), URL: srv.URL()}); err == nil {
		t.Error("an embedded server and an address were accepted together")
	}
}

func TestConnectRefusesConfiguration(t *testing.T) {
	for name, cfg := range map[string]bus.Config{
		"address":     {URL: "nats://a:b:c"},
		"colons":      {URL: "::bad::"},
		"no host":     {URL: "nats://127.0.0.1:4222,nats://"},
		"scheme":      {URL: "http://127.0.0.1:4222"},
		"credentials": {Credentials: "/does/not/exist.creds"},
		"timeout":     {ConnectTimeout: -1},
		"wait":        {ReconnectWait: -1},
	} {
		if conn, err := bus.Connect(cfg); err == nil {
			conn.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

// Drain waits for a callback that is at work, and no longer than it was told to.
func TestDrain(t *testing.T) {
	ctx := testContext(t)
	srv := bustest.Start(t)
	for name, finish := range map[string]bool{"in time": true, "too late": false} {
		t.Run(name, func(t *testing.T) {
			conn := srv.Connect()
			started, release, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
			if _, err := conn.NC.Subscribe("work", func(*nats.Msg) {
				close(started)
				<-release
				close(done)
			}); err != nil {
				t.Fatal(err)
			}
			if err := conn.NC.Publish("work", nil); err != nil {
				t.Fatal(err)
			}
			<-started
			if finish {
				close(release)
				if err := conn.Drain(ctx); err != nil {
					t.Fatal(err)
				}
				select {
				case <-done:
				default:
					t.Error("drained before the callback was done")
				}
				return
			}
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			if err := conn.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			close(release)
			<-done
		})
	}
}

// Who reads the warning has to know which server it is about, and not its password.
func TestConnectWarnsOfTheServer(t *testing.T) {
	log := newLines()
	conn, err := bus.Connect(bus.Config{URL: "nats://me:secret@127.0.0.1:1", Log: zerolog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	log.waitFor(t, testContext(t), "cannot connect to NATS", 1)
	if text := log.text(); !strings.Contains(text, `"servers":"nats://127.0.0.1:1"`) || strings.Contains(text, "secret") {
		t.Error(text)
	}
}
