// Package bustest runs a real NATS server inside a test: file-backed JetStream that syncs every write, as in production,
// in the test's own directory.
package bustest

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/engram-memory/engram/pkg/bus"
)

// deadline bounds a start. It is generous because it is reached only when something is broken.
const deadline = 20 * time.Second

// Server is a NATS server that a test may stop and start again on the same port and data. Its methods are for the
// goroutine of the test.
type Server struct {
	t   testing.TB
	dir string
	// port is -1 until the first start has chosen one.
	port int
	srv  *server.Server
}

// Start runs a server on a free port of 127.0.0.1 with its data in t.TempDir(). It is stopped, and waited for, when the
// test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), port: server.RANDOM_PORT}
	s.start()
	t.Cleanup(s.Stop)
	return s
}

// URL returns the server's address for clients; it stays the same over a Restart.
func (s *Server) URL() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.port) }

// InProcess returns the running server, for nats.InProcessServer and for the server's own inspection calls. After a
// Restart it is another one.
func (s *Server) InProcess() *server.Server { return s.srv }

// Connect returns a connection over TCP that is up, and closed when the test ends.
func (s *Server) Connect() *bus.Conn {
	s.t.Helper()
	c, err := bus.Connect(bus.Config{URL: s.URL(), Name: s.t.Name(), FailFast: true, ReconnectWait: 10 * time.Millisecond})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// Stop shuts the server down and waits until its files are closed. Stopping a stopped server does nothing.
func (s *Server) Stop() {
	if s.srv == nil {
		return
	}
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	s.srv = nil
}

// Restart stops the server if it runs, and starts one on the same port with the same data.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.start()
}

func (s *Server) start() {
	s.t.Helper()
	srv, err := s.run()
	if err != nil {
		s.t.Fatalf("starting a NATS server for the test: %v", err)
	}
	s.srv = srv
}

func (s *Server) run() (*server.Server, error) {
	// A server keeps and changes its options, so each start has its own.
	srv, err := server.NewServer(&server.Options{
		ServerName: "bustest",
		Host:       "127.0.0.1",
		Port:       s.port,
		JetStream:  true,
		StoreDir:   s.dir,
		// Only a limit: a stream with max_bytes reserves it here, not on the disk.
		JetStreamMaxStore:  16 << 30,
		JetStreamMaxMemory: 64 << 20,
		SyncAlways:         true,
		NoLog:              true,
		NoSigs:             true,
	})
	if err != nil {
		return nil, err
	}
	go srv.Start() // Ends with Shutdown, which Stop waits for.
	if !srv.ReadyForConnections(deadline) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, fmt.Errorf("it accepted no connections on port %d within %v", s.port, deadline)
	}
	addr, ok := srv.Addr().(*net.TCPAddr)
	if !ok {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, errors.New("it has no TCP address")
	}
	s.port = addr.Port
	return srv, nil
}
