package corpus

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNormalise(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		" \t\n ":                 "",
		"one":                    "one",
		" a\n\tb\r\n\r\n c ":     "a b c",
		"bad \xff\xfe byte":      "bad \uFFFD byte",
		"\xff":                   "\uFFFD",
		"no\u00a0break\u2003end": "no break end",
	} {
		if got := normalise(in); got != want {
			t.Errorf("normalise(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"aé", 2, "a"}, {"aéb", 3, "aé"}, {"日本", 5, "日"}, {"日", 2, ""}} {
		if got := cut(c.in, c.n); got != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
}

func TestPieces(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want []string
	}{
		{"", 4, nil},
		{"one two", 7, []string{"one two"}},
		{"one two", 6, []string{"one", "two"}},
		{"a bcd e", 5, []string{"a bcd", "e"}},
		{"four five six", 4, []string{"four", "five", "six"}},
		{"abcdefghij k", 4, []string{"abcd", "efgh", "ij k"}},
		{"日本中国", 7, []string{"日本", "中国"}},
	} {
		if d := cmp.Diff(c.want, pieces(c.in, c.n)); d != "" {
			t.Errorf("pieces(%q, %d): %s", c.in, c.n, d)
		}
	}
}

func TestIDSet(t *testing.T) {
	s := idSet{}
	var got []string
	for _, id := range []string{"a", "a", "a-2", "a", "b"} {
		got = append(got, s.unique(id))
	}
	if d := cmp.Diff([]string{"a", "a-2", "a-2-2", "a-3", "b"}, got); d != "" {
		t.Error(d)
	}

	// Ids over the limit stay apart when they differ, or repeat, behind it.
	long := strings.Repeat("é", MaxID)
	seen := map[string]bool{}
	for i := range 100 {
		for _, id := range []string{long, fmt.Sprint(long, i)} {
			id = s.unique(id)
			if seen[id] || len(id) > MaxID {
				t.Fatalf("%d bytes, seen before: %v: %q", len(id), seen[id], id)
			}
			seen[id] = true
		}
	}
}

func TestIDSetIsNotQuadratic(t *testing.T) {
	s := idSet{}
	for range 200_000 { // 2×10^10 steps, minutes, if each counted from 2
		s.unique("again")
	}
	if got := s.unique("again"); got != "again-200001" {
		t.Errorf("got %q", got)
	}
}
