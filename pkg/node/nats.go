package node

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

// natsServer is the embedded server.
type natsServer struct {
	server *server.Server
	url    string
}

// startNATS starts a server with file-backed JetStream below dir, in which every write is on the disk before it is
// acknowledged. An empty address means connections from within the process alone.
func startNATS(addr, dir string, log zerolog.Logger) (*natsServer, error) {
	opts := &server.Options{
		ServerName: "engram", JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true, DontListen: addr == "",
		// One request of many observations, at the server's usual limit.
		MaxPayload: 1 << 20,
	}
	if addr != "" {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("the address for NATS %q is not host:port: %w", addr, err)
		}
		opts.Host = host
		if opts.Port, err = strconv.Atoi(port); err != nil {
			return nil, fmt.Errorf("the address for NATS %q has no number for its port", addr)
		}
		if opts.Port == 0 {
			opts.Port = server.RANDOM_PORT
		}
		// The server logs a taken port and goes on without; this one wants to be told.
		if opts.Port > 0 {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				return nil, fmt.Errorf("listening for NATS on %s: %w; choose a free host:port", addr, err)
			}
			if err := l.Close(); err != nil {
				return nil, fmt.Errorf("listening for NATS on %s: %w", addr, err)
			}
		}
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("starting the embedded NATS server: %w", err)
	}
	s.SetLoggerV2(&serverLog{log.With().Str("part", "nats").Logger()}, false, false, false)
	s.Start()
	n := &natsServer{server: s}
	if !s.ReadyForConnections(30 * time.Second) {
		n.stop()
		return nil, fmt.Errorf("the embedded NATS server was not ready within 30 s; its store is %s", dir)
	}
	if addr != "" {
		n.url = s.ClientURL()
	}
	return n, nil
}

func (n *natsServer) stop() {
	n.server.Shutdown()
	n.server.WaitForShutdown()
}

// serverLog passes the server's warnings and errors on; its notices are what an operator of a server wants, not one of
// a node.
type serverLog struct{ log zerolog.Logger }

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug().Msgf(format, v...) }
func (l *serverLog) Warnf(format string, v ...any)   { l.log.Warn().Msgf(format, v...) }
func (l *serverLog) Errorf(format string, v ...any)  { l.log.Error().Msgf(format, v...) }
func (l *serverLog) Fatalf(format string, v ...any)  { l.log.Error().Msgf(format, v...) }
func (l *serverLog) Debugf(format string, v ...any)  { l.log.Debug().Msgf(format, v...) }
func (l *serverLog) Tracef(format string, v ...any)  { l.log.Trace().Msgf(format, v...) }
