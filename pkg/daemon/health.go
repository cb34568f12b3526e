package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/engram-memory/engram/pkg/config"
	"github.com/engram-memory/engram/pkg/tlsconf"
)

// commandHealth is the first argument of a program that asks another process instead of serving.
const commandHealth = "health"

// healthTimeout bounds the question, and maxHealth what is read of the answer.
const (
	healthTimeout = 5 * time.Second
	maxHealth     = 4 << 10
)

// health asks the process that runs with the same configuration whether it is ready, for the checks of a container that
// has no other program. An error says why it is not.
func (p Program[C]) health(ctx context.Context, args, env []string, stdout io.Writer) error {
	cfg, err := p.load(args, env, stdout)
	if errors.Is(err, config.ErrHelp) || errors.Is(err, config.ErrPrinted) {
		return nil
	}
	if err != nil {
		return err
	}
	common, _ := p.Common(&cfg)
	answer, err := askReady(ctx, common.Metrics, common.Listen.TLS)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, answer)
	return err
}

// askReady returns what /readyz answers on an address of this machine.
func askReady(ctx context.Context, addr string, cert tlsconf.Server) (string, error) {
	if addr == "" {
		return "", configError{errors.New("metrics is empty, so nothing answers whether the process is ready; set it, to 127.0.0.1:9090 for instance")}
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", configError{fmt.Errorf("metrics is %q, which is no address", addr)}
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	transport := &http.Transport{DisableKeepAlives: true}
	scheme := "http"
	if cert.Enabled() {
		scheme = "https"
		if transport.TLSClientConfig, err = ownCertificate(cert); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return "", configError{fmt.Errorf("metrics is %q, which is no address: %w", addr, err)}
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", fmt.Errorf("nothing says whether it is ready: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxHealth))
	if err != nil {
		return "", fmt.Errorf("reading whether it is ready: %w", err)
	}
	answer := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("it is not ready: %d %s", resp.StatusCode, answer)
	}
	return answer, nil
}

// ownCertificate believes the certificate that the process itself answers with and no other, and shows it where
// certificates of clients are asked for.
func ownCertificate(cert tlsconf.Server) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cert.Cert, cert.Key)
	if err != nil {
		return nil, fmt.Errorf("the certificate %s and the key %s: %w", cert.Cert, cert.Key, err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair},
		// The name in it is another one than that of this machine for itself; the certificate is compared instead.
		InsecureSkipVerify: true,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 || string(raw[0]) != string(pair.Certificate[0]) {
				return fmt.Errorf("another certificate than that of %s was shown", cert.Cert)
			}
			return nil
		},
	}, nil
}
