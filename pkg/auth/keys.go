package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	// maxKeyFile and maxKeys bound what is read of keys.
	maxKeyFile = 1 << 20
	maxKeys    = 100
	// minRSA is the shortest modulus, in bits, and maxRSA the longest: a verification takes its square.
	minRSA = 2048
	maxRSA = 8192
	// fetchTimeout bounds one fetch of a key set, and fetchPause is the time between two that unknown keys ask for.
	fetchTimeout = 5 * time.Second
	fetchPause   = 10 * time.Second
	// maxStale is for how long the keys of a set that cannot be fetched any more hold.
	maxStale = time.Hour
)

// verifyKey is one public key.
type verifyKey struct {
	id, algorithm string // empty where the source does not say
	key           crypto.PublicKey
}

// keySet has the keys that tokens are signed with.
type keySet struct {
	path, url string
	refresh   time.Duration
	client    *http.Client
	now       func() time.Time
	log       zerolog.Logger

	mu      sync.Mutex
	keys    []verifyKey
	text    string    // of the file that they are from
	told    []string  // which were passed over when that was last logged
	fetched time.Time // when they were read from url

	fetching sync.Mutex // held while the set is fetched, and for these:
	tried    time.Time  // when that was last tried
	failed   error      // how it ended
}

// newKeySet reads the keys of a file. Those of an address are fetched when they are needed, since who serves them may start
// later than Engram.
func newKeySet(cfg JWTConfig, log zerolog.Logger) (*keySet, error) {
	s := &keySet{path: cfg.Keys, refresh: cfg.Refresh, now: time.Now, log: log}
	switch {
	case strings.Contains(cfg.JWKS, "://"):
		s.url = cfg.JWKS
		s.client = &http.Client{Timeout: fetchTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("it answers with a redirection; name the address that it leads to")
		}}
		return s, nil
	case cfg.JWKS != "":
		s.path = cfg.JWKS
	}
	_, err := s.reload()
	return s, err
}

// reload reads a file of keys again, and tells whether it has changed. What cannot be read leaves the keys as they are.
func (s *keySet) reload() (changed bool, err error) {
	if s.path == "" {
		return false, nil
	}
	f, err := os.Open(s.path)
	if err != nil {
		return false, fmt.Errorf("reading the keys of JSON web tokens: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return false, fmt.Errorf("reading the keys of JSON web tokens from %s: %w", s.path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text == string(text) {
		return false, nil
	}
	var keys []verifyKey
	var skipped []string
	if len(text) > 0 && text[0] == '{' {
		keys, skipped, err = parseJWKS(text)
	} else {
		keys, err = parsePEM(text)
	}
	if err != nil {
		return false, fmt.Errorf("the keys of JSON web tokens in %s: %w", s.path, err)
	}
	s.keys, s.text = keys, string(text)
	s.tell(skipped)
	return true, nil
}

// errNoKeys is wrapped by the error of a set that could never be fetched, or not for too long.
var errNoKeys = errors.New("the keys of JSON web tokens cannot be had at this moment")

// find returns the keys that may have signed a token: those of its id and its algorithm. Where there is none, a set at an
// address is fetched, but not more often than every fetchPause; who has a key that is known does not wait for that.
func (s *keySet) find(ctx context.Context, id, algorithm string) ([]verifyKey, error) {
	s.mu.Lock()
	found, fresh := s.matching(id, algorithm), s.url == "" || s.now().Sub(s.fetched) <= maxStale
	s.mu.Unlock()
	if s.url == "" || fresh && len(found) > 0 {
		return found, nil
	}
	err := s.refetch(ctx, fetchPause)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().Sub(s.fetched) > maxStale {
		return nil, fmt.Errorf("%w: %w", errNoKeys, err)
	}
	return s.matching(id, algorithm), nil
}

// refetch fetches the set where the last try is so long ago, and returns how the last try ended. Those who call it
// meanwhile wait for its end, for no longer than fetchTimeout; who called first may go away.
func (s *keySet) refetch(ctx context.Context, pause time.Duration) error {
	s.fetching.Lock()
	defer s.fetching.Unlock()
	if !s.tried.IsZero() && s.now().Sub(s.tried) < pause {
		return s.failed
	}
	s.tried = s.now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	s.failed = s.fetch(ctx)
	return s.failed
}

// refreshOld fetches a set that is old, before anybody needs it.
func (s *keySet) refreshOld(ctx context.Context) error {
	s.mu.Lock()
	old := s.url != "" && s.now().Sub(s.fetched) > s.refresh
	s.mu.Unlock()
	if !old {
		return nil
	}
	return s.refetch(ctx, fetchPause)
}

func (s *keySet) matching(id, algorithm string) (found []verifyKey) {
	for _, k := range s.keys {
		if (k.id == id || k.id == "" || id == "") && (k.algorithm == algorithm || k.algorithm == "") && fits(k.key, algorithm) {
			found = append(found, k)
		}
	}
	return found
}

// fits tells that a key is one of an algorithm.
func fits(key crypto.PublicKey, algorithm string) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return algorithm == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Curve.Params().BitSize]
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}

func (s *keySet) fetch(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return fmt.Errorf("fetching %s: %w", s.url, err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return err // it names the address
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("fetching %s: the answer is %s", s.url, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxKeyFile+1))
	if err != nil {
		return fmt.Errorf("fetching %s: %w", s.url, err)
	}
	keys, skipped, err := parseJWKS(text)
	if err != nil {
		return fmt.Errorf("the key set of %s: %w", s.url, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.fetched = keys, s.now()
	s.tell(skipped)
	return nil
}

// tell logs which keys were passed over, where they are others than before. The caller holds mu.
func (s *keySet) tell(skipped []string) {
	if len(skipped) > 0 && !slices.Equal(skipped, s.told) {
		s.log.Warn().Strs("keys", skipped).Msg("passed over keys of JSON web tokens that are not taken here")
	}
	s.told = skipped
}

// parsePEM reads public keys and certificates. A private key is refused: it has no business on this machine.
func parsePEM(text []byte) (keys []verifyKey, err error) {
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("there are more than %d bytes", maxKeyFile)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var key crypto.PublicKey
		switch block.Type {
		case "PUBLIC KEY":
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			key, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var c *x509.Certificate
			if c, err = x509.ParseCertificate(block.Bytes); err == nil {
				key = c.PublicKey
			}
		default:
			return nil, fmt.Errorf("a block is a %q; there can be PUBLIC KEY, RSA PUBLIC KEY and CERTIFICATE", block.Type)
		}
		if err == nil {
			err = checkKey(key)
		}
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", len(keys)+1, err)
		}
		if keys = append(keys, verifyKey{key: key}); len(keys) > maxKeys {
			return nil, fmt.Errorf("there are more than %d keys", maxKeys)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no PEM block in it")
	}
	return keys, nil
}

// parseJWKS reads a key set of RFC 7517. Keys for encryption, and those of kinds, curves and sizes that are not taken, are passed over:
// skipped says why, for the log.
func parseJWKS(text []byte) (keys []verifyKey, skipped []string, err error) {
	if len(text) > maxKeyFile {
		return nil, nil, fmt.Errorf("there are more than %d bytes", maxKeyFile)
	}
	var set struct {
		Keys []struct {
			Kty, Kid, Use, Alg, Crv, N, E, X, Y string
		} `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, nil, errors.New("it is not the JSON of a key set")
	}
	if len(set.Keys) > maxKeys {
		return nil, nil, fmt.Errorf("there are more than %d keys", maxKeys)
	}
	for i, k := range set.Keys {
		if k.Use != "" && k.Use != "sig" {
			continue
		}
		var key crypto.PublicKey
		var err error
		switch k.Kty {
		case "RSA":
			key, err = rsaKey(k.N, k.E)
		case "EC":
			key, err = ecKey(k.Crv, k.X, k.Y)
		case "OKP":
			key, err = edKey(k.Crv, k.X)
		default:
			err = unfit("its kty is not known")
		}
		if err == nil {
			err = checkKey(key)
		}
		var no unfit
		switch {
		case errors.As(err, &no):
			skipped = append(skipped, fmt.Sprintf("key %d: %v", i+1, no))
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		keys = append(keys, verifyKey{id: k.Kid, algorithm: k.Alg, key: key})
	}
	if len(keys) == 0 {
		return nil, nil, fmt.Errorf("there is no key for signatures in it that is taken here; passed over: %q", skipped)
	}
	return keys, skipped, nil
}

// unfit is why a key is not taken that another verifier may take.
type unfit string

func (u unfit) Error() string { return string(u) }

func edKey(crv, x string) (crypto.PublicKey, error) {
	if crv != "Ed25519" {
		return nil, unfit("its curve is not known")
	}
	b, err := base64.RawURLEncoding.DecodeString(x)
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, errors.New("its x is not base64 of the size of its curve")
	}
	return ed25519.PublicKey(b), nil
}

func rsaKey(n, e string) (crypto.PublicKey, error) {
	nb, err := base64.RawURLEncoding.DecodeString(n)
	if err != nil {
		return nil, errors.New("its n is not base64")
	}
	eb, err := base64.RawURLEncoding.DecodeString(e)
	if err != nil || len(eb) == 0 || len(eb) > 4 {
		return nil, errors.New("its e is not base64 of a small number")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(nb), E: int(new(big.Int).SetBytes(eb).Int64())}, nil
}

func ecKey(crv, x, y string) (crypto.PublicKey, error) {
	curve, ok := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[crv]
	if !ok {
		return nil, unfit("its curve is not known")
	}
	xb, errX := base64.RawURLEncoding.DecodeString(x)
	yb, errY := base64.RawURLEncoding.DecodeString(y)
	size := (curve.Params().BitSize + 7) / 8
	if errX != nil || errY != nil || len(xb) != size || len(yb) != size {
		return nil, errors.New("its x or y is not base64 of the size of its curve")
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, xb...), yb...))
	if err != nil {
		return nil, errors.New("it is no point of its curve")
	}
	return key, nil
}

// checkKey refuses keys that are too weak, or of another kind.
func checkKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA {
			return unfit(fmt.Sprintf("an RSA key has %d bits; it can have %d to %d", bits, minRSA, maxRSA))
		}
		if k.E < 3 || k.E%2 == 0 {
			return errors.New("the exponent of an RSA key is odd, and 3 or more")
		}
		return nil
	case *ecdsa.PublicKey:
		if fits(key, "ES256") || fits(key, "ES384") || fits(key, "ES512") {
			return nil
		}
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return nil
		}
	}
	return errors.New("it is no key of RSA, of P-256, P-384 or P-521, or of Ed25519")
}
