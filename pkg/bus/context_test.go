package bus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// apply returns what a context's options make of a connection.
func apply(t *testing.T, cfg Config) (nats.Options, Config, error) {
	t.Helper()
	opts, _, err := cfg.options(make(chan struct{}))
	if err != nil {
		return nats.Options{}, cfg, err
	}
	out := nats.GetDefaultOptions()
	for _, opt := range opts {
		if err := opt(&out); err != nil {
			t.Fatal(err)
		}
	}
	return out, cfg, nil
}

func writeContext(t *testing.T, name, text string) string {
	t.Helper()
	root := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", root)
	path := filepath.Join(root, "nats", "context", name+".json")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestContextByNameAndByPath(t *testing.T) {
	path := writeContext(t, "prod", `{"description":"","url":"nats://a:1,nats://b:2","user":"u","password":"p","token":"",
		"inbox_prefix":"_INBOX_u","tls_first":true,"nsc":"","socks_proxy":"","color_scheme":"","windows_ca_certs_match":null}`)
	for _, name := range []string{"prod", path} {
		opts, cfg, err := apply(t, Config{Context: name})
		if err != nil {
			t.Fatal(err)
		}
		if cfg.URL != "nats://a:1,nats://b:2" || opts.User != "u" || opts.Password != "p" || opts.InboxPrefix != "_INBOX_u" || !opts.TLSHandshakeFirst {
			t.Errorf("%s: address %s, options %+v", name, cfg.URL, opts)
		}
	}
	if _, cfg, err := apply(t, Config{Context: "prod", URL: "nats://c:3"}); err != nil || cfg.URL != "nats://c:3" {
		t.Errorf("the address that was asked for is not used: %s, %v", cfg.URL, err)
	}
}

func TestContextLogins(t *testing.T) {
	creds := filepath.Join(t.TempDir(), "a.creds")
	if err := os.WriteFile(creds, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDS_DIR", filepath.Dir(creds))
	for text, check := range map[string]func(nats.Options) bool{
		`{"token":"t"}`:                                func(o nats.Options) bool { return o.Token == "t" },
		`{"creds":"$CREDS_DIR/a.creds"}`:               func(o nats.Options) bool { return o.UserJWT != nil },
		`{"creds":"file://$CREDS_DIR/a.creds"}`:        func(o nats.Options) bool { return o.UserJWT != nil },
		`{"user":"u","creds":"$CREDS_DIR/a.creds"}`:    func(o nats.Options) bool { return o.User == "u" && o.UserJWT == nil },
		`{"user_jwt":"j","user_seed":"s","user":null}`: func(o nats.Options) bool { return o.UserJWT != nil },
	} {
		writeContext(t, "c", text)
		opts, _, err := apply(t, Config{Context: "c"})
		if err != nil || !check(opts) {
			t.Errorf("%s: %v, %+v", text, err, opts)
		}
	}
	// The credentials that were asked for replace the whole login of the context.
	writeContext(t, "c", `{"user":"u","token":"t"}`)
	if opts, _, err := apply(t, Config{Context: "c", Credentials: creds}); err != nil || opts.User != "" || opts.Token != "" || opts.UserJWT == nil {
		t.Errorf("%v, %+v", err, opts)
	}
}

func TestContextRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"url":`:                                             "not a context's JSON",
		`{"nsc":"nsc://op/acc/user"}`:                         `"nsc"`,
		`{"socks_proxy":"socks://x"}`:                         `"socks_proxy"`,
		`{"windows_cert_store":"user"}`:                       `"windows_cert_store"`,
		`{"creds":"op://vault/item/field"}`:                   "op://",
		`{"token":"env://TOKEN"}`:                             "env://",
		`{"creds":"/does/not/exist.creds"}`:                   "/does/not/exist.creds",
		`{"nkey":"/does/not/exist.nk"}`:                       `"nkey"`,
		`{"ca":"/does/not/exist.pem"}`:                        `"ca"`,
		`{"inbox_prefix":"_IN"}`:                              `"inbox_prefix"`,
		`{"user_jwt":"j"}`:                                    `"user_seed"`,
		`{"jetstream_domain":"d","jetstream_api_prefix":"p"}`: "exclude each other",
	} {
		writeContext(t, "c", text)
		if _, _, err := apply(t, Config{Context: "c"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %s", text, err, want)
		}
	}
	writeContext(t, "c", strings.Repeat(" ", maxContextFile+1))
	if _, _, err := apply(t, Config{Context: "c"}); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a huge file: %v", err)
	}
	if _, _, err := apply(t, Config{Context: "absent"}); err == nil || !strings.Contains(err.Error(), "nats context ls") {
		t.Errorf("an absent context: %v", err)
	}
	// Only one of a pair: a certificate without its key.
	cert := filepath.Join(t.TempDir(), "c.pem")
	if err := os.WriteFile(cert, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	writeContext(t, "c", `{"cert":"`+cert+`"}`)
	if _, _, err := apply(t, Config{Context: "c"}); err == nil || !strings.Contains(err.Error(), "needs both") {
		t.Errorf("a certificate without its key: %v", err)
	}
}

func TestContextDomain(t *testing.T) {
	writeContext(t, "c", `{"jetstream_domain":"hub"}`)
	cfg := Config{Context: "c"}
	if _, scope, err := cfg.options(make(chan struct{})); err != nil || scope.domain != "hub" {
		t.Errorf("%+v, %v", scope, err)
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"nats://127.0.0.1:4222":                "nats://127.0.0.1:4222",
		"nats://u:secret@a:1, tls://token@b:2": "nats://xxxxx@a:1,tls://xxxxx@b:2",
		"nats://a:1,nats://u:sec%zzret@b:2":    "nats://a:1,(not an address)",
	} {
		if got := redact(in); got != want {
			t.Errorf("redact(%s) = %s, want %s", in, got, want)
		}
	}
}
