package demo

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 27081: "27,081", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0.00", 0.424: "0.42", 4.24: "4.2", 42.4: "42", 4242.6: "4,243"} {
		if got := decimals(v); got != want {
			t.Errorf("decimals(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                     "plain",
		"two\n lines\t here ":       "two lines here",
		"\x1b[2J\x1b[31mred\x07":    "[2J [31mred",
		"überall 東京":                "überall 東京",
		"right\u202eto left\u2028x": "right to left x",
	} {
		if got := printable(text); got != want {
			t.Errorf("printable(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, tc := range []struct {
		text         string
		width, lines int
		want         []string
	}{
		{"", 10, 2, nil},
		{"short", 10, 2, []string{"short"}},
		{"one two three", 7, 2, []string{"one two", "three"}},
		{"one two three four", 7, 2, []string{"one two", "three…"}},
		{"one two three four", 9, 1, []string{"one two…"}},
		{"incomprehensible word", 8, 2, []string{"incompr…", "word"}},
		{"ünï cödé wörd", 8, 2, []string{"ünï cödé", "wörd"}},
	} {
		got := wrap(tc.text, tc.width, tc.lines)
		if !slices.Equal(got, tc.want) {
			t.Errorf("wrap(%q, %d, %d) = %q, want %q", tc.text, tc.width, tc.lines, got, tc.want)
		}
	}
}

func FuzzWrap(f *testing.F) {
	f.Add("some words to be laid out", 12, 2)
	f.Add("ä\n\x00 東京 \x1b[0m", 3, 1)
	f.Fuzz(func(t *testing.T, text string, width, lines int) {
		width, lines = 2+width&63, 1+lines&3
		out := wrap(printable(text), width, lines)
		if len(out) > lines {
			t.Errorf("%d lines, want at most %d", len(out), lines)
		}
		for _, line := range out {
			if utf8.RuneCountInString(line) > width || strings.ContainsAny(line, "\n\x1b") {
				t.Errorf("line %q does not fit %d columns", line, width)
			}
		}
	})
}

func TestPercentile(t *testing.T) {
	s := &samples{}
	if got := s.percentile(.99); got != 0 {
		t.Errorf("without samples: %v", got)
	}
	for i := 100; i >= 1; i-- {
		s.add(float64(i))
	}
	for p, want := range map[float64]float64{0: 1, .5: 50, .99: 99, .995: 100, 1: 100} {
		if got := s.percentile(p); got != want {
			t.Errorf("percentile(%v) = %v, want %v", p, got, want)
		}
	}
	one := &samples{}
	one.add(1.23456)
	if got := one.percentile(.99); got != 1.235 {
		t.Errorf("of one sample: %v", got)
	}
}

func TestProgress(t *testing.T) {
	var lines bytes.Buffer
	p := newProgress(&lines)
	if p.terminal {
		t.Fatal("a buffer is no terminal")
	}
	p.line(state{read: 5000, accepted: 1200, rate: 800, staleness: 20 * time.Millisecond})
	p.line(state{read: 5000, accepted: 2400, whole: true, rate: 900})
	p.line(state{read: 5000, accepted: 5000, whole: true, rate: 900, staleness: 3 * time.Millisecond})
	want := "loading: 1,200 observations, 800/s, staleness 20 ms\n" +
		"loading: 2,400 of 5,000 observations, 900/s, staleness 0.00 ms\n" +
		"loading: 5,000 of 5,000 observations, making the rest searchable, staleness 3.0 ms\n"
	if lines.String() != want {
		t.Errorf("lines\n%swant\n%s", lines.String(), want)
	}

	var terminal bytes.Buffer
	b := &bar{w: &terminal}
	b.show(state{read: 5000, accepted: 1200, rate: 800})
	b.show(state{read: 5000, accepted: 2500, whole: true, rate: 900, staleness: 20 * time.Millisecond})
	b.show(state{read: 5000, accepted: 5000, whole: true})
	b.clear()
	text := terminal.String()
	for _, want := range []string{"1,200 · 800/s", "2,500 / 5,000 · 900/s, staleness 20 ms", "█"} {
		if !strings.Contains(text, want) {
			t.Errorf("the bar has no %q: %q", want, text)
		}
	}
	if strings.Contains(text, "\n") || !strings.HasSuffix(text, "\r") {
		t.Errorf("the bar does not leave its line as it was: %q", text)
	}
}

func TestStyle(t *testing.T) {
	if got := (style{}).bold("x"); got != "x" {
		t.Errorf("without colour: %q", got)
	}
	if got := (style{colour: true}).bold("x"); got != "\x1b[1mx\x1b[0m" {
		t.Errorf("with colour: %q", got)
	}
	for n, want := range map[int]string{0: "0 spaces", 1: "1 space", 2000: "2,000 spaces"} {
		if got := plural(n, "space"); got != want {
			t.Errorf("plural(%d) = %q, want %q", n, got, want)
		}
	}
	if got := fmt.Sprint(pad("ä", 3), "|"); got != "ä  |" {
		t.Errorf("pad = %q", got)
	}
}
