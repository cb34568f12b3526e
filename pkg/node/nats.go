package node

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// natsServer is the embedded server.
type natsServer struct {
	server *server.Server
	url    string
	// login is how the node itself connects.
	login []nats.Option
}

// startNATS starts a server with file-backed JetStream below dir, in which every write is on the disk before it is
// acknowledged. An empty address means connections from within the process alone. users is the path of a configuration
// with accounts and users, empty for none.
func startNATS(addr, dir, users string, tlsConfig *tls.Config, log zerolog.Logger) (*natsServer, error) {
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
	n := &natsServer{}
	if addr != "" && tlsConfig != nil {
		opts.TLS, opts.TLSConfig = true, tlsConfig
	}
	if users != "" {
		var err error
		if n.login, err = addUsers(opts, users); err != nil {
			return nil, err
		}
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("starting the embedded NATS server: %w", err)
	}
	s.SetLoggerV2(&serverLog{log.With().Str("part", "nats").Logger()}, false, false, false)
	s.Start()
	n.server = s
	if !s.ReadyForConnections(30 * time.Second) {
		n.stop()
		return nil, fmt.Errorf("the embedded NATS server was not ready within 30 s; its store is %s", dir)
	}
	if addr != "" {
		n.url = s.ClientURL()
	}
	return n, nil
}

// accountName is the account of a configuration in which Engram is.
const accountName = "ENGRAM"

// addUsers takes the accounts and users of a configuration over, and its tls where it has one. The node itself is a user
// that is made for this process, with a password that nobody else has.
func addUsers(opts *server.Options, path string) ([]nats.Option, error) {
	conf, err := server.ProcessConfigFile(path)
	if err != nil {
		return nil, fmt.Errorf("nats_auth: reading %s: %w", path, err)
	}
	if conf.Username != "" || conf.Authorization != "" || conf.TrustedOperators != nil || conf.AuthCallout != nil || conf.NoAuthUser != "" {
		return nil, fmt.Errorf("nats_auth: %s has a login that is none of a user of accounts; the node can take accounts with their users, and no others", path)
	}
	own := &server.User{Username: "engram-node", Password: rand.Text()}
	for _, a := range conf.Accounts {
		if a.GetName() == accountName {
			own.Account = a
		}
	}
	if own.Account == nil || len(conf.Users)+len(conf.Nkeys) == 0 {
		return nil, fmt.Errorf("nats_auth: %s has no account %s with users; deployments/nats/accounts.conf has one", path, accountName)
	}
	for _, u := range conf.Users {
		if u.Username == own.Username {
			return nil, fmt.Errorf("nats_auth: %s has a user %s, which is the name of the node itself", path, own.Username)
		}
	}
	opts.Accounts, opts.Users, opts.Nkeys, opts.SystemAccount = conf.Accounts, append(conf.Users, own), conf.Nkeys, conf.SystemAccount
	if conf.TLSConfig != nil {
		opts.TLS, opts.TLSConfig, opts.TLSVerify, opts.TLSMap, opts.TLSTimeout = true, conf.TLSConfig, conf.TLSVerify, conf.TLSMap, conf.TLSTimeout
	}
	return []nats.Option{nats.UserInfo(own.Username, own.Password)}, nil
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
