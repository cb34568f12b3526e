package demo

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/corpus"
)

func TestPhraseOf(t *testing.T) {
	symbol := map[string]string{"symbol": "Decoder.Decode"}
	cases := map[string]struct {
		text string
		meta map[string]string
		want string
	}{
		"a short sentence":        {"Bees live in a hive. And so on and so forth.", nil, "Bees live in a hive"},
		"too short, then right":   {"See below. The queen lays all of the eggs.", nil, "The queen lays all of the eggs"},
		"only long":               {"one two three four five six seven eight nine ten eleven twelve", nil, "one two three four five six seven eight nine ten"},
		"long, then right":        {"one two three four five six seven eight nine ten eleven. A better one is here.", nil, "A better one is here"},
		"nothing":                 {"Too short", nil, ""},
		"tables":                  {"| a row | of a | table | here |\nThen a sentence with words.", nil, "Then a sentence with words"},
		"marks":                   {"- **Run** the `tool` with [care](x) please!", nil, "Run the tool with care(x) please"},
		"the heading is not it":   {"Guide > How to keep your bees: Feed them in the winter.", map[string]string{"heading": "Guide > How to keep your bees"}, "Feed them in the winter"},
		"the symbol is not it":    {"json.Decoder.Decode: Decode reads the next JSON value.", symbol, "reads the next JSON value"},
		"nor alone":               {"json.Decoder.Decode: reads the next value.", symbol, "reads the next value"},
		"lines":                   {"First line\nThe second line is longer\nx", nil, "The second line is longer"},
		"signs do not make words": {"a - - - - - b", nil, ""},
	}
	for name, tc := range cases {
		if got := phraseOf(corpus.Document{Text: tc.text, Metadata: tc.meta}); got != tc.want {
			t.Errorf("%s: phraseOf(%q) = %q, want %q", name, tc.text, got, tc.want)
		}
	}
}

func TestOpening(t *testing.T) {
	for text, want := range map[string]string{
		"a b":                        "a b",
		"1 2 3 4 5 6 7 8 9 10 11":    "1 2 3 4 5 6 7 8 9 10",
		"":                           "",
		"- - -":                      "",
		"~ ~ ~ ~ ~ ~ ~ ~ ~ ~ ~ word": "",
	} {
		if got := opening(corpus.Document{Text: text}); got != want {
			t.Errorf("opening(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestPhrasesPick(t *testing.T) {
	considered := func(spaces, each int) []question {
		var p phrases
		for s := range spaces {
			for i := range each {
				p.consider(corpus.Document{Space: fmt.Sprint("space", s), Text: fmt.Sprintf("the phrase number p%d in s%d", i, s)})
			}
		}
		return p.pick()
	}
	for _, tc := range []struct{ spaces, each, want, wantSpaces int }{
		{0, 0, 0, 0}, {1, 2, 2, 1}, {1, 1000, 5, 1}, {2, 10, 5, 2}, {3, 1, 3, 3}, {20, 30, 5, 5}, {4, 900, 5, 4},
	} {
		got := considered(tc.spaces, tc.each)
		spaces, texts := map[string]bool{}, map[string]bool{}
		for _, q := range got {
			texts[q.text] = true
			spaces[q.text[strings.LastIndex(q.text, "s"):]] = true
			if len(q.spaces) > 0 || q.exported {
				t.Errorf("a phrase is asked everywhere, not as %+v", q)
			}
		}
		if len(got) != tc.want || len(texts) != tc.want || len(spaces) != tc.wantSpaces {
			t.Errorf("%d spaces of %d phrases: %v, want %d of %d spaces", tc.spaces, tc.each, got, tc.want, tc.wantSpaces)
		}
		again := considered(tc.spaces, tc.each)
		if !slices.EqualFunc(got, again, func(a, b question) bool { return a.text == b.text }) {
			t.Errorf("the same documents give %v, then %v", got, again)
		}
	}
}

// The reservoir keeps late phrases too.
func TestPhrasesKeepsAll(t *testing.T) {
	var p phrases
	const n = 20 * maxPhrases
	for i := range n {
		p.consider(corpus.Document{Text: fmt.Sprintf("this is the phrase %d", i)})
	}
	late := 0
	for _, kept := range p.kept {
		var i int
		if _, err := fmt.Sscanf(kept.query, "this is the phrase %d", &i); err != nil {
			t.Fatal(err)
		}
		if i >= n/2 {
			late++
		}
	}
	if len(p.kept) != maxPhrases || late < maxPhrases/4 || late > maxPhrases*3/4 {
		t.Errorf("of %d phrases kept %d are of the later half", len(p.kept), late)
	}
}

// A toolchain without some of the folders is asked where it has something.
func TestToolchainQuestions(t *testing.T) {
	s := &source{toolchain: true}
	qs := s.questions([]string{"bufio", "path", "net"})
	if len(qs) != asked || qs[0].text != "read a file line by line" {
		t.Fatalf("questions %v", qs)
	}
	for _, q := range qs {
		for _, space := range q.spaces {
			if !slices.Contains([]string{"bufio", "path", "net"}, space) {
				t.Errorf("%q is asked in %q, which is not there", q.text, space)
			}
		}
	}
	if got := qs[3].spaces; !slices.Equal(got, []string{"path"}) {
		t.Errorf("%q is asked in %v", qs[3].text, got)
	}
}

func TestBest(t *testing.T) {
	got := best([][]Hit{
		{{ID: "a", Space: "x", Score: .5, Text: "one"}, {ID: "b", Space: "x", Score: .2, Text: "two"}},
		nil,
		{{ID: "c", Space: "y", Score: .9, Text: "three"}, {ID: "d", Space: "y", Score: .45678, Text: "one"}, {ID: "e", Space: "y", Score: .45678, Text: "four"}},
	})
	ids := ""
	for _, h := range got {
		ids += h.ID
	}
	if ids != "cae" || got[2].Score != .457 {
		t.Errorf("best = %+v, want c, a and e", got)
	}
	if got := best(nil); got == nil || len(got) != 0 {
		t.Errorf("no hits are %v, and should be an empty list in JSON", got)
	}
}
