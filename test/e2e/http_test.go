//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// answer is what came back over HTTP.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// request does what curl would: method and URL, and a body of JSON that may be empty.
func request(t testing.TB, method, url, body string) (answer, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	client := http.Client{Timeout: 20 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err
}

// do is request where the answer's status is known; it reads the JSON of the answer into out, if there is one.
func do(t testing.TB, status int, method, url, body string, out any) {
	t.Helper()
	a, err := request(t, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if a.status != status {
		t.Fatalf("%s %s %s: status %d, want %d: %s", method, url, body, a.status, status, a.body)
	}
	if out != nil {
		if err := json.Unmarshal(a.body, out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, url, err, a.body)
		}
	}
}

// The parts of the answers of docs/wire.md that the tests read.
type (
	accepted struct {
		ID, Position string
		Duplicate    bool
		Searchable   bool
	}
	found struct {
		Hits         []hit
		Observations []hit
		Exact        bool
		More         bool
	}
	hit struct {
		ID, Text string
		Score    float64
		Metadata map[string]any
	}
	refusal struct {
		Error struct{ Code, Message, Field string }
	}
)

func (f found) ids() []string {
	var ids []string
	for _, h := range append(slices.Clone(f.Hits), f.Observations...) {
		ids = append(ids, h.ID)
	}
	return ids
}

// samples are the values of /metrics by series, as Prometheus writes them: name{label="value",…}.
type samples map[string]float64

func scrape(t testing.TB, d *daemon) samples {
	t.Helper()
	a, err := request(t, http.MethodGet, d.metrics+"/metrics", "")
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("scraping %s: status %d, %v", d.name, a.status, err)
	}
	s := samples{}
	for line := range strings.Lines(string(a.body)) {
		line = strings.TrimSpace(line)
		cut := strings.LastIndexByte(line, ' ')
		if cut < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := strconv.ParseFloat(line[cut+1:], 64)
		if err != nil {
			t.Fatalf("%s: /metrics has the line %q", d.name, line)
		}
		s[line[:cut]] = v
	}
	return s
}

// names returns the names of all series without their labels.
func (s samples) names() string {
	names := map[string]bool{}
	for series := range s {
		name, _, _ := strings.Cut(series, "{")
		names[name] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), "\n")
}

// missing returns an error that names the first series that is not there, or is not as it must be.
func (s samples) missing(want map[string]func(float64) bool) error {
	for _, series := range slices.Sorted(maps.Keys(want)) {
		v, ok := s[series]
		if !ok {
			return fmt.Errorf("/metrics has no %s; it has\n%s", series, s.names())
		}
		if !want[series](v) {
			return fmt.Errorf("%s is %v", series, v)
		}
	}
	return nil
}

func some(v float64) bool   { return v > 0 }
func zero(v float64) bool   { return v == 0 }
func anything(float64) bool { return true }
func is(w float64) func(float64) bool {
	return func(v float64) bool { return v == w }
}
