package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func startServer(t *testing.T, checks Checks) *Server {
	t.Helper()
	reg := NewRegistry()
	if _, err := NewRecall(reg); err != nil {
		t.Fatal(err)
	}
	s, err := Serve("127.0.0.1:0", reg, checks)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

func get(t *testing.T, s *Server, path string) (status int, body string) {
	t.Helper()
	resp, err := http.Get("http://" + s.Addr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(data))
}

func TestServer(t *testing.T) {
	var connected atomic.Bool
	s := startServer(t, Checks{
		"nats": func() error {
			if !connected.Load() {
				return errors.New("not connected to nats://127.0.0.1:4222")
			}
			return nil
		},
		"store": func() error { return nil },
	})
	if status, body := get(t, s, "/healthz"); status != http.StatusOK || body != `{"alive":true}` {
		t.Errorf("/healthz answers %d %s", status, body)
	}
	want := `{"ready":false,"not_ready":{"nats":"not connected to nats://127.0.0.1:4222"}}`
	if status, body := get(t, s, "/readyz"); status != http.StatusServiceUnavailable || body != want {
		t.Errorf("/readyz answers %d %s, want 503 %s", status, body, want)
	}
	connected.Store(true)
	if status, body := get(t, s, "/readyz"); status != http.StatusOK || body != `{"ready":true}` {
		t.Errorf("/readyz answers %d %s", status, body)
	}
	status, body := get(t, s, "/metrics")
	for _, name := range []string{nameRecallLatency + "_count 0", "go_goroutines ", "process_resident_memory_bytes "} {
		if status != http.StatusOK || !strings.Contains(body, "\n"+name) {
			t.Errorf("/metrics answers %d and lacks %q", status, name)
		}
	}
	if status, _ := get(t, s, "/"); status != http.StatusNotFound {
		t.Errorf("/ answers %d, want 404", status)
	}
}

func TestServeNamesTheAddressThatIsTaken(t *testing.T) {
	s := startServer(t, nil)
	if _, err := Serve(s.Addr(), prometheus.NewRegistry(), nil); err == nil || !strings.Contains(err.Error(), s.Addr()) {
		t.Errorf("the error about an address that is taken is %v", err)
	}
	if _, err := Serve("nowhere", prometheus.NewRegistry(), nil); err == nil || !strings.Contains(err.Error(), `"nowhere"`) {
		t.Errorf("the error about an address without a port is %v", err)
	}
}

func TestShutdown(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	blocked, release := make(chan struct{}), make(chan struct{})
	s, err := Serve("127.0.0.1:0", prometheus.NewRegistry(), Checks{"slow": func() error {
		close(blocked)
		<-release
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan int, 1)
	go func() {
		status, _ := get(t, s, "/readyz")
		answer <- status
	}()
	<-blocked
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	<-s.Done() // it accepts nothing any more
	if c, err := net.Dial("tcp", s.Addr()); err == nil {
		c.Close()
		t.Error("a connection was accepted after Shutdown")
	}
	select {
	case err := <-stopped:
		t.Errorf("Shutdown returned %v before the request in progress was answered", err)
	default:
	}
	close(release)
	if status := <-answer; status != http.StatusOK {
		t.Errorf("the request in progress got %d, want 200", status)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("the second Shutdown: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
	goleak.VerifyNone(t, leaks)
}

func TestShutdownWaitsForTheGoroutine(t *testing.T) {
	s, err := Serve("127.0.0.1:0", prometheus.NewRegistry(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	select {
	case <-s.Done():
	default:
		t.Error("Shutdown returned before the server's goroutine")
	}
}

func TestShutdownCutsOffAtTheDeadline(t *testing.T) {
	blocked, release := make(chan struct{}), make(chan struct{})
	s, err := Serve("127.0.0.1:0", prometheus.NewRegistry(), Checks{"stuck": func() error {
		close(blocked)
		<-release
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		resp, err := http.Get("http://" + s.Addr() + "/readyz")
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	<-blocked
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), s.Addr()) {
		t.Errorf("Shutdown returned %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("the stuck request was answered")
	}
	close(release)
}

func TestServerThatStopsByItselfSaysSo(t *testing.T) {
	s, err := Serve("127.0.0.1:0", prometheus.NewRegistry(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.listener.Close(); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if err := s.Shutdown(context.Background()); err == nil || !strings.Contains(err.Error(), "stopped by itself") {
		t.Errorf("Shutdown returned %v", err)
	}
}
