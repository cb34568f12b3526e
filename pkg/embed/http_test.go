package embed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const testKey = "sk-very-secret-key"

// waits records the pauses between attempts instead of sleeping.
type waits struct {
	mu  sync.Mutex
	all []time.Duration
}

func (w *waits) wait(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, d)
	return ctx.Err()
}

// client returns an embedder of a test server, which does not sleep and has no jitter.
func client(t *testing.T, handler http.HandlerFunc, edit func(*HTTPConfig)) (*HTTP, *waits) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	cfg := HTTPConfig{BaseURL: server.URL, Model: "test-model", Key: testKey, BatchSize: 3, MaxRetries: 3}
	if edit != nil {
		edit(&cfg)
	}
	h, err := NewHTTP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	w := &waits{}
	h.wait, h.jitter = w.wait, func() float64 { return 0 }
	return h, w
}

// embedLengths answers each text with the vector (length, 1, 1, ...) of dim components, last text first.
func embedLengths(w http.ResponseWriter, r *http.Request, dim int) {
	var req struct{ Input []string }
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	type item struct {
		Index     int       `json:"index"`
		Embedding []float32 `json:"embedding"`
	}
	var data []item
	for i, text := range slices.Backward(req.Input) {
		v := slices.Repeat([]float32{1}, dim)
		v[0] = float32(len(text))
		data = append(data, item{i, v})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"object": "list", "data": data})
}

func TestHTTPEmbedsInBatchesAndOrder(t *testing.T) {
	var mu sync.Mutex
	var sizes []int
	h, _ := client(t, func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		raw, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(raw, &body); err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		sizes = append(sizes, len(body["input"].([]any)))
		mu.Unlock()
		_, dimensions := body["dimensions"]
		if r.Method != "POST" || r.URL.Path != "/v1/embeddings" || r.Header.Get("Authorization") != "Bearer "+testKey ||
			r.Header.Get("Content-Type") != "application/json" || body["model"] != "test-model" || dimensions {
			t.Errorf("request %s %s %v %v", r.Method, r.URL.Path, r.Header, body)
		}
		r.Body = io.NopCloser(bytes.NewReader(raw))
		embedLengths(w, r, 4)
	}, nil)
	if h.Name() != "http:test-model" {
		t.Errorf("name %q", h.Name())
	}
	texts := []string{"a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg"}
	vectors, err := h.Embed(context.Background(), texts, 4)
	if err != nil {
		t.Fatal(err)
	}
	if len(vectors) != len(texts) {
		t.Fatalf("%d vectors", len(vectors))
	}
	for i, v := range vectors {
		if len(v) != 4 || v[0] != float32(i+1) {
			t.Errorf("text %d: vector %v", i, v)
		}
	}
	if !slices.Equal(sizes, []int{3, 3, 1}) {
		t.Errorf("batches of %v, want 3, 3, 1", sizes)
	}
}

func TestHTTPSendsDimensionsOnlyWhenConfigured(t *testing.T) {
	var got any
	h, _ := client(t, func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		got = body["dimensions"]
		fmt.Fprint(w, `{"data":[{"index":0,"embedding":[1,2]}]}`)
	}, func(c *HTTPConfig) { c.SendDimensions, c.Key = true, "" })
	if _, err := h.Embed(context.Background(), []string{"x"}, 2); err != nil {
		t.Fatal(err)
	}
	if got != 2.0 {
		t.Errorf("dimensions %v, want 2", got)
	}
}

func TestHTTPAnswers(t *testing.T) {
	tests := []struct{ name, body, want string }{ // want: in the error, "" for none
		{"in order without index", `{"data":[{"embedding":[1,0]},{"embedding":[2,0]}]}`, ""},
		{"by index", `{"data":[{"index":1,"embedding":[2,0]},{"index":0,"embedding":[1,0]}]}`, ""},
		{"not JSON", `<html>hello</html>`, "not with embeddings"},
		{"no data", `{"object":"list"}`, "0 vectors to 2 texts"},
		{"too few", `{"data":[{"index":0,"embedding":[1,0]}]}`, "1 vectors to 2 texts"},
		{"index twice", `{"data":[{"index":0,"embedding":[1,0]},{"index":0,"embedding":[2,0]}]}`, "text 0 of 2"},
		{"index out of range", `{"data":[{"index":0,"embedding":[1,0]},{"index":2,"embedding":[2,0]}]}`, "text 2 of 2"},
		{"negative index", `{"data":[{"index":-1,"embedding":[1,0]},{"index":1,"embedding":[2,0]}]}`, "text -1 of 2"},
		{"some indexes", `{"data":[{"index":0,"embedding":[1,0]},{"embedding":[2,0]}]}`, "numbered some"},
		{"empty vector", `{"data":[{"index":0,"embedding":[]},{"index":1,"embedding":[2,0]}]}`, "empty vector"},
		{"base64", `{"data":[{"index":0,"embedding":"AACAPw=="},{"index":1,"embedding":"AACAPw=="}]}`, "not with embeddings"},
		{"beyond float32", `{"data":[{"index":0,"embedding":[1e99,0]},{"index":1,"embedding":[2,0]}]}`, "not with embeddings"},
		{"NaN", `{"data":[{"index":0,"embedding":[NaN,0]},{"index":1,"embedding":[2,0]}]}`, "not with embeddings"},
		{"endless", `{"data":[` + strings.Repeat(" ", int(answerLimit(2, 2))), "longer than"},
	}
	for _, tt := range tests {
		calls := 0
		h, _ := client(t, func(w http.ResponseWriter, r *http.Request) {
			calls++
			fmt.Fprint(w, tt.body)
		}, nil)
		v, err := h.Embed(context.Background(), []string{"one", "two"}, 2)
		switch {
		case tt.want == "" && (err != nil || len(v) != 2 || v[0][0] != 1 || v[1][0] != 2):
			t.Errorf("%s: %v, %v", tt.name, v, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
		if calls != 1 {
			t.Errorf("%s: %d requests, want 1: a wrong answer is not asked for again", tt.name, calls)
		}
	}
}

func TestHTTPDimension(t *testing.T) {
	h, _ := client(t, func(w http.ResponseWriter, r *http.Request) { embedLengths(w, r, 1536) }, nil)
	_, err := h.Embed(context.Background(), []string{"x"}, 768)
	var d *DimensionError
	if !errors.As(err, &d) || !errors.Is(err, ErrDimension) || d.Want != 768 || d.Got != 1536 {
		t.Fatalf("error %v, want a DimensionError", err)
	}
	for _, part := range []string{"768", "1536", "http:test-model"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not name %s", err, part)
		}
	}
}

func TestHTTPRefusesBeforeSending(t *testing.T) {
	h, _ := client(t, func(w http.ResponseWriter, r *http.Request) { t.Error("a request was sent") }, nil)
	_, err := h.Embed(context.Background(), []string{"a", "b", "c", "d", " \t"}, 4)
	var none *NoFeaturesError
	if !errors.As(err, &none) || none.Index != 4 {
		t.Errorf("blank text: %v", err)
	}
	if _, err := h.Embed(context.Background(), []string{"a"}, 0); !errors.Is(err, ErrDimension) {
		t.Errorf("dim 0: %v", err)
	}
	if v, err := h.Embed(context.Background(), nil, 4); err != nil || len(v) != 0 {
		t.Errorf("no texts: %v, %v", v, err)
	}
}
