package embed

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"
)

// failing answers the first n requests with the given handler and the others with embeddings of dimension 2.
func failing(n int64, fail http.HandlerFunc) (http.HandlerFunc, *atomic.Int64) {
	calls := new(atomic.Int64)
	return func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) <= n {
			fail(w, r)
			return
		}
		embedLengths(w, r, 2)
	}, calls
}

func status(code int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// hangUp breaks the connection in the middle of an answer.
func hangUp(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, `{"data":[`)
	panic(http.ErrAbortHandler)
}

func TestHTTPRetries(t *testing.T) {
	ms := func(all ...int) (d []time.Duration) {
		for _, n := range all {
			d = append(d, time.Duration(n)*time.Millisecond)
		}
		return d
	}
	tests := []struct {
		name   string
		fails  int64
		fail   http.HandlerFunc
		calls  int64
		pauses []time.Duration // half of 250 ms doubled, since the tests' jitter is 0
		want   string          // in the error, "" for none
	}{
		{"busy once", 1, status(429, ""), 2, ms(125), ""},
		{"down for a while", 3, status(503, ""), 4, ms(125, 250, 500), ""},
		{"down for good", 99, status(502, "bad"), 4, ms(125, 250, 500), "giving up after 4 attempts: the embedding service answered 502 Bad Gateway: bad"},
		{"connection lost", 2, hangUp, 3, ms(125, 250), ""},
		{"told to wait", 1, status(429, "", "Retry-After", "7"), 2, ms(7000), ""},
		{"told to wait by a date", 1, status(503, "", "Retry-After", "Thu, 01 Jan 2026 00:00:09 GMT"), 2, ms(9000), ""},
		{"told to wait in the past", 1, status(503, "", "Retry-After", "Thu, 01 Jan 2025 00:00:00 GMT"), 2, ms(125), ""},
		{"told nonsense", 1, status(503, "", "Retry-After", "-5"), 2, ms(125), ""},
		{"told to wait an hour", 99, status(429, "", "Retry-After", "3600"), 1, nil, "asks to wait 1h0m0s"},
		{"bad request", 99, status(400, `{"error":{"message":"too long"}}`), 1, nil, "400 Bad Request: too long"},
		{"bad key", 99, status(401, ""), 1, nil, "401 Unauthorized"},
		{"not there", 99, status(404, `{"error":"model not found"}`), 1, nil, "404 Not Found: model not found"},
		{"redirect", 99, status(307, "", "Location", "/elsewhere"), 1, nil, "307"},
	}
	for _, tt := range tests {
		handler, calls := failing(tt.fails, tt.fail)
		h, w := client(t, handler, nil)
		h.now = func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
		v, err := h.Embed(context.Background(), []string{"x"}, 2)
		switch {
		case tt.want == "" && (err != nil || len(v) != 1):
			t.Errorf("%s: %v, %v", tt.name, v, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
		var refused *StatusError
		if err != nil && !errors.As(err, &refused) {
			t.Errorf("%s: error %v is no StatusError", tt.name, err)
		}
		if calls.Load() != tt.calls || !slices.Equal(w.all, tt.pauses) {
			t.Errorf("%s: %d requests with pauses %v, want %d with %v", tt.name, calls.Load(), w.all, tt.calls, tt.pauses)
		}
	}
}

func TestHTTPUnreachableIsRetried(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close() // its port answers no more
	h, w := client(t, nil, func(c *HTTPConfig) { c.BaseURL = server.URL })
	if _, err := h.Embed(context.Background(), []string{"x"}, 2); err == nil || len(w.all) != 3 {
		t.Errorf("error %v after pauses %v, want an error after 3", err, w.all)
	}
}

func TestHTTPWithoutRetries(t *testing.T) {
	handler, calls := failing(99, status(503, ""))
	h, _ := client(t, handler, func(c *HTTPConfig) { c.MaxRetries = -1 })
	if _, err := h.Embed(context.Background(), []string{"x"}, 2); err == nil || calls.Load() != 1 {
		t.Errorf("error %v after %d requests, want one request", err, calls.Load())
	}
}

func TestHTTPJitterAndLongestPause(t *testing.T) {
	h, _ := client(t, nil, nil)
	for _, jitter := range []float64{0, 0.5, 0.999} {
		h.jitter = func() float64 { return jitter }
		for n := range 80 {
			if p := h.pause(n, 0); p < firstPause/2 || p > longestPause {
				t.Fatalf("pause %d is %s", n, p)
			}
		}
	}
	h.jitter = func() float64 { return 0.999 }
	if a := h.pause(0, 0); a <= firstPause/2 || a > firstPause {
		t.Errorf("the jitter has no effect: %s", a)
	}
}

// A deadline that a pause would outlast ends the call at once; so does the end of the context.
func TestHTTPContext(t *testing.T) {
	handler, calls := failing(99, status(429, "", "Retry-After", "60"))
	h, w := client(t, handler, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := h.Embed(ctx, []string{"x"}, 2)
	var refused *StatusError
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &refused) || calls.Load() != 1 || len(w.all) != 0 {
		t.Errorf("deadline: error %v after %d requests, pauses %v", err, calls.Load(), w.all)
	}

	handler, calls = failing(99, status(503, ""))
	h, _ = client(t, handler, nil)
	ctx, cancel = context.WithCancel(context.Background())
	h.wait = func(ctx context.Context, d time.Duration) error {
		cancel() // while the pause lasts
		return sleep(ctx, time.Hour)
	}
	if _, err := h.Embed(ctx, []string{"x"}, 2); !errors.Is(err, context.Canceled) || calls.Load() != 1 {
		t.Errorf("cancelled in a pause: error %v after %d requests", err, calls.Load())
	}
	if _, err := h.Embed(ctx, []string{"x"}, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: error %v", err)
	}
	if err := sleep(context.Background(), time.Microsecond); err != nil {
		t.Errorf("sleep: %v", err)
	}
}

// An attempt that hangs is cut off by Timeout, and made again.
func TestHTTPTimeout(t *testing.T) {
	handler, calls := failing(1, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the server notices a lost client only after the body
		<-r.Context().Done()
	})
	h, w := client(t, handler, func(c *HTTPConfig) { c.Timeout, c.MaxRetries = 200*time.Millisecond, 50 })
	// On a crowded machine an attempt that does not hang may be cut off too.
	if _, err := h.Embed(context.Background(), []string{"x"}, 2); err != nil || calls.Load() < 2 || len(w.all) == 0 {
		t.Errorf("error %v after %d requests", err, calls.Load())
	}
}

func TestHTTPErrorsKeepTheKeyAndStayShort(t *testing.T) {
	long := strings.Repeat("long ", 10_000)
	bodies := []string{
		`{"error":{"message":"Incorrect API key provided: ` + testKey + `"}}`,
		`{"error":"bad ` + testKey + `"}`,
		`{"message":"bad ` + testKey + ` ` + long + `"}`,
		`{"detail":"bad ` + testKey + `"}`,
		`{"detail":[{"loc":"` + testKey + `"}]}`,
		"plain " + testKey + "\x00\n\x1b[31m\xff" + long,
		strings.Repeat("é", 400),
	}
	for _, body := range bodies {
		for _, code := range []int{401, 500} {
			h, _ := client(t, status(code, body), nil)
			_, err := h.Embed(context.Background(), []string{"x"}, 2)
			if err == nil {
				t.Fatal("no error")
			}
			text := err.Error()
			if strings.Contains(text, testKey) {
				t.Errorf("%d: the key is in the error: %s", code, text)
			}
			if len(text) > longestMessage+200 || strings.ContainsAny(text, "\n\x00\x1b") || !utf8.ValidString(text) {
				t.Errorf("%d: an error of %d bytes, or not a printable line: %q", code, len(text), text)
			}
		}
	}
	h, _ := client(t, nil, nil)
	for body, want := range map[string]string{
		bodies[0]: "Incorrect API key provided: [key]", bodies[1]: "bad [key]", bodies[3]: "bad [key]", `null`: "null", "": "",
	} {
		if got := h.message([]byte(body)); got != want {
			t.Errorf("message of %.60s: %q, want %q", body, got, want)
		}
	}
	if err := h.redacted(errors.New("dial " + testKey)); strings.Contains(err.Error(), testKey) {
		t.Errorf("not redacted: %v", err)
	}
}
