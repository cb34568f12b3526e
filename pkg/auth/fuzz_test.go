package auth

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// What is a file of principals has them; none of it is a space that cannot be, and an error does not repeat what it read.
func FuzzPrincipals(f *testing.F) {
	f.Add("# comment\n\np token=" + Hash("x") + " observe=a,b-* recall=* expires=2027-01-01T00:00:00Z metrics\n")
	f.Add("p cert=\"CN:two words\" admin=x\nq cert=URI:spiffe://a/b")
	f.Add("p token=sha256:zz\x00\"")
	f.Fuzz(func(t *testing.T, text string) {
		tab, err := parseTable(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "line ") || len(err.Error()) > 600 {
				t.Errorf("the error is %v", err)
			}
			return
		}
		entries := 0
		check := func(e entry) {
			entries++
			if !nameForm.MatchString(e.principal.Name) {
				t.Errorf("a principal is called %q", e.principal.Name)
			}
			checkGrants(t, e.principal)
		}
		for _, list := range tab.tokens {
			for _, e := range list {
				check(e)
			}
		}
		for _, e := range tab.certs {
			check(e)
		}
		if entries != tab.lines {
			t.Errorf("%d entries of %d lines", entries, tab.lines)
		}
	})
}

func checkGrants(t *testing.T, p *Principal) {
	t.Helper()
	for _, grants := range p.grants {
		for _, g := range grants {
			if again, err := parsePattern(g.String()); err != nil || again != g {
				t.Errorf("the pattern %q is read again as %q, %v", g, again, err)
			}
			if g.text != "" && event.ValidateSpace(g.text) != nil {
				t.Errorf("%q is no space", g.text)
			}
		}
	}
}

// What is a token in a header is one of the characters that tokens have, and nothing else is.
func FuzzAuthorization(f *testing.F) {
	f.Add("Bearer abc")
	f.Add("bearer  a b")
	f.Add("Basic dXNlcjpwYXNz")
	f.Add("Bearer")
	f.Fuzz(func(t *testing.T, value string) {
		token, present, refused := bearer([]string{value})
		if !present || (refused == nil) != (token != "") {
			t.Fatalf("%q, %v, %v", token, present, refused)
		}
		if refused != nil {
			if refused.Code != wire.CodeUnauthenticated || refused.Status() != http.StatusUnauthorized {
				t.Errorf("%v", refused)
			}
			return
		}
		if len(token) > maxBearer || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) || !strings.Contains(value, token) {
			t.Errorf("%q is a token", token)
		}
	})
}

// Claims become rights in spaces that can be, in nothing more than they say.
func FuzzClaims(f *testing.F) {
	f.Add([]byte(`{"sub":"x","scope":"observe recall","spaces":["a","b-*"]}`))
	f.Add([]byte(`{"sub":"x","scope":["admin"],"spaces":"* a"}`))
	f.Add([]byte(`{"sub":5,"scope":null,"spaces":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var c claims
		if json.Unmarshal(text, &c) != nil {
			return
		}
		p, err := c.principal("")
		if err != nil {
			return
		}
		checkGrants(t, p)
		for r := range roles {
			if len(p.grants[r]) > len(c.Spaces) || len(p.grants[r]) > 0 && !slices.Contains(c.Scope, r.String()) {
				t.Errorf("%s has role %s in %v", text, r, p.grants[r])
			}
		}
		if !strings.HasPrefix(p.Name, "jwt:") || len(p.Name) <= len("jwt:") || len(p.Name) > maxSubject+len("jwt:") {
			t.Errorf("the name is %q", p.Name)
		}
	})
}

// A key set from an address is anybody's until it is read.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a","alg":"EdDSA"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"}]}`))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, parse := range []func([]byte) ([]verifyKey, error){parseSet, parsePEM} {
			keys, err := parse(text)
			if (err == nil) != (len(keys) > 0) || len(keys) > maxKeys {
				t.Errorf("%d keys, %v", len(keys), err)
			}
			for _, k := range keys {
				if err := checkKey(k.key); err != nil {
					t.Errorf("a key that cannot be was read: %v", err)
				}
			}
		}
	})
}

func parseSet(text []byte) ([]verifyKey, error) {
	keys, _, err := parseJWKS(text)
	return keys, err
}
