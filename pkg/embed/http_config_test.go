package embed

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestEndpoint(t *testing.T) {
	tests := []struct{ base, want string }{
		{"http://127.0.0.1:11434", "http://127.0.0.1:11434/v1/embeddings"},
		{"http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1/embeddings"},
		{"https://api.example.com/v1", "https://api.example.com/v1/embeddings"},
		{"https://api.example.com/v1/", "https://api.example.com/v1/embeddings"},
		{"https://example.com/openai/v1", "https://example.com/openai/v1/embeddings"},
		{"https://example.com/proxy/", "https://example.com/proxy/v1/embeddings"},
		{"http://[::1]:80", "http://[::1]:80/v1/embeddings"},
		{"ftp://example.com", ""},
		{"example.com:8080", ""},
		{"http://", ""},
		{"http://user:pass@example.com", ""},
		{"http://example.com?key=x", ""},
		{"http://example.com#x", ""},
		{"http://exa mple.com:secret", ""},
	}
	for _, tt := range tests {
		got, err := endpoint(tt.base)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("endpoint(%q) = %q, %v, want %q", tt.base, got, err, tt.want)
		}
		if err != nil && (strings.Contains(err.Error(), "pass") && !strings.Contains(err.Error(), "password") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("endpoint(%q): the error gives a secret away: %v", tt.base, err)
		}
	}
}

func TestNewHTTPRefusesBadConfig(t *testing.T) {
	good := HTTPConfig{BaseURL: "http://127.0.0.1:1", Model: "m"}
	if _, err := NewHTTP(good); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		edit func(*HTTPConfig)
		want string // in the error
	}{
		{"no URL", func(c *HTTPConfig) { c.BaseURL = "" }, EnvURL},
		{"no model", func(c *HTTPConfig) { c.Model = "" }, EnvModel},
		{"bad URL", func(c *HTTPConfig) { c.BaseURL = "nowhere" }, "http://"},
		{"negative timeout", func(c *HTTPConfig) { c.Timeout = -time.Second }, "-1s"},
		{"negative batch", func(c *HTTPConfig) { c.BatchSize = -1 }, "-1"},
		{"huge batch", func(c *HTTPConfig) { c.BatchSize = 1 << 30 }, "2048"},
		{"key of two lines", func(c *HTTPConfig) { c.Key = "sk-secret\nX: y" }, EnvKey},
	}
	for _, tt := range tests {
		cfg := good
		tt.edit(&cfg)
		_, err := NewHTTP(cfg)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error gives the key away: %v", tt.name, err)
		}
	}
}

func TestHTTPConfigDefaults(t *testing.T) {
	cfg, err := HTTPConfig{BaseURL: "http://h", Model: "m"}.withDefaults()
	if err != nil || cfg.Timeout != defaultTimeout || cfg.BatchSize != defaultBatchSize || cfg.MaxRetries != defaultMaxRetries {
		t.Errorf("%+v, %v", cfg, err)
	}
	if cfg, _ := (HTTPConfig{BaseURL: "http://h", Model: "m", MaxRetries: -1}).withDefaults(); cfg.MaxRetries != 0 {
		t.Errorf("negative MaxRetries gives %d retries, want none", cfg.MaxRetries)
	}
}

func TestHTTPConfigFromEnv(t *testing.T) {
	t.Setenv(EnvURL, "")
	t.Setenv(EnvModel, "")
	t.Setenv(EnvKey, "sk-alone")
	if _, ok := HTTPConfigFromEnv(); ok {
		t.Error("configured by a key alone")
	}
	t.Setenv(EnvModel, "m")
	if _, ok := HTTPConfigFromEnv(); !ok {
		t.Error("a model without a URL goes unnoticed")
	}
	t.Setenv(EnvURL, " http://h/v1 ")
	cfg, ok := HTTPConfigFromEnv()
	if !ok || cfg.BaseURL != "http://h/v1" || cfg.Model != "m" || cfg.Key != "sk-alone" {
		t.Errorf("%+v, %v", cfg, ok)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, cfg); strings.Contains(s, "alone") {
			t.Errorf("%s gives the key away: %s", format, s)
		}
	}
}
