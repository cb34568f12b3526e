package auth

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/wire"
)

// A principal says when what it came with ceases to hold: at the very moment from which on it would be refused.
func TestExpires(t *testing.T) {
	key, end, leeway := ecPair(t), time.Unix(4_000_000_000, 0), 30*time.Second
	keys := filepath.Join(t.TempDir(), "keys.pem")
	write(t, keys, pemOf(t, key.Public()))
	cfg := jwtConfig(keys, "")
	static, lasting := NewToken(), NewToken()
	line, err := Line("ends", Hash(static), map[Role][]string{Observe: {"*"}}, false, end)
	if err != nil {
		t.Fatal(err)
	}
	cfg.File = file(t, line, "lasts token="+Hash(lasting)+" recall=*", "robot cert=CN:robot expires="+end.UTC().Format(time.RFC3339))
	_, a := serve(t, cfg, zerolog.Nop())
	now := end.Add(-time.Nanosecond)
	a.now = func() time.Time { return now }
	a.jwt.keys.now = a.now
	token := signed(t, jwt.SigningMethodES256, key, "", claimsWith(map[string]any{"exp": end.Unix()}))
	for presented, expires := range map[string]time.Time{static: end, lasting: {}, token: end.Add(leeway)} {
		now = end.Add(-time.Hour)
		p, refused := a.byToken(t.Context(), presented)
		if refused != nil || !p.Expires.Equal(expires) {
			t.Fatalf("%v, %v; want one that expires at %v", p, refused, expires)
		}
		if expires.IsZero() {
			continue
		}
		for at, holds := range map[time.Time]bool{expires.Add(-time.Nanosecond): true, expires: false} {
			now = at
			if _, refused := a.byToken(t.Context(), presented); (refused == nil) != holds || p.expired(at) == holds {
				t.Errorf("at %v: %v, and its principal has expired: %v", at, refused, p.expired(at))
			}
		}
	}
	if e := a.table.Load().certs["CN:robot"]; !e.principal.Expires.Equal(end) {
		t.Errorf("a certificate's principal expires at %v", e.principal.Expires)
	}
}

// What a request goes on to send is not taken once its token has expired, whether there are rates or not.
func TestChargeOfWhoHasExpired(t *testing.T) {
	token, end := NewToken(), time.Unix(4_000_000_000, 0)
	line, err := Line("ends", Hash(token), map[Role][]string{Observe: {"*"}}, false, end)
	if err != nil {
		t.Fatal(err)
	}
	for _, rate := range []float64{0, 1000} {
		a, err := New(Config{File: file(t, line), Rate: RateConfig{Requests: rate, Burst: 100}}, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		now := end.Add(-time.Second)
		a.now = func() time.Time { return now }
		served := false
		h := a.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			served = true
			if refused := Charge(r.Context(), 1); refused != nil {
				t.Errorf("while it holds: %v", refused)
			}
			now = end
			if refused := Charge(r.Context(), 1); refused == nil || refused.Code != wire.CodeUnauthenticated {
				t.Errorf("afterwards: %v", refused)
			}
		}))
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		h.ServeHTTP(httptest.NewRecorder(), r)
		if !served {
			t.Error("the request was not served")
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}
