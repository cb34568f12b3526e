package embed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// HTTP is an embedder that asks a model behind an OpenAI-compatible endpoint, POST {base}/v1/embeddings. What its
// vectors mean, and whether they have unit length, is up to the model.
type HTTP struct {
	cfg    HTTPConfig
	url    string
	client *http.Client

	// What tests replace.
	now    func() time.Time
	wait   func(context.Context, time.Duration) error
	jitter func() float64 // 0 ≤ jitter < 1
}

// NewHTTP returns an embedder for the configuration, or an error that says what is wrong with it. It does not contact the
// service.
func NewHTTP(cfg HTTPConfig) (*HTTP, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	url, err := endpoint(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	transport := cfg.Transport
	if transport == nil {
		transport = ownTransport()
	}
	return &HTTP{
		cfg: cfg,
		url: url,
		client: &http.Client{
			Transport: transport,
			// A redirect would carry texts to a place nobody configured; it is reported as the answer it is.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		now:    time.Now,
		wait:   sleep,
		jitter: rand.Float64,
	}, nil
}

// ownTransport returns a transport that shares no connections with the rest of the process, so that Close can close them.
func ownTransport() http.RoundTripper {
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		return t.Clone()
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment}
}

// Name returns "http:<model>".
func (h *HTTP) Name() string { return "http:" + h.cfg.Model }

// Close closes the connections that are kept open between requests. It does not end calls that are running.
func (h *HTTP) Close() { h.client.CloseIdleConnections() }

// Embed implements [Embedder]. Texts go out in batches, one after another. A request is sent again, after a growing pause
// or the one that the service asks for, when the service is busy (429), fails (5xx) or cannot be reached, as long as ctx
// and MaxRetries allow. A blank text fails the call with a [NoFeaturesError] before anything is sent; vectors of another
// dimension fail it with a [DimensionError], a refusal by the service with a [StatusError].
func (h *HTTP) Embed(ctx context.Context, texts []string, dim int) ([][]float32, error) {
	if err := checkDim(h.Name(), dim); err != nil {
		return nil, err
	}
	for i, text := range texts {
		if strings.TrimSpace(text) == "" {
			return nil, &NoFeaturesError{Index: i}
		}
	}
	vectors := make([][]float32, 0, len(texts))
	for start := 0; start < len(texts); start += h.cfg.BatchSize {
		end := min(start+h.cfg.BatchSize, len(texts))
		batch, err := h.embedBatch(ctx, texts[start:end], dim)
		if err != nil {
			return nil, fmt.Errorf("embedding texts %d to %d of %d with model %q: %w", start, end-1, len(texts), h.cfg.Model, err)
		}
		vectors = append(vectors, batch...)
	}
	return vectors, nil
}

// embedBatch asks for the vectors of one batch, as often as it takes and is allowed.
func (h *HTTP) embedBatch(ctx context.Context, texts []string, dim int) ([][]float32, error) {
	body, err := encodeRequest(h.cfg, texts, dim)
	if err != nil {
		return nil, err
	}
	answer, err := h.retry(ctx, func(ctx context.Context) ([]byte, error) {
		return h.post(ctx, body, answerLimit(len(texts), dim))
	})
	if err != nil {
		return nil, err
	}
	return decodeAnswer(answer, h.Name(), len(texts), dim)
}
