package auth

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config says who may ask. The zero value is no authentication.
type Config struct {
	// File has the principals, one a line; see the package.
	File string `yaml:"file" usage:"file of principals, one a line, with the hashes of their tokens or the names in their certificates; engram token new makes a line"`
	// Reload is how often File and the file of keys are looked at for changes.
	Reload time.Duration `yaml:"reload" default:"2s" min:"10ms" max:"1h" usage:"how often the files of principals and keys are looked at for changes"`
	JWT    JWTConfig     `yaml:"jwt"`
	Rate   RateConfig    `yaml:"rate"`
}

// JWTConfig says which JSON web tokens hold. Without a source of keys none does.
type JWTConfig struct {
	Keys        string        `yaml:"keys" usage:"file of PEM public keys or certificates that JSON web tokens are signed with"`
	JWKS        string        `yaml:"jwks" usage:"JSON web key set: a file, or an https address"`
	Issuer      string        `yaml:"issuer" usage:"iss that a JSON web token must have"`
	Audience    string        `yaml:"audience" usage:"aud that a JSON web token must have"`
	Algorithms  []string      `yaml:"algorithms" default:"RS256,PS256,ES256,EdDSA" usage:"algorithms that a JSON web token may be signed with"`
	Leeway      time.Duration `yaml:"leeway" default:"30s" min:"0s" max:"5m" usage:"difference between clocks that exp and nbf of a JSON web token allow for"`
	ScopePrefix string        `yaml:"scope_prefix" usage:"what stands before the name of a role in the scope of a JSON web token, such as engram:"`
	Refresh     time.Duration `yaml:"refresh" default:"5m" min:"1s" max:"1h" usage:"age at which a JSON web key set is fetched again"`
}

// RateConfig bounds how often a principal asks over HTTP, gRPC and WebSocket.
type RateConfig struct {
	Requests   float64 `yaml:"requests" default:"0" min:"0" usage:"requests a second of one principal (0: no limit)"`
	Burst      int     `yaml:"burst" default:"100" min:"1" max:"1000000" usage:"requests of one principal at once"`
	Principals int     `yaml:"principals" default:"10000" min:"1" max:"1000000" usage:"principals whose rate is remembered"`
	Failures   float64 `yaml:"failures" default:"10" min:"0" usage:"failed logins a second of one address before the answer is 429 (0: no limit)"`
}

// Enabled tells that there is authentication.
func (c *Config) Enabled() bool { return c.File != "" || c.JWT.enabled() }

func (c *JWTConfig) enabled() bool { return c.Keys != "" || c.JWKS != "" }

// algorithms are those that a configuration may allow: none whose key is a secret that this side would have to know.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// withDefaults fills in what the zero value leaves open.
func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Reload, 2*time.Second)
	def(&c.JWT.Refresh, 5*time.Minute)
	if len(c.JWT.Algorithms) == 0 {
		c.JWT.Algorithms = []string{"RS256", "PS256", "ES256", "EdDSA"}
	}
	c.Rate.Burst = max(c.Rate.Burst, 1)
	if c.Rate.Principals == 0 {
		c.Rate.Principals = 10_000
	}
	return c
}

// Validate tells what of the configuration cannot be.
func (c *Config) Validate() error {
	if !c.JWT.enabled() {
		if c.JWT.Issuer != "" || c.JWT.Audience != "" {
			return errors.New("auth.jwt.issuer or auth.jwt.audience is set, and neither auth.jwt.keys nor auth.jwt.jwks; name the keys that tokens are signed with")
		}
		return nil
	}
	if c.JWT.Keys != "" && c.JWT.JWKS != "" {
		return errors.New("auth.jwt.keys and auth.jwt.jwks exclude each other; remove one")
	}
	if c.JWT.Issuer == "" || c.JWT.Audience == "" {
		return errors.New("auth.jwt needs auth.jwt.issuer and auth.jwt.audience: without them a token that was made for another service would hold here")
	}
	for _, a := range c.JWT.Algorithms {
		if !slices.Contains(algorithms, a) {
			return fmt.Errorf("auth.jwt.algorithms has %q; it can have %s", a, strings.Join(algorithms, ", "))
		}
	}
	if strings.Contains(c.JWT.JWKS, "://") {
		u, err := url.Parse(c.JWT.JWKS)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !Loopback(u.Host)) {
			return errors.New("auth.jwt.jwks is an address, and not one of https without a login in it; keys that come another way can be anybody's")
		}
	}
	return nil
}

// Loopback tells that an address, host:port or a host alone, is that of this machine and of no other: 127.0.0.0/8, ::1 or
// localhost. The empty host is all addresses, and any other name may be anything.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = strings.Trim(addr, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
