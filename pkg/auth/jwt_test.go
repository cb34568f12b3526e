package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/wire"
)

func rsaPair(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ecPair(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pemOf(t *testing.T, keys ...crypto.PublicKey) string {
	t.Helper()
	var b strings.Builder
	for _, k := range keys {
		der, err := x509.MarshalPKIXPublicKey(k)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	return b.String()
}

// jwksOf writes keys as a set, under the ids a, b, c.
func jwksOf(t *testing.T, keys ...crypto.PublicKey) string {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	var list []map[string]string
	for i, key := range keys {
		m := map[string]string{"kid": string(rune('a' + i)), "use": "sig"}
		switch k := key.(type) {
		case *rsa.PublicKey:
			m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
		case *ecdsa.PublicKey:
			point, err := k.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			m["kty"], m["crv"], m["x"], m["y"] = "EC", "P-256", b64(point[1:33]), b64(point[33:])
		case ed25519.PublicKey:
			m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k)
		}
		list = append(list, m)
	}
	list = append(list, map[string]string{"kty": "oct", "k": "c2VjcmV0"}, map[string]string{"kty": "RSA", "use": "enc"})
	text, err := json.Marshal(map[string]any{"keys": list})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func claimsWith(change map[string]any) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": "https://issuer.example", "aud": "engram", "sub": "robot", "exp": time.Now().Add(time.Hour).Unix(),
		"scope": "openid engram:observe engram:recall", "spaces": []string{"team-*", "notes"},
	}
	for k, v := range change {
		if v == nil {
			delete(c, k)
			continue
		}
		c[k] = v
	}
	return c
}

func signed(t *testing.T, m jwt.SigningMethod, key any, kid string, c jwt.Claims) string {
	t.Helper()
	token := jwt.NewWithClaims(m, c)
	if kid != "" {
		token.Header["kid"] = kid
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func jwtConfig(keys, jwks string) Config {
	return Config{JWT: JWTConfig{Keys: keys, JWKS: jwks, Issuer: "https://issuer.example", Audience: "engram", ScopePrefix: "engram:", Leeway: 30 * time.Second}}
}

func TestJWT(t *testing.T) {
	rsaKey, ecKey := rsaPair(t, 2048), ecPair(t)
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stranger := ecPair(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.pem")
	publicPEM := pemOf(t, rsaKey.Public(), ecKey.Public(), edPublic)
	write(t, path, publicPEM)
	set := filepath.Join(dir, "keys.json")
	write(t, set, jwksOf(t, rsaKey.Public(), ecKey.Public(), edPublic))
	past := time.Now().Add(-time.Hour).Unix()
	for source, cfg := range map[string]Config{"PEM": jwtConfig(path, ""), "JWKS": jwtConfig("", set)} {
		h, a := serve(t, cfg, zerolog.Nop())
		for _, tc := range []struct{ name, token, want string }{
			{"RS256", signed(t, jwt.SigningMethodRS256, rsaKey, "a", claimsWith(nil)), ""},
			{"PS256", signed(t, jwt.SigningMethodPS256, rsaKey, "a", claimsWith(nil)), ""},
			{"ES256", signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(nil)), ""},
			{"EdDSA", signed(t, jwt.SigningMethodEdDSA, edKey, "", claimsWith(nil)), ""},
			{"several aud", signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(map[string]any{"aud": []string{"other", "engram"}})), ""},
			{"just expired", signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(map[string]any{"exp": time.Now().Add(-time.Second).Unix()})), ""},
			{"expired", signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(map[string]any{"exp": past})), "expired"},
			{"no exp", signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(map[string]any{"exp": nil})), "no exp"},
			{"not yet", signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()})), "later time"},
			{"aud", signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(map[string]any{"aud": "other"})), "aud"},
			{"no aud", signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(map[string]any{"aud": nil})), "aud"},
			{"iss", signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(map[string]any{"iss": "https://evil.example"})), "iss"},
			{"no iss", signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(map[string]any{"iss": nil})), "iss"},
			{"no sub", signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(map[string]any{"sub": nil})), "sub"},
			{"sub with a line break", signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(map[string]any{"sub": "a\nb"})), "sub"},
			{"spaces", signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(map[string]any{"spaces": []string{"A B"}})), "spaces"},
			{"spaces of another type", signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(map[string]any{"spaces": 5})), "cannot be read"},
			{"stranger", signed(t, jwt.SigningMethodES256, stranger, "b", claimsWith(nil)), "signature"},
			{"none", signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", claimsWith(nil)), "signature or algorithm"},
			{"HMAC with the public key", signed(t, jwt.SigningMethodHS256, []byte(publicPEM), "a", claimsWith(nil)), "signature or algorithm"},
			{"an algorithm that is not allowed", signed(t, jwt.SigningMethodRS512, rsaKey, "a", claimsWith(nil)), "signature or algorithm"},
			{"garbage", "a.b.c", "cannot be read"},
		} {
			w := ask(h, "Authorization", "Bearer "+tc.token)
			if tc.want == "" {
				if w.Code != 200 || w.Body.String() != "jwt:robot" {
					t.Errorf("%s, %s: %d %s", source, tc.name, w.Code, w.Body)
				}
				continue
			}
			if e := wire.DecodeError(wire.JSON, w.Body.Bytes()); w.Code != 401 && w.Code != 429 || !strings.Contains(e.Message, tc.want) && w.Code == 401 || strings.Contains(w.Body.String(), "robot") {
				t.Errorf("%s, %s: %d %s, want %q", source, tc.name, w.Code, w.Body, tc.want)
			}
		}
		p, refused := a.jwt.verify(t.Context(), signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(nil)))
		if refused != nil || p.May(Observe, "team-x") != nil || p.May(Recall, "notes") != nil || p.May(Forget, "notes") == nil || p.May(Observe, "other") == nil || p.Metrics {
			t.Errorf("%s: %+v, %v", source, p, refused)
		}
		p, refused = a.jwt.verify(t.Context(), signed(t, jwt.SigningMethodES256, ecKey, "b", claimsWith(map[string]any{"scope": "observe engram:metrics", "spaces": "x y-*"})))
		if refused != nil || p.May(Observe, "x") == nil || !p.Metrics {
			t.Errorf("%s: a scope without the prefix: %+v, %v", source, p, refused)
		}
	}
}

// A token of one kind of key is not checked with another one of the same id.
func TestKeysBelongToAlgorithms(t *testing.T) {
	rsaKey := rsaPair(t, 2048)
	keys, err := parsePEM([]byte(pemOf(t, rsaKey.Public(), ecPair(t).Public())))
	if err != nil {
		t.Fatal(err)
	}
	s := &keySet{keys: keys, now: time.Now}
	for alg, want := range map[string]int{"RS256": 1, "ES256": 1, "ES384": 0, "EdDSA": 0, "HS256": 0, "none": 0, "": 0} {
		if found, err := s.find(t.Context(), "", alg); err != nil || len(found) != want {
			t.Errorf("%s: %d keys, %v, want %d", alg, len(found), err, want)
		}
	}
	for name, text := range map[string]string{
		"weak": pemOf(t, rsaPair(t, 1024).Public()), "nothing": "", "no PEM": "hello", "no set": "{}", "empty": `{"keys":[]}`, "off the curve": `{"keys":[{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 43) + `","y":"` + strings.Repeat("A", 43) + `"}]}`,
		"a private key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		if name == "no set" || name == "empty" || name == "off the curve" {
			_, err = parseSet([]byte(text))
		} else {
			_, err = parsePEM([]byte(text))
		}
		if err == nil {
			t.Errorf("%s became keys", name)
		}
	}
}

func TestJWKSAtAnAddress(t *testing.T) {
	first, second := ecPair(t), ecPair(t)
	var body atomic.Value
	var asked atomic.Int64
	body.Store(jwksOf(t, first.Public()))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		text := body.Load().(string)
		switch text {
		case "down":
			w.WriteHeader(http.StatusInternalServerError)
		case "elsewhere":
			http.Redirect(w, r, "/other", http.StatusFound)
		case "huge":
			_, _ = w.Write([]byte(`{"keys":[` + strings.Repeat(" ", maxKeyFile) + `]}`))
		default:
			_, _ = w.Write([]byte(text))
		}
	}))
	t.Cleanup(srv.Close)
	cfg := jwtConfig("", srv.URL)
	cfg.Reload = time.Hour // this test refreshes by itself
	a, err := New(cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	now := time.Now()
	a.jwt.keys.now = func() time.Time { return now }
	expect := func(what string, key *ecdsa.PrivateKey, kid string, want wire.Code, asks int64) {
		t.Helper()
		_, refused := a.jwt.verify(t.Context(), signed(t, jwt.SigningMethodES256, key, kid, claimsWith(map[string]any{"exp": now.Add(time.Hour).Unix()})))
		got := wire.Code("")
		if refused != nil {
			got = refused.Code
		}
		if got != want || asked.Load() != asks {
			t.Errorf("%s: %q after %d fetches, want %q after %d", what, got, asked.Load(), want, asks)
		}
	}
	expect("the first token", first, "a", "", 1)
	expect("another one", first, "a", "", 1)
	expect("a key that is not known, just after a fetch", second, "zz", wire.CodeUnauthenticated, 1)
	now = now.Add(fetchPause)
	expect("a key that is not known", second, "zz", wire.CodeUnauthenticated, 2)
	expect("and again", second, "zz", wire.CodeUnauthenticated, 2)
	body.Store(jwksOf(t, first.Public(), second.Public()))
	now = now.Add(fetchPause)
	expect("a new key", second, "b", "", 3)
	for i, bad := range []string{"down", "elsewhere", "huge", "no JSON"} {
		body.Store(bad)
		now = now.Add(a.cfg.JWT.Refresh + time.Second)
		if err := a.jwt.keys.refreshOld(t.Context()); err == nil {
			t.Errorf("an address that answers %s is no error", bad)
		}
		expect("the old keys, where the address answers "+bad, first, "a", "", int64(4+i))
	}
	if err := a.jwt.keys.refreshOld(t.Context()); err == nil || asked.Load() != 7 {
		t.Errorf("it was asked again at once: %v", err)
	}
	now = now.Add(maxStale)
	expect("keys that are too old", first, "a", wire.CodeUnavailable, 8)
	body.Store(jwksOf(t, second.Public()))
	now = now.Add(fetchPause)
	expect("a key that was removed", first, "a", wire.CodeUnauthenticated, 9)
}

func TestConfigurationsThatCannotBe(t *testing.T) {
	for want, cfg := range map[string]JWTConfig{
		"exclude each other": {Keys: "a", JWKS: "b", Issuer: "i", Audience: "a"}, "needs auth.jwt.issuer": {Keys: "a"}, "name the keys": {Issuer: "i"},
		"it can have": {Keys: "a", Issuer: "i", Audience: "a", Algorithms: []string{"HS256"}},
		"https":       {JWKS: "http://keys.example/jwks", Issuer: "i", Audience: "a"},
	} {
		c := Config{JWT: cfg}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", cfg, err, want)
		}
	}
	for _, algorithm := range []string{"none", "HS384", "rs256", ""} {
		c := Config{JWT: JWTConfig{Keys: "a", Issuer: "i", Audience: "a", Algorithms: []string{algorithm}}}
		if c.Validate() == nil {
			t.Errorf("the algorithm %q is allowed", algorithm)
		}
	}
}

func TestKeyFileIsReadAgain(t *testing.T) {
	first, second := ecPair(t), ecPair(t)
	path := filepath.Join(t.TempDir(), "keys.pem")
	write(t, path, pemOf(t, first.Public()))
	_, a := serve(t, jwtConfig(path, ""), zerolog.Nop())
	holds := func(k *ecdsa.PrivateKey) bool {
		_, refused := a.jwt.verify(t.Context(), signed(t, jwt.SigningMethodES256, k, "", claimsWith(nil)))
		return refused == nil
	}
	if !holds(first) || holds(second) {
		t.Fatal("the first file is not what holds")
	}
	write(t, path, pemOf(t, second.Public()))
	if err := a.reload(); err != nil || holds(first) || !holds(second) {
		t.Fatalf("the second file is not what holds: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := a.reload(); err == nil || !holds(second) {
		t.Fatalf("a file that is gone ended what held: %v", err)
	}
}

// One key that is not taken here does not keep the others of its set from being taken, and is named in the log.
func TestKeysThatArePassedOver(t *testing.T) {
	held := ecPair(t)
	short := base64.RawURLEncoding.EncodeToString(rsaPair(t, 1024).N.Bytes())
	for _, other := range []string{
		`{"kty":"EC","kid":"x","crv":"secp256k1","x":"AA","y":"AA"}`, `{"kty":"OKP","kid":"x","crv":"Ed448","x":"AA"}`, `{"kty":"oct","kid":"x","k":"AA"}`,
		`{"kty":"RSA","kid":"x","n":"` + short + `","e":"AQAB"}`,
	} {
		path := filepath.Join(t.TempDir(), "keys.json")
		write(t, path, strings.Replace(jwksOf(t, held.Public()), "[", "["+other+",", 1))
		var log strings.Builder
		a, err := New(jwtConfig("", path), zerolog.New(&log))
		if err != nil {
			t.Errorf("with %s: %v", other, err)
			continue
		}
		if _, refused := a.jwt.verify(t.Context(), signed(t, jwt.SigningMethodES256, held, "a", claimsWith(nil))); refused != nil {
			t.Errorf("with %s: %v", other, refused)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), "key 1: ") {
			t.Errorf("with %s: the log says nothing of it: %s", other, log.String())
		}
	}
}
