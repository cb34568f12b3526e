package logging

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/engram-memory/engram/pkg/config"
)

func TestJSONWhenNotATerminal(t *testing.T) {
	for _, format := range []string{"", "auto", "json"} {
		var out bytes.Buffer
		log, err := New(Config{Format: format}, &out)
		if err != nil {
			t.Fatal(err)
		}
		before := time.Now().Add(-time.Millisecond)
		log.Info().Int("shard", 3).Msg("serving")
		var line struct {
			Level, Message string
			Time           time.Time
			Shard          int
		}
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatalf("format %q: %v in %q", format, err, out.String())
		}
		if line.Level != "info" || line.Message != "serving" || line.Shard != 3 {
			t.Errorf("format %q: the line is %s", format, out.String())
		}
		if line.Time.Before(before) || time.Since(line.Time) < 0 {
			t.Errorf("format %q: the time is %v, now is %v", format, line.Time, time.Now())
		}
	}
}

func TestPipeIsNotATerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	log, err := New(Config{}, w)
	if err != nil {
		t.Fatal(err)
	}
	log.Info().Msg("hello")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(r).Decode(&map[string]any{}); err != nil {
		t.Errorf("what a pipe receives is not JSON: %v", err)
	}
}

func TestConsole(t *testing.T) {
	var out bytes.Buffer
	log, err := New(Config{Format: "console"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	log.Warn().Int("shard", 3).Msg("slow")
	got := out.String()
	clock, rest, _ := strings.Cut(got, " ")
	if _, err := time.Parse("15:04:05.000", clock); err != nil {
		t.Errorf("the line begins with %q, not a time: %v", clock, err)
	}
	if rest != "WRN slow shard=3\n" {
		t.Errorf("the line is %q; colours belong on a terminal only", got)
	}
}

func TestLevels(t *testing.T) {
	names := []string{"trace", "debug", "info", "warn", "error"}
	for i, name := range names {
		var out bytes.Buffer
		log, err := New(Config{Level: name}, &out)
		if err != nil {
			t.Fatal(err)
		}
		for level := zerolog.TraceLevel; level <= zerolog.ErrorLevel; level++ {
			log.WithLevel(level).Msg("m")
		}
		if got, want := strings.Count(out.String(), "\n"), len(names)-i; got != want {
			t.Errorf("level %s writes %d of 5 events, want %d:\n%s", name, got, want, out.String())
		}
	}
}

func TestUnknownLevelAndFormat(t *testing.T) {
	for cfg, want := range map[Config]string{
		{Level: "loud"}: `the log level is "loud"; it must be one of trace, debug, info, warn, error`,
		{Format: "xml"}: `the log format is "xml"; it must be one of auto, json, console`,
	} {
		if _, err := New(cfg, &bytes.Buffer{}); err == nil || err.Error() != want {
			t.Errorf("%+v: error is %v, want %s", cfg, err, want)
		}
	}
}

// The tags of Config and the switch statements list the same words twice.
func TestTagsAgreeWithNew(t *testing.T) {
	var cfg Config
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	if _, err := config.Bind(flags, &cfg); err != nil {
		t.Fatal(err)
	}
	if cfg != (Config{Level: "info", Format: "auto"}) {
		t.Errorf("the defaults are %+v", cfg)
	}
	for _, level := range strings.Split(flags.Lookup("level").Value.Type(), "|") {
		for _, format := range strings.Split(flags.Lookup("format").Value.Type(), "|") {
			if _, err := New(Config{Level: level, Format: format}, &bytes.Buffer{}); err != nil {
				t.Error(err)
			}
		}
	}
}
