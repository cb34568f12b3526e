package bus

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// Defaults of Config.
const (
	DefaultURL            = nats.DefaultURL
	DefaultConnectTimeout = 5 * time.Second
	DefaultReconnectWait  = 500 * time.Millisecond
)

// pingInterval and maxPingsOut find a dead link, one that no reset tells of, in about 20 s.
const (
	pingInterval = 10 * time.Second
	maxPingsOut  = 2
)

// Config says where NATS is, and who we are to it. The zero value connects to DefaultURL without credentials.
type Config struct {
	// URL is one address or several, separated by commas. Default: the address of Context, else nats://127.0.0.1:4222.
	// It overrules the address of Context. Excludes InProcess.
	URL string `yaml:"url" usage:"address of NATS, or several separated by commas (default nats://127.0.0.1:4222)"`
	// Credentials is the path of a .creds file. Default: none. It overrules every other way to log in that Context has.
	// Excludes InProcess.
	Credentials string `yaml:"credentials" usage:"path of a NATS credentials file"`
	// Context is the name of a context of the nats command, or the path of its file: whatever has a path separator or
	// ends in .json. Default: none; the context selected in the nats command is not used. Excludes InProcess.
	Context string `yaml:"context" usage:"name of a NATS context, or the path of its .json file"`
	// NKey is the path of a file with the seed of an nkey. Default: none. It overrules every other way to log in that Context
	// has. Excludes Credentials and InProcess.
	NKey string `yaml:"nkey" usage:"path of a file with the seed of an nkey to log in to NATS with"`
	// InboxPrefix begins the subjects that answers come to, and must be what the user may subscribe to. Default: that of
	// Context, else "_INBOX". It must begin with that: Engram answers nowhere else, see IsInbox.
	InboxPrefix string `yaml:"inbox_prefix" usage:"what begins the subjects of answers, such as _INBOX_<user>, where the NATS user has its own (default _INBOX)"`
	// TLS is for servers with a certificate that this machine does not know, and those that want one.
	TLS TLSConfig `yaml:"tls"`
	// Name is what the server's connection list shows. Default: "engram".
	Name string `yaml:"name" usage:"name of this client in the server's connection list"`
	// ConnectTimeout bounds one attempt to connect to one address. Default: 5 s.
	ConnectTimeout time.Duration `yaml:"connect_timeout" default:"5s" min:"1ms" usage:"time for one attempt to connect to one NATS server"`
	// ReconnectWait is the pause between two attempts at the same address; up to half of it is added at random. Default:
	// 500 ms.
	ReconnectWait time.Duration `yaml:"reconnect_wait" default:"500ms" min:"1ms" usage:"pause between two attempts to reconnect to NATS"`

	// FailFast makes Connect fail when the first round of attempts does, as a command wants it. Default: false, as a
	// daemon wants it, which may be started before its NATS server; a login that is refused is then tried again too.
	FailFast bool `yaml:"-"`
	// InProcess is an embedded server to connect to without a socket. Default: nil. Excludes URL, Credentials, Context.
	InProcess nats.InProcessConnProvider `yaml:"-"`
	// Options are added to those that follow from the rest. Default: none.
	Options []nats.Option `yaml:"-"`
	// Log receives the events of the connection: up, down, and why. Default: nothing is logged.
	Log zerolog.Logger `yaml:"-"`
}

// TLSConfig says whom to believe to be the server, and who we are to it. The files are read for each connection, so what
// replaces them holds from the next one on. Default: what Context says, and the certificates of the machine.
type TLSConfig struct {
	CA   string `yaml:"ca" usage:"certificates, in PEM, that sign that of the NATS server"`
	Cert string `yaml:"cert" usage:"certificate of this client for NATS, in PEM"`
	Key  string `yaml:"key" usage:"private key of that certificate, in PEM"`
}

func (t *TLSConfig) options() ([]nats.Option, error) {
	if (t.Cert == "") != (t.Key == "") {
		return nil, errors.New("of nats.tls.cert and nats.tls.key only one is set; a client certificate needs both")
	}
	for _, path := range []string{t.CA, t.Cert, t.Key} {
		if path == "" {
			continue
		}
		if err := readable(path); err != nil {
			return nil, fmt.Errorf("TLS of NATS: %w", err)
		}
	}
	var opts []nats.Option
	if t.CA != "" {
		opts = append(opts, nats.RootCAs(t.CA))
	}
	if t.Cert != "" {
		opts = append(opts, nats.ClientCert(t.Cert, t.Key))
	}
	return opts, nil
}

// inboxForm are prefixes of subjects without wildcards, of at least one token.
var inboxForm = regexp.MustCompile(`^[^\s.*>]+(\.[^\s.*>]+)*$`)

// checkInbox refuses a prefix under which no answer would be heard.
func checkInbox(prefix string) error {
	if !inboxForm.MatchString(prefix) {
		return fmt.Errorf("the inbox prefix %q is not the beginning of a subject, such as _INBOX_me", prefix)
	}
	if !IsInbox(prefix + ".x") {
		return fmt.Errorf("the inbox prefix %q is neither _INBOX nor begins with _INBOX_ or _INBOX., and Engram answers nowhere else", prefix)
	}
	return nil
}

// login returns what the configuration itself says of TLS, the inbox and how to log in.
func (cfg *Config) login() ([]nats.Option, error) {
	opts, err := cfg.TLS.options()
	if err != nil {
		return nil, err
	}
	if cfg.InboxPrefix != "" {
		if err := checkInbox(cfg.InboxPrefix); err != nil {
			return nil, err
		}
		opts = append(opts, nats.CustomInboxPrefix(cfg.InboxPrefix))
	}
	switch {
	case cfg.NKey != "" && cfg.Credentials != "":
		return nil, errors.New("nkey and credentials are two ways to log in to NATS; remove one")
	case cfg.NKey != "":
		opt, err := nats.NkeyOptionFromSeed(cfg.NKey)
		if err != nil {
			return nil, fmt.Errorf("the nkey of NATS in %s: %w", cfg.NKey, err)
		}
		opts = append(opts, opt)
	case cfg.Credentials != "":
		if err := readable(cfg.Credentials); err != nil {
			return nil, fmt.Errorf("NATS credentials: %w", err)
		}
		opts = append(opts, nats.UserCredentials(cfg.Credentials))
	}
	return append(opts, cfg.Options...), nil
}

// Conn is a connection and its JetStream. It may be used by any number of goroutines; whoever made it closes it.
type Conn struct {
	// NC and JS are the client library's own. NC must be closed by Close or Drain of this type only.
	NC *nats.Conn
	JS jetstream.JetStream

	closed chan struct{}
}

// Connect opens a connection that reconnects for ever. Unless FailFast is set it returns before NATS has been reached;
// WaitConnected waits for that. An error is about the configuration: an address that is none, a file that cannot be read.
func Connect(cfg Config) (*Conn, error) {
	c := &Conn{closed: make(chan struct{})}
	opts, scope, err := cfg.options(c.closed)
	if err != nil {
		return nil, err
	}
	addr := cfg.URL
	if addr == "" {
		addr = DefaultURL
	}
	if cfg.InProcess == nil {
		if err := checkAddresses(addr); err != nil {
			return nil, err
		}
	}
	c.NC, err = nats.Connect(addr, opts...)
	if err != nil {
		if cfg.InProcess != nil {
			return nil, fmt.Errorf("connecting to the embedded NATS server: %w", err)
		}
		return nil, fmt.Errorf("connecting to NATS at %s: %w; check that a server runs there and accepts this login", redact(addr), err)
	}
	if c.JS, err = newJetStream(c.NC, scope); err != nil {
		c.Close()
		return nil, fmt.Errorf("opening JetStream: %w", err)
	}
	return c, nil
}

// options returns the client library's options, whose last callback closes closed, and takes the address of Context into cfg.
func (cfg *Config) options(closed chan struct{}) ([]nats.Option, jetStreamScope, error) {
	if cfg.InProcess != nil && (cfg.URL != "" || cfg.Credentials != "" || cfg.Context != "" || cfg.NKey != "") {
		return nil, jetStreamScope{}, errors.New("an embedded NATS server excludes an address, credentials and a context: remove them")
	}
	if cfg.ConnectTimeout < 0 || cfg.ReconnectWait < 0 {
		return nil, jetStreamScope{}, fmt.Errorf("connect timeout %v and reconnect wait %v must not be negative", cfg.ConnectTimeout, cfg.ReconnectWait)
	}
	timeout, wait, name := cfg.ConnectTimeout, cfg.ReconnectWait, cfg.Name
	if timeout == 0 {
		timeout = DefaultConnectTimeout
	}
	if wait == 0 {
		wait = DefaultReconnectWait
	}
	if name == "" {
		name = "engram"
	}
	opts := []nats.Option{
		nats.Name(name),
		nats.Timeout(timeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(wait),
		nats.ReconnectJitter(wait/2, wait/2),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPingsOut),
		nats.RetryOnFailedConnect(!cfg.FailFast),
		// No buffer: see "Outages" in the package comment.
		nats.ReconnectBufSize(-1),
	}
	if !cfg.FailFast {
		// The library gives up for good after the same refusal twice, which is also what a rotation of credentials
		// looks like. A daemon that has stopped trying without ending is the worst of outcomes.
		opts = append(opts, nats.IgnoreAuthErrorAbort())
	}
	opts = append(opts, newEvents(cfg.Log, cfg.InProcess != nil).options(closed)...)

	var scope jetStreamScope
	switch {
	case cfg.InProcess != nil:
		opts = append(opts, nats.InProcessServer(cfg.InProcess))
	case cfg.Context != "":
		file, err := loadContext(cfg.Context)
		if err != nil {
			return nil, scope, err
		}
		scope = jetStreamScope{domain: file.Domain, prefix: file.APIPrefix}
		if cfg.URL == "" {
			cfg.URL = file.URL
		}
		more, err := file.options(cfg.Credentials == "" && cfg.NKey == "")
		if err != nil {
			return nil, scope, fmt.Errorf("NATS context %q: %w", cfg.Context, err)
		}
		opts = append(opts, more...)
	}
	own, err := cfg.login()
	return append(opts, own...), scope, err
}

// jetStreamScope is where the JetStream API is, when it is not in the default place. At most one of them is set.
type jetStreamScope struct{ domain, prefix string }

func newJetStream(nc *nats.Conn, scope jetStreamScope) (jetstream.JetStream, error) {
	switch {
	case scope.prefix != "":
		return jetstream.NewWithAPIPrefix(nc, scope.prefix)
	case scope.domain != "":
		return jetstream.NewWithDomain(nc, scope.domain)
	default:
		return jetstream.New(nc)
	}
}

// WaitConnected returns nil as soon as the connection is up, and an error when ctx ends first or the connection is closed.
func (c *Conn) WaitConnected(ctx context.Context) error {
	// Listening begins before looking, so that a change between the two is not missed.
	changes := c.NC.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer c.NC.RemoveStatusListener(changes)
	for {
		switch c.NC.Status() {
		case nats.CONNECTED:
			return nil
		case nats.CLOSED:
			return nats.ErrConnectionClosed
		}
		select {
		case <-changes:
		case <-ctx.Done():
			reason := c.NC.LastError()
			if reason == nil {
				reason = nats.ErrNoServers
			}
			return fmt.Errorf("waiting for NATS: %w (last attempt: %w)", ctx.Err(), reason)
		}
	}
}

// Drain stops the subscriptions, lets their callbacks finish with what has been received, flushes, closes, and waits
// for all of it. When ctx ends first, the rest is dropped, and the error says so. While NATS is away there is nothing to
// drain, and it closes at once.
func (c *Conn) Drain(ctx context.Context) error {
	err := c.NC.Drain()
	if errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, nats.ErrConnectionClosed) {
		c.Close()
		return nil
	}
	if err != nil {
		c.Close()
		return fmt.Errorf("draining the NATS connection: %w", err)
	}
	select {
	case <-c.closed:
		return nil
	case <-ctx.Done():
		c.Close()
		return fmt.Errorf("draining the NATS connection: %w; what was still in flight is dropped", ctx.Err())
	}
}

// Close closes the connection at once and waits for its callbacks. It must not be called from one of them. Closing twice
// is allowed.
func (c *Conn) Close() {
	c.NC.Close()
	<-c.closed
}

// checkAddresses refuses what can be no address, which the library would go on trying. It reads them as the library does.
func checkAddresses(addrs string) error {
	for i, addr := range strings.Split(addrs, ",") {
		if addr = strings.TrimSpace(addr); !strings.Contains(addr, "://") {
			addr = "nats://" + addr
		}
		u, err := url.Parse(addr)
		if err != nil || u.Hostname() == "" || strings.Contains(u.Hostname(), ":") && !strings.HasPrefix(u.Host, "[") {
			// Without the error, which quotes a password.
			return fmt.Errorf("address %d of NATS is no URL such as nats://host:4222", i+1)
		}
		if !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return fmt.Errorf("address %d of NATS begins with %s://; it can be nats://, tls://, ws:// or wss://", i+1, u.Scheme)
		}
	}
	return nil
}

// redact takes passwords and tokens out of a list of addresses.
func redact(addrs string) string {
	list := strings.Split(addrs, ",")
	for i, addr := range list {
		u, err := url.Parse(strings.TrimSpace(addr))
		switch {
		case err != nil:
			list[i] = "(not an address)"
		case u.User != nil:
			u.User = url.User("xxxxx")
			list[i] = u.String()
		}
	}
	return strings.Join(list, ",")
}
