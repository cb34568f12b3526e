package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/wire"
)

func TestGrouped(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	if got := plural(1, "hit") + plural(2, "hit"); got != "1 hit2 hits" {
		t.Error(got)
	}
}

func TestSnippet(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"  two\n\n\twords ":             "two words",
		"a\x1b]0;title\x07b\u202e":      "a�]0;title�b�",
		strings.Repeat("ä", 80):         strings.Repeat("ä", 80),
		strings.Repeat("ä", 81) + "end": strings.Repeat("ä", 79) + "…",
	} {
		if got := snippet(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestLine(t *testing.T) {
	behind := wire.Errorf(wire.CodeBackpressure, "", "the shard is behind")
	behind.RetryAfter = 200 * time.Millisecond
	for want, err := range map[string]error{
		"one; two": errors.Join(errors.New("one"), errors.New("two")),
		"backpressure: the shard is behind; try again in 200ms": behind,
	} {
		if got := line(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What else went wrong while a command was stopped is told.
func TestInterruptedSaysWhatItKnows(t *testing.T) {
	cause := errors.New("stopped by a signal")
	lost := errors.New("a directory is left")
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{cause, true}, {context.Canceled, true}, {fmt.Errorf("loading: %w", cause), true}, {errors.Join(cause, fmt.Errorf("x: %w", context.Canceled)), true},
		{errors.Join(cause, lost), false}, {fmt.Errorf("%w; %w", cause, lost), false}, {&interruptedError{"; and so on"}, false},
	} {
		if got := nothingBut(tc.err, cause); got != tc.want {
			t.Errorf("%v: %t", tc.err, got)
		}
	}
}

func TestRedacted(t *testing.T) {
	if got := redacted("nats://a:b@h:1,nats://h:2, nats://token@h:3"); got != "nats://xxxxx@h:1,nats://h:2,nats://xxxxx@h:3" {
		t.Error(got)
	}
}

func TestParseExpiry(t *testing.T) {
	now := time.Unix(365*24*3600*2, 5)
	for text, want := range map[string]int64{"90s": 63072090_000_000_005, "2030-01-02T15:04:05Z": 1893596645_000_000_000} {
		if got, err := parseExpiry(text, now); err != nil || got != want {
			t.Errorf("%s: %d, error %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "0s", "-1h", "1970-01-01T00:00:00Z", "1971-01-02T03:04:05Z", "2030-01-02", "1200-01-02T15:04:05Z"} {
		if _, err := parseExpiry(text, now); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
