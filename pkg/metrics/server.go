package metrics

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Checks are the named conditions of readiness; nil is "ready". They are called
// for each /readyz, concurrently, and must answer from memory at once.
type Checks map[string]func() error

// Server serves /metrics, /healthz and /readyz on an address of its own.
type Server struct {
	http     *http.Server
	listener net.Listener
	stopped  chan struct{} // closed when the goroutine has returned
	serveErr error         // why it returned; read after stopped
}

// Serve listens on addr ("127.0.0.1:9090"; port 0 is any free one) and serves in
// a goroutine until [Server.Shutdown]. The error names the address.
func Serve(addr string, metrics prometheus.Gatherer, checks Checks) (*Server, error) {
	return ServeWith(addr, metrics, checks, Options{})
}

// Options are for a server that others than this machine reach.
type Options struct {
	// TLS is what the server answers with; nil for plain HTTP.
	TLS *tls.Config
	// Guard stands before the handler; nil for nothing.
	Guard func(http.Handler) http.Handler
}

// ServeWith is Serve with options.
func ServeWith(addr string, metrics prometheus.Gatherer, checks Checks, opt Options) (*Server, error) {
	handler := Handler(metrics, checks)
	if opt.Guard != nil {
		handler = opt.Guard(handler)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot serve metrics on %q; choose a free host:port: %w", addr, err)
	}
	s := &Server{
		// The limits end a client that does not go on reading or writing.
		http: &http.Server{
			Handler:           handler,
			TLSConfig:         opt.TLS,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       10 * time.Second,
			WriteTimeout:      30 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    16 << 10,
		},
		listener: listener,
		stopped:  make(chan struct{}),
	}
	go func() {
		defer close(s.stopped)
		if opt.TLS != nil {
			s.serveErr = s.http.ServeTLS(listener, "", "")
			return
		}
		s.serveErr = s.http.Serve(listener)
	}()
	return s, nil
}

// Addr is the address that is listened on, with the port that was chosen.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Done is closed when the server has stopped, after Shutdown or by an error.
func (s *Server) Done() <-chan struct{} { return s.stopped }

// Shutdown stops listening, waits for the requests in progress until ctx is done
// and then cuts them off, and waits for the goroutine. It returns why the server
// stopped before, if it did; it may be called more than once.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("stopping the metrics server on %s: %w", s.Addr(), errors.Join(err, s.http.Close()))
	}
	<-s.stopped
	if !errors.Is(s.serveErr, http.ErrServerClosed) {
		return errors.Join(fmt.Errorf("the metrics server on %s stopped by itself: %w", s.Addr(), s.serveErr), err)
	}
	return err
}

// Handler serves GET /metrics (Prometheus text or OpenMetrics), /healthz (200
// while the process lives) and /readyz: 200 {"ready":true} when every check
// passes, otherwise 503 {"ready":false,"not_ready":{"nats":"not connected"}}.
func Handler(metrics prometheus.Gatherer, checks Checks) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]bool{"alive": true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		writeReadiness(w, checks)
	})
	return mux
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready    bool              `json:"ready"`
	NotReady map[string]string `json:"not_ready,omitempty"`
}

func writeReadiness(w http.ResponseWriter, checks Checks) {
	answer, status := readiness{Ready: true, NotReady: map[string]string{}}, http.StatusOK
	for name, check := range checks {
		if err := check(); err != nil {
			answer.Ready, status = false, http.StatusServiceUnavailable
			answer.NotReady[name] = err.Error()
		}
	}
	writeJSON(w, status, answer)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A failure to write is the client's leaving; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(v)
}
