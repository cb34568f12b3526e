package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/wire"
)

const (
	// maxSubject bounds the name that a token gives its bearer, and maxPatterns its spaces.
	maxSubject  = 256
	maxPatterns = 1000
)

// verifier checks JSON web tokens.
type verifier struct {
	keys   *keySet
	prefix string
	leeway time.Duration
	parser *jwt.Parser
}

func newVerifier(cfg JWTConfig, log zerolog.Logger) (*verifier, error) {
	keys, err := newKeySet(cfg, log)
	if err != nil {
		return nil, err
	}
	return &verifier{keys: keys, prefix: cfg.ScopePrefix, leeway: cfg.Leeway, parser: jwt.NewParser(
		jwt.WithValidMethods(cfg.Algorithms), jwt.WithExpirationRequired(), jwt.WithIssuer(cfg.Issuer), jwt.WithAudience(cfg.Audience),
		jwt.WithLeeway(cfg.Leeway), jwt.WithTimeFunc(func() time.Time { return keys.now() }),
	)}, nil
}

// claims are those of a token that mean something here: scope has roles, each of which it has in all of its spaces.
type claims struct {
	jwt.RegisteredClaims
	Scope  words `json:"scope"`
	Spaces words `json:"spaces"`
}

// words is a list, as an array of strings, or as one string with spaces between.
type words []string

// UnmarshalJSON reads either form.
func (w *words) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*w = strings.Fields(one)
		return nil
	}
	return json.Unmarshal(b, (*[]string)(w))
}

// looksLikeJWT tells three parts between points from what can only be another token.
func looksLikeJWT(token string) bool { return strings.Count(token, ".") == 2 }

// verify returns who a token was made for.
func (v *verifier) verify(ctx context.Context, token string) (*Principal, *wire.Error) {
	var c claims
	_, err := v.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		found, err := v.keys.find(ctx, id, t.Method.Alg())
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, errors.New("it is signed with a key that is not known here")
		}
		set := jwt.VerificationKeySet{}
		for _, k := range found {
			set.Keys = append(set.Keys, k.key)
		}
		return set, nil
	})
	if errors.Is(err, errNoKeys) {
		return nil, wire.Errorf(wire.CodeUnavailable, "", "the keys that JSON web tokens are signed with cannot be had at this moment; send the request again")
	}
	if err != nil {
		return nil, unauthenticated("the JSON web token does not hold: %s", jwtReason(err))
	}
	p, err := c.principal(v.prefix)
	if err != nil {
		return nil, unauthenticated("the JSON web token does not hold: %v", err)
	}
	p.Expires = c.ExpiresAt.Add(v.leeway) // the parser wants it
	return p, nil
}

// jwtReason says why a token does not hold, in words of which none is from the token.
func jwtReason(err error) string {
	for _, r := range []struct {
		is   error
		says string
	}{
		{jwt.ErrTokenExpired, "it has expired"}, {jwt.ErrTokenNotValidYet, "it holds from a later time on"},
		{jwt.ErrTokenInvalidAudience, "its aud is another one"}, {jwt.ErrTokenInvalidIssuer, "its iss is another one"},
		{jwt.ErrTokenRequiredClaimMissing, "it has no exp, iss or aud"}, {jwt.ErrTokenUnverifiable, "it is signed with a key that is not known here"},
		{jwt.ErrTokenSignatureInvalid, "its signature or algorithm is not one that holds here"}, {jwt.ErrTokenMalformed, "it cannot be read"},
	} {
		if errors.Is(err, r.is) {
			return r.says
		}
	}
	return "its claims do not hold"
}

// principal makes a principal of claims. Scopes that are no role are those of other services, and passed over.
func (c *claims) principal(prefix string) (*Principal, error) {
	if c.Subject == "" || len(c.Subject) > maxSubject || strings.ContainsFunc(c.Subject, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("its sub is empty, has control characters, or more than %d bytes", maxSubject)
	}
	if len(c.Spaces) > maxPatterns {
		return nil, fmt.Errorf("its claim spaces has more than %d entries", maxPatterns)
	}
	patterns := make([]pattern, 0, len(c.Spaces))
	for _, s := range c.Spaces {
		one, err := parsePattern(s)
		if err != nil {
			return nil, fmt.Errorf("its claim spaces: %w", err)
		}
		patterns = append(patterns, one)
	}
	p := &Principal{Name: "jwt:" + c.Subject}
	for _, s := range c.Scope {
		name, ok := strings.CutPrefix(s, prefix)
		if !ok {
			continue
		}
		if name == "metrics" {
			p.Metrics = true
		}
		if role, ok := ParseRole(name); ok {
			p.grants[role] = patterns
		}
	}
	return p, nil
}
