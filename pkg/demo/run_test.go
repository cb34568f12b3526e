package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/corpus"
	"github.com/engram-memory/engram/pkg/node"
)

// library has 4 spaces, 4 × 30 sections and one text without a word.
func library(t *testing.T) string {
	nouns := []string{"lantern", "harbour", "violin", "glacier", "orchard", "compass"}
	verbs := []string{"repairing", "painting", "measuring", "borrowing", "selling"}
	files := map[string]string{"Garden Notes/empty.txt": "~ ~ ~\n"}
	for _, space := range []string{"Garden Notes", "kitchen", "travel"} {
		var b strings.Builder
		for i := range 30 {
			fmt.Fprintf(&b, "# Part %d\n\nAdvice on %s the old %s of %s number %d.\n\n", i, verbs[i%5], nouns[i%6], space, i)
		}
		files[space+"/advice.md"] = b.String()
	}
	files["readme.txt"] = "Everything in this folder was written for a test."
	return folder(t, files)
}

const librarySize = 3*30 + 1

func TestRunJSON(t *testing.T) {
	cfg, out, temp := config(t, library(t))
	cfg.JSON = true
	if err := Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	wantEmpty(t, temp)
	if text := out.String(); strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "}\n") {
		t.Fatalf("stdout is not one line of JSON: %q", text)
	}
	var keys map[string]any
	if err := json.Unmarshal([]byte(out.String()), &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"observations", "searchable", "seconds", "observations_per_second", "staleness_p99_ms", "recall_p99_ms", "questions"} {
		if _, ok := keys[key]; !ok {
			t.Errorf("the result has no %s", key)
		}
	}
	var res Result
	decoder := json.NewDecoder(strings.NewReader(out.String()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&res); err != nil {
		t.Fatal(err)
	}
	if res.Observations != librarySize || res.Searchable != librarySize || res.Spaces != 4 || res.Seconds <= 0 || res.ObservationsPerSecond <= 0 {
		t.Errorf("result %+v, want %d observations in 4 spaces", res, librarySize)
	}
	if len(res.Questions) != asked {
		t.Fatalf("%d questions, want %d", len(res.Questions), asked)
	}
	for _, q := range res.Questions {
		if q.LatencyMS <= 0 || len(q.Hits) != answers {
			t.Fatalf("question %+v", q)
		}
		if h := q.Hits[0]; !strings.Contains(h.Text, q.Question) || h.ID == "" || h.Space == "" || !strings.Contains(h.Source, ":") {
			t.Errorf("%q was taken from a document, and the first answer is %+v", q.Question, h)
		}
		if !slices.IsSortedFunc(q.Hits, func(a, b Hit) int { return int(1000 * (b.Score - a.Score)) }) {
			t.Errorf("%q: the best answers are not first: %+v", q.Question, q.Hits)
		}
	}
	report := cfg.Stderr.(*screen).String()
	if !strings.Contains(report, "1 document without a word or number left out") {
		t.Errorf("the report does not say that a document was left out: %s", report)
	}
}

// A named directory stays, with everything in it, and is not used twice.
func TestRunData(t *testing.T) {
	cfg, out, _ := config(t, library(t))
	cfg.Data = t.TempDir() + "/new"
	if err := Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{"91 observations in 4 spaces", "searchable", "staleness p99", "recall p99", "? "} {
		if !strings.Contains(text, want) {
			t.Errorf("the report has no %q: %s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("colours where there is no terminal: %q", text)
	}
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a second run in %s: %v", cfg.Data, err)
	}

	nodeConfig := node.DefaultConfig(cfg.Data)
	nodeConfig.NATS, nodeConfig.HTTP, nodeConfig.Metrics = "", "", ""
	n, err := node.Start(t.Context(), nodeConfig, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	conn, err := n.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := settle(t.Context(), librarySize, 5*time.Second, counter(client.New(conn.NC))); err != nil {
		t.Errorf("a node on the directory that was kept: %v", err)
	}

	recalls := &recaller{client: client.New(conn.NC), topics: &topics{}}
	recalls.topics.add("no.such", "anything")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := recalls.run(ctx, nil); err == nil || !strings.Contains(err.Error(), "no.such") {
		t.Errorf("recalls that nobody answers: %v", err)
	}
}

func TestRunNoToolchain(t *testing.T) {
	cfg, out, temp := config(t, "")
	t.Setenv("PATH", t.TempDir())
	err := Run(t.Context(), cfg)
	if !errors.Is(err, corpus.ErrNoToolchain) || !strings.Contains(err.Error(), "--source") || strings.Contains(err.Error(), "\n") {
		t.Errorf("without a toolchain: %v", err)
	}
	wantEmpty(t, temp)
	if out.String() != "" {
		t.Errorf("printed %q", out)
	}
}

func TestRunNoFolder(t *testing.T) {
	cfg, _, temp := config(t, t.TempDir()+"/missing")
	if err := Run(t.Context(), cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the folder: %v", err)
	}
	cfg.Source = t.TempDir()
	if err := Run(t.Context(), cfg); !errors.Is(err, corpus.ErrNothing) {
		t.Errorf("with an empty folder: %v", err)
	}
	cfg.Source = folder(t, map[string]string{"a.txt": "- - -"})
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "none of the documents") {
		t.Errorf("with a folder without words: %v", err)
	}
	wantEmpty(t, temp)
}

// Wherever it is interrupted, it stops with the reason, and leaves nothing.
func TestRunInterrupted(t *testing.T) {
	reason := errors.New("Ctrl-C")
	cases := map[string]struct {
		until   string // what is printed just before; empty for while it loads
		keep    bool
		json    bool
		wantErr error
	}{
		"as it loads":      {json: true, wantErr: reason},
		"as it asks":       {until: "? ", wantErr: reason},
		"when it stays up": {until: "questions", keep: true, json: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cfg, out, temp := config(t, library(t))
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			cfg.Keep, cfg.JSON = tc.keep, tc.json
			src, err := openSource(ctx, cfg.Source)
			if err != nil {
				t.Fatal(err)
			}
			if tc.until != "" {
				out.until, out.when = tc.until, func() { cancel(reason) }
			} else {
				src.read = endless(func() { cancel(reason) })
			}
			if err := run(ctx, cfg, src); err != tc.wantErr {
				t.Errorf("run = %v, want %v as it is", err, tc.wantErr)
			}
			wantEmpty(t, temp)
			if tc.json && tc.wantErr != nil && out.String() != "" {
				t.Errorf("an interrupted run printed %q", out)
			}
			if tc.keep && !strings.Contains(out.String()+cfg.Stderr.(*screen).String(), "nats --server nats://127.0.0.1:") {
				t.Errorf("the addresses are missing: %s", out)
			}
		})
	}
}

// endless reads documents without end, and calls halfway after a thousand.
func endless(halfway func()) func(context.Context, func(corpus.Document) error) error {
	return func(_ context.Context, emit func(corpus.Document) error) error {
		for i := 0; ; i++ {
			if i == 1000 {
				halfway()
			}
			if err := emit(corpus.Document{Space: "endless", ID: fmt.Sprint(i), Text: fmt.Sprintf("Verse %d of a song", i), Source: "song:1"}); err != nil {
				return err
			}
		}
	}
}
