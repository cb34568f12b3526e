package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/wire"
)

// lineStream is an NDJSON request that goes on while its answers come.
type lineStream struct {
	t       *testing.T
	in      *io.PipeWriter
	answers *bufio.Scanner
}

// openLines begins one. The headers of the answer come with the first answer, so the first line goes with it.
func openLines(t *testing.T, ctx context.Context, path, first string, headers ...string) *lineStream {
	t.Helper()
	body, in := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+shared.HTTPAddr()+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", wire.TypeNDJSON)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(in, first+"\n")
		wrote <- err
	}()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	return &lineStream{t: t, in: in, answers: bufio.NewScanner(resp.Body)}
}

func (s *lineStream) send(line string) {
	s.t.Helper()
	if _, err := io.WriteString(s.in, line+"\n"); err != nil {
		s.t.Fatal(err)
	}
}

func (s *lineStream) answer() (l lineResult) {
	s.t.Helper()
	if !s.answers.Scan() {
		s.t.Fatalf("there is no answer: %v", s.answers.Err())
	}
	if err := json.Unmarshal(s.answers.Bytes(), &l); err != nil {
		s.t.Fatal(err)
	}
	return l
}

// A line is answered while the request goes on, be it taken or refused: the next one is not sent before.
func TestLinesAreAnsweredAsTheyCome(t *testing.T) {
	path := "/v1/spaces/" + unique("lines") + "/observations"
	s := openLines(t, t.Context(), path, `{"embedding":[1,2]}`, wire.HeaderIdempotencyKey, "slow")
	first := s.answer()
	if first.Line != 1 || first.Position == "" || first.ID != "slow/1" {
		t.Fatalf("%+v", first)
	}
	var text strings.Builder
	text.WriteString(`{"embedding":[1,2]}` + "\n")
	positions := []string{first.Position}
	for n := 2; n <= 12; n++ {
		line := `{"embedding":[1,2]}`
		if n%4 == 0 {
			line = `{"embedding":[1]}`
		}
		s.send(line)
		text.WriteString(line + "\n")
		got := s.answer()
		if got.Line != n || (got.Error == nil) != (n%4 != 0) || n%4 != 0 && got.ID != fmt.Sprintf("slow/%d", n) {
			t.Fatalf("line %d: %+v", n, got)
		}
		positions = append(positions, got.Position)
	}
	if err := s.in.Close(); err != nil {
		t.Fatal(err)
	}
	if s.answers.Scan() {
		t.Errorf("there is another answer: %s", s.answers.Bytes())
	}
	// The same lines at once have the same write ids, whichever of them go to the log together.
	status, _, body := post(t, shared.HTTPAddr(), path, wire.TypeNDJSON, text.String(), wire.HeaderIdempotencyKey, "slow")
	again := decodeLines(t, body)
	if status != http.StatusOK || len(again) != len(positions) {
		t.Fatalf("%d %s", status, body)
	}
	for i, l := range again {
		if l.Position != positions[i] || l.Duplicate != (positions[i] != "") {
			t.Errorf("line %d: %+v; at first %q", i+1, l, positions[i])
		}
	}
}

// A client that goes away in the middle of a line leaves nothing behind: the handler ends, and what was answered is there.
func TestLinesOfAClientThatGoesAway(t *testing.T) {
	path := "/v1/spaces/" + unique("lines-gone") + "/observations"
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		s := openLines(t, ctx, path, `{"id":"a","embedding":[1,2]}`)
		if got := s.answer(); got.Position == "" {
			t.Fatalf("%+v", got)
		}
		if _, err := io.WriteString(s.in, `{"id":"b","embed`); err != nil {
			t.Fatal(err)
		}
		cancel()
		if s.answers.Scan() {
			t.Errorf("there is another answer: %s", s.answers.Bytes())
		}
		if err := s.answers.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("the answer ended with %v", err)
		}
	}
	if status, _, body := post(t, shared.HTTPAddr(), path, wire.TypeNDJSON, `{"id":"c","embedding":[1,2]}`); status != http.StatusOK || !strings.Contains(body, `"position"`) {
		t.Errorf("%d %s", status, body)
	}
}
