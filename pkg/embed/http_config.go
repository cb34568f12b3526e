package embed

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// The environment that [HTTPConfigFromEnv] reads.
const (
	EnvURL   = "ENGRAM_EMBED_URL"
	EnvModel = "ENGRAM_EMBED_MODEL"
	EnvKey   = "ENGRAM_EMBED_KEY"
)

// HTTPConfig says which model [HTTP] asks, and how. Only BaseURL and Model have no default.
type HTTPConfig struct {
	// BaseURL is that of the service, http or https, with or without its /v1: "http://127.0.0.1:11434".
	BaseURL string
	// Model is the name that the service knows the model by. The embedder is called "http:<Model>".
	Model string
	// Key is sent as a bearer token; empty sends none.
	Key string
	// Timeout bounds one attempt, from dialling to the last byte of the answer. Default 30 s.
	Timeout time.Duration
	// BatchSize is the most texts in one request, 1..2048. Default 64.
	BatchSize int
	// MaxRetries is how often a request is sent again after the first time. Default 4, negative for never.
	MaxRetries int
	// SendDimensions sends the dimension of the space with each request, for models that can shorten their vectors.
	// Default off: many services refuse the field.
	SendDimensions bool
	// Transport carries the requests, for a proxy or a private certificate authority. Default is one of the embedder's
	// own, with the settings of http.DefaultTransport.
	Transport http.RoundTripper
}

const (
	defaultTimeout    = 30 * time.Second
	defaultBatchSize  = 64
	largestBatch      = 2048 // what OpenAI takes
	defaultMaxRetries = 4
)

// HTTPConfigFromEnv returns the configuration that the environment describes: ENGRAM_EMBED_URL, ENGRAM_EMBED_MODEL and,
// optional, ENGRAM_EMBED_KEY. It reports false when neither URL nor model is set. With only one of them it reports true,
// and [NewHTTP] says what is missing.
func HTTPConfigFromEnv() (HTTPConfig, bool) {
	cfg := HTTPConfig{
		BaseURL: strings.TrimSpace(os.Getenv(EnvURL)),
		Model:   strings.TrimSpace(os.Getenv(EnvModel)),
		Key:     strings.TrimSpace(os.Getenv(EnvKey)),
	}
	return cfg, cfg.BaseURL != "" || cfg.Model != ""
}

// String describes the configuration without its key, so that printing one does not give the key away.
func (c HTTPConfig) String() string {
	key := "no key"
	if c.Key != "" {
		key = "a key"
	}
	return fmt.Sprintf("model %q at %s with %s", c.Model, c.BaseURL, key)
}

// GoString is String: %#v does not give the key away either.
func (c HTTPConfig) GoString() string { return c.String() }

// withDefaults checks the configuration and fills in what is left open.
func (c HTTPConfig) withDefaults() (HTTPConfig, error) {
	switch {
	case c.BaseURL == "":
		return c, fmt.Errorf("the embedding service has no address: set %s", EnvURL)
	case c.Model == "":
		return c, fmt.Errorf("the embedding service at %s has no model: set %s", c.BaseURL, EnvModel)
	case c.Timeout < 0:
		return c, fmt.Errorf("the timeout of the embedding service is %s: it must be positive", c.Timeout)
	case c.BatchSize < 0 || c.BatchSize > largestBatch:
		return c, fmt.Errorf("the batch size of the embedding service is %d: it must be 1 to %d", c.BatchSize, largestBatch)
	case strings.ContainsFunc(c.Key, func(r rune) bool { return r <= ' ' || r >= 0x7F }):
		return c, fmt.Errorf("the key of the embedding service has a character that no key has, such as a space: see %s", EnvKey)
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.BatchSize == 0 {
		c.BatchSize = defaultBatchSize
	}
	switch {
	case c.MaxRetries == 0:
		c.MaxRetries = defaultMaxRetries
	case c.MaxRetries < 0:
		c.MaxRetries = 0
	}
	return c, nil
}

// endpoint returns the URL of the embeddings of the service at base.
func endpoint(base string) (string, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		// The error of url.Parse repeats its input, which may hold a password.
		return "", errors.New("the address of the embedding service is not a URL: it must be like http://127.0.0.1:11434")
	case u.User != nil:
		return "", fmt.Errorf("the address of the embedding service has a user or a password in it: use %s", EnvKey)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return "", fmt.Errorf("the address of the embedding service %q must start with http:// or https:// and name a host", base)
	case u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("the address of the embedding service must have no ? and no #")
	}
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/v1")
	u.RawPath = "" // of the path that was
	return u.JoinPath("v1", "embeddings").String(), nil
}
