package daemon

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/tlsconf"
)

// ListenConfig is what all listeners of a process have in common: who may connect, and for how long.
type ListenConfig struct {
	// Insecure lets everybody who can reach an address do everything.
	Insecure bool           `yaml:"insecure" default:"false" usage:"listen beyond loopback without authentication: everybody who reaches an address may do everything"`
	Auth     auth.Config    `yaml:"auth"`
	TLS      tlsconf.Server `yaml:"tls"`
	Server   ServerConfig   `yaml:"limits"`
}

// ServerConfig bounds what a client of HTTP can hold. The zero value of each field means its default.
type ServerConfig struct {
	MaxHeaderBytes    int           `yaml:"max_header_bytes" default:"32768" min:"4096" max:"1048576" usage:"bytes of the headers of a request"`
	ReadHeaderTimeout time.Duration `yaml:"read_header_timeout" default:"10s" min:"10ms" usage:"time for the headers of a request, and for the handshake of TLS"`
	ReadTimeout       time.Duration `yaml:"read_timeout" default:"60s" min:"10ms" usage:"time for the body of a request, and for each pause in one that is a stream"`
	WriteTimeout      time.Duration `yaml:"write_timeout" default:"60s" min:"10ms" usage:"time in which a client takes a part of an answer"`
	IdleTimeout       time.Duration `yaml:"idle_timeout" default:"2m" min:"10ms" usage:"time for which a connection without a request is kept"`
	MaxConnections    int           `yaml:"max_connections" default:"20000" min:"1" max:"1000000" usage:"connections at once; others wait"`
}

func (c ServerConfig) withDefaults() ServerConfig {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.ReadHeaderTimeout, 10 * time.Second}, {&c.ReadTimeout, time.Minute}, {&c.WriteTimeout, time.Minute}, {&c.IdleTimeout, 2 * time.Minute},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.MaxHeaderBytes == 0 {
		c.MaxHeaderBytes = 32 << 10
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 20_000
	}
	return c
}

// Address is one to listen on, with the key of the configuration that it is from.
type Address struct{ Key, Addr string }

// Validate tells what cannot be, such as an address beyond loopback without authentication.
func (c *ListenConfig) Validate(addresses ...Address) error {
	if err := c.Auth.Validate(); err != nil {
		return err
	}
	if err := c.TLS.Validate(); err != nil {
		return err
	}
	for _, a := range addresses {
		if _, _, err := net.SplitHostPort(a.Addr); a.Addr != "" && err != nil {
			return fmt.Errorf("%s is %q, which is no address to listen on; choose a free host:port", a.Key, a.Addr)
		}
		if a.Addr != "" && !auth.Loopback(a.Addr) && !c.Auth.Enabled() && !c.Insecure {
			return fmt.Errorf("%s is %s, where others than this machine can connect, and there is no authentication: set auth.file or auth.jwt "+
				"(docs/operating/security.md), listen on 127.0.0.1, or say --insecure", a.Key, a.Addr)
		}
	}
	return nil
}

// Listeners opens the listeners of a process. Its methods are for one goroutine.
type Listeners struct {
	cfg  ListenConfig
	auth *auth.Authenticator // nil for none
	log  zerolog.Logger
}

// NewListeners reads the principals and certificates; Close ends the look at their files, after what they serve has ended.
func NewListeners(cfg ListenConfig, log zerolog.Logger) (*Listeners, error) {
	cfg.Server = cfg.Server.withDefaults()
	l := &Listeners{cfg: cfg, log: log}
	if cfg.Auth.Enabled() {
		var err error
		if l.auth, err = auth.New(cfg.Auth, log); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Close is called when the listeners are closed.
func (l *Listeners) Close() error {
	if l.auth == nil {
		return nil
	}
	return l.auth.Close()
}

// HTTP listens on an address and serves the handlers to those who may ask them.
func (l *Listeners) HTTP(addr string, handlers ...http.Handler) (*HTTPServer, error) {
	tlsConfig, err := l.prepare("http", addr, "h2", "http/1.1")
	if err != nil {
		return nil, err
	}
	return listenHTTP(addr, l.cfg.Server, tlsConfig, l.guard(addr, merge(handlers)))
}

// guard puts who asks into the context of a request.
func (l *Listeners) guard(addr string, next http.Handler) http.Handler {
	if l.auth == nil {
		return auth.Open(auth.Loopback(addr), next)
	}
	return l.auth.Handler(next)
}

// Metrics serves /metrics to those who may read it, and /healthz and /readyz to everybody.
func (l *Listeners) Metrics(addr string, gatherer prometheus.Gatherer, checks metrics.Checks) (*metrics.Server, error) {
	tlsConfig, err := l.prepare("metrics", addr, "h2", "http/1.1")
	if err != nil {
		return nil, err
	}
	opt := metrics.Options{TLS: tlsConfig}
	if l.auth != nil {
		opt.Guard = l.auth.OnlyMetrics
	}
	return metrics.ServeWith(addr, gatherer, checks, opt)
}

// TLS returns what a listener that is no HTTP answers with; nil for no TLS.
func (l *Listeners) TLS() (*tls.Config, error) { return l.cfg.TLS.Config(l.log) }

func (l *Listeners) prepare(key, addr string, protocols ...string) (*tls.Config, error) {
	// A part that a program makes of its own comes by no validation of a configuration.
	if err := l.cfg.Validate(Address{key, addr}); err != nil {
		return nil, err
	}
	switch exposed := !auth.Loopback(addr); {
	case exposed && l.auth == nil:
		l.log.Warn().Str(key, addr).Msg("insecure: everybody who reaches this address may do everything")
	case exposed && !l.cfg.TLS.Enabled():
		l.log.Warn().Str(key, addr).Msg("there is no TLS: tokens and data go over the network as they are; set tls.cert, or have something before this address that speaks TLS")
	}
	return l.cfg.TLS.Config(l.log, protocols...)
}

// limited accepts at most so many connections at once.
type limited struct {
	net.Listener
	free chan struct{}
	done chan struct{}
}

func limit(l net.Listener, n int) *limited {
	return &limited{Listener: l, free: make(chan struct{}, n), done: make(chan struct{})}
}

// Accept waits until one of the connections is closed where there are too many.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &limitedConn{Conn: c, free: l.free, open: make(chan struct{}, 1)}, nil
}

// Close ends the listener. It is called once, by the server.
func (l *limited) Close() error {
	select {
	case <-l.done:
		return nil
	default:
	}
	close(l.done)
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	free chan struct{}
	open chan struct{} // takes one: the first Close
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	select {
	case c.open <- struct{}{}:
		<-c.free
	default:
	}
	return err
}
