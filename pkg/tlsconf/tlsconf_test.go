package tlsconf

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/tlsconf/tlstest"
)

// handshake connects once, and returns the name in the server's certificate.
func handshake(t *testing.T, server, client *tls.Config) (name string, err error) {
	t.Helper()
	a, b := net.Pipe()
	named := client.Clone()
	named.ServerName = "localhost"
	s, c := tls.Server(a, server), tls.Client(b, named)
	done := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte{1})
		}
		done <- errors.Join(err, a.Close())
	}()
	if err = c.Handshake(); err == nil {
		// With TLS 1.3 a client learns of the refusal of its certificate only when it reads.
		_, err = c.Read(make([]byte, 1))
		name = c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	_ = b.Close()
	return name, errors.Join(err, <-done)
}

func TestReplacedFiles(t *testing.T) {
	ca := tlstest.New(t)
	cert, key := ca.Issue("server", "first")
	var log strings.Builder
	f := &files{cfg: Server{Cert: cert, Key: key}, log: zerolog.New(&log)}
	now := time.Unix(1e9, 0)
	f.now = func() time.Time { return now }
	if err := f.load(); err != nil {
		t.Fatal(err)
	}
	f.looked = now
	server := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.current(), nil }}
	expect := func(want string) {
		t.Helper()
		if got, err := handshake(t, server, ca.Client("", "")); err != nil || got != want {
			t.Fatalf("the certificate is that of %q, want %q: %v", got, want, err)
		}
	}
	expect("first")
	old, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	ca.Issue("server", "second")
	expect("first") // it was looked at just now
	now = now.Add(lookAgain)
	expect("second")

	// A key that does not belong to its certificate, as between the writes of two files, changes nothing and is told once.
	ca.Issue("server", "third")
	if err := os.WriteFile(key, old, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		now = now.Add(lookAgain)
		expect("second")
	}
	if n := strings.Count(log.String(), "stays the one of before"); n != 1 {
		t.Errorf("it was told %d times:\n%s", n, log.String())
	}
	ca.Issue("server", "fourth")
	now = now.Add(lookAgain)
	expect("fourth")
}

func TestCertificatesOfClients(t *testing.T) {
	ca, stranger := tlstest.New(t), tlstest.New(t)
	cert, key := ca.Issue("server", "server")
	ownCert, ownKey := ca.Issue("client", "client")
	otherCert, otherKey := stranger.Issue("client", "client")
	for _, tc := range []struct {
		name    string
		require bool
		client  *tls.Config
		ok      bool
	}{
		{"one that is signed", false, ca.Client(ownCert, ownKey), true}, {"none", false, ca.Client("", ""), true},
		{"a stranger's", false, ca.Client(otherCert, otherKey), true}, // the client does not send what the server would not believe
		{"one that is signed, required", true, ca.Client(ownCert, ownKey), true}, {"none, required", true, ca.Client("", ""), false},
		{"a stranger's, required", true, ca.Client(otherCert, otherKey), false},
	} {
		s := Server{Cert: cert, Key: key, ClientCA: ca.File, RequireClient: tc.require}
		server, err := s.Config(zerolog.Nop(), "h2")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := handshake(t, server, tc.client); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	// Whoever does send it is refused.
	s := Server{Cert: cert, Key: key, ClientCA: ca.File}
	server, err := s.Config(zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	client := ca.Client(otherCert, otherKey)
	pair := client.Certificates[0]
	client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	if _, err := handshake(t, server, client); err == nil {
		t.Error("a stranger's certificate was believed")
	}
	old := ca.Client("", "")
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err := handshake(t, server, old); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
}

func TestWhatCannotBe(t *testing.T) {
	ca := tlstest.New(t)
	cert, key := ca.Issue("server", "server")
	for want, s := range map[string]Server{
		"only one is set": {Cert: cert}, "only one": {Key: key}, "need TLS": {ClientCA: ca.File},
		"name who signs": {Cert: cert, Key: key, RequireClient: true}, "no such file": {Cert: cert + "x", Key: key},
		"has no certificate": {Cert: cert, Key: key, ClientCA: key}, "the key": {Cert: cert, Key: cert},
	} {
		if _, err := s.Config(zerolog.Nop()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
	none := Server{}
	if c, err := none.Config(zerolog.Nop()); c != nil || err != nil {
		t.Errorf("nothing became %v, %v", c, err)
	}
}
