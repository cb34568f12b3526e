package corpus

import (
	"strings"
	"testing"
)

func TestSpaceName(t *testing.T) {
	for in, want := range map[string]string{
		"encoding":                      "encoding",
		"My Notes (2024)":               "my-notes-2024",
		"a_b-c":                         "a_b-c",
		"-_x_-":                         "x",
		"--- a":                         "a",
		"a/../b":                        "a-b",
		"Été":                           "t",
		"":                              "space-811c9dc5", // FNV-1a-32 of nothing
		"..":                            SpaceName(".."),  // checked for legality below
		"日本":                            SpaceName("日本"),
		strings.Repeat("x", 100):        strings.Repeat("x", 63),
		strings.Repeat("x", 62) + "-yz": strings.Repeat("x", 62),
		strings.Repeat("x", 62) + " yz": strings.Repeat("x", 62),
	} {
		got := SpaceName(in)
		if got != want || !legalSpace.MatchString(got) {
			t.Errorf("SpaceName(%q) = %q, want %q", in, got, want)
		}
	}
	if SpaceName("日本") == SpaceName("中国") {
		t.Error("two names without a legal character share a space")
	}
}

func FuzzSpaceName(f *testing.F) {
	f.Add("a b")
	f.Add("\xff-_")
	f.Fuzz(func(t *testing.T, s string) {
		name := SpaceName(s)
		if !legalSpace.MatchString(name) {
			t.Fatalf("SpaceName(%q) = %q is illegal", s, name)
		}
		if again := SpaceName(name); again != name {
			t.Fatalf("the legal name %q became %q", name, again)
		}
	})
}
