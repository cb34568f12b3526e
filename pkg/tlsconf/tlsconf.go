// Package tlsconf makes the TLS of listeners out of files, which may be replaced while it serves: a connection that begins
// a second after that has the new certificate.
package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Server says with which certificate a listener answers, and which of its clients' it believes. The zero value is no TLS.
type Server struct {
	Cert string `yaml:"cert" usage:"certificate of the listeners, with those above it, in PEM; they speak TLS when it is set"`
	Key  string `yaml:"key" usage:"private key of the certificate, in PEM"`
	// ClientCA makes a client's certificate count, where it presents one.
	ClientCA string `yaml:"client_ca" usage:"certificates, in PEM, that sign those of clients"`
	// RequireClient refuses clients that present none.
	RequireClient bool `yaml:"require_client" default:"false" usage:"refuse clients without a certificate that client_ca has signed, on every listener"`
}

// Enabled tells that there is TLS.
func (s *Server) Enabled() bool { return s.Cert != "" }

// Validate tells what cannot be.
func (s *Server) Validate() error {
	switch {
	case (s.Cert == "") != (s.Key == ""):
		return errors.New("of tls.cert and tls.key only one is set; a listener needs both")
	case s.Cert == "" && s.ClientCA != "":
		return errors.New("tls.client_ca is set, and tls.cert is not; certificates of clients need TLS")
	case s.RequireClient && s.ClientCA == "":
		return errors.New("tls.require_client is set, and tls.client_ca is not; name who signs the certificates of clients")
	}
	return nil
}

// lookAgain is how old the knowledge of the files may be when a connection begins.
const lookAgain = time.Second

// Config returns the configuration of a listener for these protocols of ALPN ("h2"), nil where there is no TLS. An error
// is about a file. What cannot be read later on is logged, and the certificate that was there before stays.
func (s *Server) Config(log zerolog.Logger, protocols ...string) (*tls.Config, error) {
	if err := s.Validate(); err != nil || !s.Enabled() {
		return nil, err
	}
	f := &files{cfg: *s, protocols: protocols, log: log, now: time.Now}
	if err := f.load(); err != nil {
		return nil, err
	}
	f.looked = f.now()
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.current(), nil },
		// For those who only look whether there is one.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &f.current().Certificates[0], nil },
		ClientAuth:     s.clientAuth(),
	}, nil
}

func (s *Server) clientAuth() tls.ClientAuthType {
	switch {
	case s.RequireClient:
		return tls.RequireAndVerifyClientCert
	case s.ClientCA != "":
		return tls.VerifyClientCertIfGiven
	}
	return tls.NoClientCert
}

// files has what the files said when they were last read.
type files struct {
	cfg       Server
	protocols []string
	log       zerolog.Logger
	now       func() time.Time

	mu     sync.Mutex
	looked time.Time
	text   [3]string // cert, key, client_ca
	config *tls.Config
	told   string // the last failure, so that it is logged once
}

func (f *files) current() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); now.Sub(f.looked) >= lookAgain {
		f.looked = now
		err := f.load()
		switch {
		case err == nil:
			f.told = ""
		case err.Error() != f.told:
			f.told = err.Error()
			f.log.Error().Err(err).Msg("the certificate stays the one of before")
		}
	}
	return f.config
}

// load reads the files. A new configuration is another one, so that no session of an old certificate is taken up again.
func (f *files) load() error {
	var text [3]string
	for i, path := range []string{f.cfg.Cert, f.cfg.Key, f.cfg.ClientCA} {
		if path == "" {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("reading what TLS needs: %w", err)
		}
		text[i] = string(b)
	}
	if f.config != nil && text == f.text {
		return nil
	}
	pair, err := tls.X509KeyPair([]byte(text[0]), []byte(text[1]))
	if err != nil {
		return fmt.Errorf("the certificate %s and the key %s: %w", f.cfg.Cert, f.cfg.Key, err)
	}
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: slices.Clone(f.protocols), Certificates: []tls.Certificate{pair}, ClientAuth: f.cfg.clientAuth(),
	}
	if f.cfg.ClientCA != "" {
		c.ClientCAs = x509.NewCertPool()
		if !c.ClientCAs.AppendCertsFromPEM([]byte(text[2])) {
			return fmt.Errorf("%s has no certificate in PEM that could sign those of clients", f.cfg.ClientCA)
		}
	}
	if f.config != nil {
		f.log.Info().Str("cert", f.cfg.Cert).Time("until", pair.Leaf.NotAfter).Msg("read the certificate again")
	}
	f.text, f.config = text, c
	return nil
}
