package embed

import (
	"strings"
	"testing"
)

// has reports whether the text gives the feature of that word, as the scanner stems it.
func has(s *sketch, word string) bool {
	key := hashRunes(wordSeed, []rune(word))
	for _, e := range s.entries {
		if e.key == key {
			return true
		}
	}
	return false
}

func TestScanWords(t *testing.T) {
	tests := []struct{ text, words, not string }{
		{"ReadAll", "readall read all", ""},
		{"HTTPServer", "httpserver http server", "httpserv"},
		{"parseURLs", "pars url", "ur ls"},
		{"IDs", "ids", "i d"},
		{"max_batch_size", "maxbatchsiz max batch siz", ""},
		{"X509KeyPair", "x509keypair x509 key pair", ""},
		{"utf8String SHA2", "utf8 string sha2", "sha"},
		{"os.File", "os fil", "osfile"},
		{"don't", "dont", "don t"},
		{"the file's", "fil", "s"},
		{"__init__", "init", ""},
		{"ÉcoleÉtat", "ecol etat", ""},
		{strings.Repeat("a", maxWord) + "tail", strings.Repeat("a", maxWord) + " tail", ""},
		{"Go语言", "go", "go语言"},
	}
	for _, tt := range tests {
		s := newSketch()
		s.reset(8)
		s.scan(tt.text)
		for _, w := range strings.Fields(tt.words) {
			if !has(s, w) {
				t.Errorf("%q: no feature for %q", tt.text, w)
			}
		}
		for _, w := range strings.Fields(tt.not) {
			if has(s, w) {
				t.Errorf("%q: a feature for %q", tt.text, w)
			}
		}
	}
}

func TestScanPairs(t *testing.T) {
	pair := func(a, b string) uint64 {
		return hashPair(hashRunes(wordSeed, []rune(a)), hashRunes(wordSeed, []rune(b)))
	}
	tests := []struct {
		text string
		want bool
	}{
		{"parse url", true},
		{"parse the url", true}, // stop words do not part
		{"ParseURL", true},
		{"url.Parse", false}, // the order counts
		{"Parse.URL", true},  // a point without a space is no end
		{"parse. url", false},
		{"to parse!\nurl", false},
		{"parse 語 url", false},
		{"parse big url", false},
	}
	for _, tt := range tests {
		s := newSketch()
		s.reset(8)
		s.scan(tt.text)
		found := false
		for _, e := range s.entries {
			found = found || e.key == pair("pars", "url")
		}
		if found != tt.want {
			t.Errorf("%q: pair found %v, want %v", tt.text, found, tt.want)
		}
	}
}

func TestWeights(t *testing.T) {
	if got := repeated(one, 1); got != one {
		t.Errorf("once: %d, want %d", got, one)
	}
	// 1 + ln 8 = 3.0794
	if got := float64(repeated(one, 8)) / one; got < 3.07 || got > 3.09 {
		t.Errorf("8 times: %v, want 3.08", got)
	}
	last := int64(0)
	for tf := 1; tf < 5000; tf++ {
		got := repeated(one, tf)
		if got < last {
			t.Fatalf("weight falls at tf %d", tf)
		}
		last = got
	}
	if lengthWeight(3) >= lengthWeight(10) || lengthWeight(40) != lengthWeight(maxLetters) || lengthWeight(1) <= 0 {
		t.Error("a longer word must weigh more, up to maxLetters")
	}
}

func TestStem(t *testing.T) {
	groups := []string{
		"line lines", "read reads reading", "parse parses parsed parsing", "verify verifies verified verifying",
		"compress compressed compressing compression", "create creates creating creation", "generate generated generation",
		"match matches matched", "run runs running", "fill fills filling filled", "address addresses", "index indexes",
		"class classes", "query queries", "translate translation", "stop stopped stopping",
	}
	seen := map[string]string{}
	for _, group := range groups {
		words := strings.Fields(group)
		want := string(stem([]rune(words[0])))
		if other, ok := seen[want]; ok {
			t.Errorf("%q and %q have one stem, %q", group, other, want)
		}
		seen[want] = group
		for _, w := range words[1:] {
			if got := string(stem([]rune(w))); got != want {
				t.Errorf("stem(%q) = %q, stem(%q) = %q: want one", w, got, words[0], want)
			}
		}
	}
	for _, same := range []string{"string", "status", "this", "need", "bring", "utf8s", "строки", "run", "class", "gas"} {
		if got := string(stem([]rune(same))); got != same {
			t.Errorf("stem(%q) = %q, want it unchanged", same, got)
		}
	}
}
