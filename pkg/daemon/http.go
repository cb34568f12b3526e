package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/openapi"
	"github.com/engram-memory/engram/pkg/rpc"
	"github.com/engram-memory/engram/pkg/version"
	"github.com/engram-memory/engram/pkg/wire"
)

// Face is a part that is reached over HTTP.
type Face interface {
	// Routes are those that the OpenAPI document of the port describes.
	Routes() []openapi.Route
	// Handlers are those of gRPC.
	Handlers() []http.Handler
	// Services are those of gRPC among them, each with what tells whether it can serve.
	Services() map[string]func() error
}

// Faces returns the handlers of parts that share a port, with the document that describes their routes, and the health and
// the reflection of their services.
func Faces(parts ...Face) ([]http.Handler, error) {
	var all []http.Handler
	var routes []openapi.Route
	services := map[string]func() error{}
	for _, p := range parts {
		all = append(all, p.Handlers()...)
		routes = append(routes, p.Routes()...)
		maps.Copy(services, p.Services())
	}
	documented, err := openapi.New(version.String(), routes...)
	if err != nil {
		return nil, fmt.Errorf("describing the routes: %w", err)
	}
	return append(all, documented, rpc.Discovery(services)), nil
}

// maxStreams is how many requests of one HTTP/2 connection run at once: a proxy may put many streams on one.
const maxStreams = 1000

// HTTPServer serves a handler on an address until Close.
type HTTPServer struct {
	server   *http.Server
	listener net.Listener
	done     chan error
}

// ServeHTTP listens on an address of this machine and serves without authentication. Paths that the handlers do not have
// are answered with the contract's error.
func ServeHTTP(addr string, handlers ...http.Handler) (*HTTPServer, error) {
	l, err := NewListeners(ListenConfig{}, zerolog.Nop())
	if err != nil {
		return nil, err
	}
	return l.HTTP(addr, handlers...)
}

// listenHTTP serves a handler; without a configuration of TLS as plain HTTP.
func listenHTTP(addr string, cfg ServerConfig, tlsConfig *tls.Config, handler http.Handler) (*HTTPServer, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening for HTTP on %s: %w; choose a free host:port", addr, err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC without TLS
	s := &HTTPServer{
		listener: listener, done: make(chan error, 1),
		server: &http.Server{
			Handler: unhurried(cfg, handler), TLSConfig: tlsConfig,
			ReadHeaderTimeout: cfg.ReadHeaderTimeout, IdleTimeout: cfg.IdleTimeout, MaxHeaderBytes: cfg.MaxHeaderBytes,
			Protocols: protocols, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		},
	}
	bounded := limit(listener, cfg.MaxConnections)
	go func() {
		if tlsConfig != nil {
			s.done <- s.server.ServeTLS(bounded, "", "")
			return
		}
		s.done <- s.server.Serve(bounded)
	}()
	return s, nil
}

// Addr returns the address that is listened on.
func (s *HTTPServer) Addr() string { return s.listener.Addr().String() }

// Close lets requests that run finish, within the context.
func (s *HTTPServer) Close(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.server.Close()
	}
	if serr := <-s.done; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

// merge tries each handler's routes in turn. A path that one of them has with other methods is a 405.
func merge(handlers []http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusNotFound
		for _, h := range handlers {
			mux, ok := h.(*http.ServeMux)
			if !ok {
				h.ServeHTTP(w, r)
				return
			}
			handler, pattern := mux.Handler(r)
			if pattern != "" {
				mux.ServeHTTP(w, r)
				return
			}
			probe := &statusProbe{header: http.Header{}}
			handler.ServeHTTP(probe, r)
			if probe.status == http.StatusMethodNotAllowed {
				status = probe.status
				w.Header().Add("Allow", probe.header.Get("Allow"))
			}
		}
		if status == http.StatusMethodNotAllowed {
			wire.WriteError(w, wire.JSON, wire.Errorf(wire.CodeMethod, "", "%s cannot be done to %s", r.Method, r.URL.Path))
			return
		}
		wire.WriteError(w, wire.JSON, wire.Errorf(wire.CodeNotFound, "", "there is nothing at %s; see docs/wire.md", r.URL.Path))
	})
}

// statusProbe takes the status of an answer that is not sent.
type statusProbe struct {
	header http.Header
	status int
}

func (p *statusProbe) Header() http.Header         { return p.header }
func (p *statusProbe) Write(b []byte) (int, error) { return len(b), nil }
func (p *statusProbe) WriteHeader(status int)      { p.status = status }
