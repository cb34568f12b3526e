package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/wire"
)

// Authenticator knows the principals. Its methods may be called concurrently.
type Authenticator struct {
	cfg      Config
	log      zerolog.Logger
	table    atomic.Pointer[table]
	sum      [sha256.Size]byte // of the file that table is from; the reloader's
	jwt      *verifier         // nil for none
	rates    *limits           // nil for none
	failures *limits           // nil for none
	now      func() time.Time

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// failureBurst is how many logins of one address may fail at once.
const failureBurst = 20

// New reads the principals and the keys, and looks at their files for changes until Close. An error is about the
// configuration or a file.
func New(cfg Config, log zerolog.Logger) (*Authenticator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	a := &Authenticator{cfg: cfg.withDefaults(), log: log.With().Str("part", "auth").Logger(), now: time.Now}
	a.table.Store(&table{})
	if cfg.File != "" {
		t, text, err := readTable(cfg.File)
		if err != nil {
			return nil, err
		}
		a.sum = sha256.Sum256(text)
		a.table.Store(t)
		a.log.Info().Str("file", cfg.File).Int("lines", t.lines).Msg("read the principals")
	}
	if cfg.JWT.enabled() {
		var err error
		if a.jwt, err = newVerifier(a.cfg.JWT, a.log); err != nil {
			return nil, err
		}
	}
	if r := a.cfg.Rate; r.Requests > 0 {
		a.rates = newLimits(r.Requests, r.Burst, r.Principals)
	}
	if r := a.cfg.Rate; r.Failures > 0 {
		a.failures = newLimits(r.Failures, failureBurst, r.Principals)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.done.Go(func() { a.follow(ctx) })
	return a, nil
}

// Close ends the look at the files.
func (a *Authenticator) Close() error {
	a.cancel()
	a.done.Wait()
	return nil
}

// follow reloads what has changed. What cannot be read is told once, and the principals and keys stay those of before.
func (a *Authenticator) follow(ctx context.Context) {
	tick := time.NewTicker(a.cfg.Reload)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := a.reload()
		if err == nil && a.jwt != nil {
			err = a.jwt.keys.refreshOld(ctx)
		}
		switch {
		case err == nil:
			told = ""
		case err.Error() != told:
			told = err.Error()
			a.log.Error().Err(err).Msg("the principals and keys stay as they are")
		}
	}
}

func (a *Authenticator) reload() error {
	if a.cfg.File != "" {
		t, text, err := readTable(a.cfg.File)
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(text); !bytes.Equal(sum[:], a.sum[:]) {
			a.sum = sum
			a.table.Store(t)
			a.log.Info().Str("file", a.cfg.File).Int("lines", t.lines).Msg("read the principals again")
		}
	}
	if a.jwt == nil {
		return nil
	}
	changed, err := a.jwt.keys.reload()
	if changed {
		a.log.Info().Msg("read the keys of JSON web tokens again")
	}
	return err
}

// Authenticate returns who sends a request: the bearer of its token, else who its verified certificate names.
func (a *Authenticator) Authenticate(r *http.Request) (*Principal, *wire.Error) {
	token, present, err := bearer(r.Header.Values("Authorization"))
	if err != nil {
		return nil, err
	}
	if present {
		return a.byToken(r.Context(), token)
	}
	return a.byCertificate(r)
}

// bearer returns the token of the header Authorization.
func bearer(values []string) (token string, present bool, err *wire.Error) {
	switch len(values) {
	case 0:
		return "", false, nil
	case 1:
	default:
		return "", true, unauthenticated("the request has the header Authorization more than once")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.Trim(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", true, unauthenticated("the header Authorization is not Bearer <token>, which is all that is known here")
	}
	if len(token) > maxBearer || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", true, unauthenticated("the header Authorization has something behind Bearer that can be no token")
	}
	return token, true, nil
}

func (a *Authenticator) byToken(ctx context.Context, token string) (*Principal, *wire.Error) {
	if e, ok := a.table.Load().byToken(token); ok {
		if e.principal.expired(a.now()) {
			return nil, unauthenticated("the token of %s has expired; ask for a new one", e.principal.Name)
		}
		return e.principal, nil
	}
	if a.jwt != nil && looksLikeJWT(token) {
		return a.jwt.verify(ctx, token)
	}
	return nil, unauthenticated("the token is not known here")
}

// byCertificate goes by the client's certificate, of which the listener has verified the chain.
func (a *Authenticator) byCertificate(r *http.Request) (*Principal, *wire.Error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil, unauthenticated("the request carries no credentials; send a token as Authorization: Bearer <token>")
	}
	leaf := r.TLS.VerifiedChains[0][0]
	names := make([]string, 0, 2)
	for _, u := range leaf.URIs {
		names = append(names, "URI:"+u.String())
	}
	if leaf.Subject.CommonName != "" {
		names = append(names, "CN:"+leaf.Subject.CommonName)
	}
	certs := a.table.Load().certs
	for _, name := range names {
		if e, ok := certs[name]; ok {
			if e.principal.expired(a.now()) {
				return nil, unauthenticated("the line of the certificate of %s has expired", e.principal.Name)
			}
			return e.principal, nil
		}
	}
	return nil, unauthenticated("the certificate of the client is that of no principal here")
}

// failed counts a login that failed, logs it, and returns what to answer: a 429 once an address fails too often.
func (a *Authenticator) failed(r *http.Request, refused *wire.Error) *wire.Error {
	from := address(r.RemoteAddr)
	if a.failures != nil {
		if wait := a.failures.take(a.now(), from, 1); wait > 0 {
			e := wire.Errorf(wire.CodeRateLimited, "", "too many logins from this address have failed; try again later with credentials that hold")
			e.RetryAfter = wait
			return e
		}
	}
	// Never a header: what is wrong as a token here may be right elsewhere.
	a.log.Warn().Str("from", from).Str("method", r.Method).Str("path", clipped(r.URL.Path)).Str("why", refused.Message).Msg("refused a login")
	return refused
}

func clipped(s string) string { return s[:min(len(s), 200)] }

// address is where a request comes from, as failures are counted: an address of IPv4, or the network of one of IPv6, of which
// anybody has 2^64.
func address(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	network, err := ip.Prefix(64)
	if err != nil {
		return ip.String()
	}
	return network.String()
}
