package embed

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
)

// lexical embeds one text, which must have features.
func lexical(t testing.TB, text string, dim int) []float32 {
	t.Helper()
	v, err := NewLexical().Embed(context.Background(), []string{text}, dim)
	if err != nil {
		t.Fatalf("Embed(%q): %v", text, err)
	}
	return v[0]
}

func dot(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func TestLexicalUnitLength(t *testing.T) {
	for _, dim := range []int{1, 2, 3, 7, 64, 512, 1000, MaxDim} {
		for _, text := range []string{"a", "the", "7", "read a file line by line", "東京", strings.Repeat("word soup ", 5000)} {
			v := lexical(t, text, dim)
			if len(v) != dim {
				t.Fatalf("dim %d: got %d components", dim, len(v))
			}
			if n := math.Sqrt(dot(v, v)); math.Abs(n-1) > 1e-5 {
				t.Errorf("dim %d, %.20q: length %v, want 1", dim, text, n)
			}
		}
	}
}

// In one dimension signs cancel now and then; the vector must have unit length all the same.
func TestLexicalCancelledSigns(t *testing.T) {
	s := newSketch()
	cancelled := 0
	for r := 'a'; r <= 'z'; r++ {
		s.reset(1)
		s.scan(string(r))
		v := s.vector()
		if s.sums[0] == 0 {
			cancelled++
		}
		if v[0] != 1 && v[0] != -1 {
			t.Errorf("%q: %v, want 1 or -1", r, v)
		}
	}
	if cancelled == 0 {
		t.Error("no text cancelled: the case is not covered")
	}
}

func TestLexicalOrdersBySimilarity(t *testing.T) {
	tests := []struct{ query, near, far string }{
		{"read a file line by line", "Scanner reads a file one line after another.", "Listen announces on the local network address."},
		{"parse a URL and its query string", "ParseQuery parses the URL-encoded query string.", "Sum256 returns the SHA256 checksum of the data."},
		{"wait for a group of goroutines", "WaitGroup.Wait blocks until all goroutines are done.", "A Mutex is a mutual exclusion lock."},
		{"verify a certificate chain", "Certificate.Verify attempts to verify c by building chains.", "A Reader serves content from a ZIP archive."},
		{"lines", "a line", "linear algebra"},                            // stemming
		{"http server", "HTTPServer", "http client"},                     // camelCase
		{"max batch size", "max_batch_size", "maximum payload"},          // snake_case
		{"waitgroup", "WaitGroup", "wait"},                               // the whole identifier
		{"goroutine", "goroutnie", "routing"},                            // a typing error, by n-grams
		{"New York pizza", "pizza in New York", "new pizza, York"},       // pairs
		{"the cat of the house", "cat house", "the dog of the garden"},   // stop words
		{"Crème brûlée", "creme brulee", "crisp bread"},                  // accents
		{"cafe\u0301", "café", "caff"},                                   // decomposed accents
		{"ПРИВЕТ, мир", "привет мира", "пока"},                           // Cyrillic
		{"Größe der Datei", "die GRÖSSE einer datei", "der Name"},        // German
		{"東京都の天気予報", "明日の東京の天気", "大阪で買い物"},                               // Chinese and Japanese
		{"데이터베이스 연결", "데이터베이스에 연결하기", "파일 읽기"},                           // Korean
		{"पानी की कमी", "पानी", "आग"},                                    // marks within words
		{"ＨＴＴＰ２", "http2", "http1"},                                      // full width
		{"rock'n'roll", "rock’n’roll", "rock and roll"},                  // apostrophes
		{"URLs of the page", "the page's url", "the page's header file"}, // the plural of capitals
	}
	for _, tt := range tests {
		q := lexical(t, tt.query, 512)
		near, far := dot(q, lexical(t, tt.near, 512)), dot(q, lexical(t, tt.far, 512))
		if near < far+0.05 {
			t.Errorf("%q: %q scores %.3f, %q %.3f: want the first at least 0.05 higher", tt.query, tt.near, near, tt.far, far)
		}
	}
}

func TestLexicalSameFeaturesSameVector(t *testing.T) {
	tests := []struct{ name, a, b string }{
		{"case", "Read The FILE", "read the file"},
		{"punctuation", "read, the (file)", "read the file"},
		{"space", "read\tthe\n\nfile ", "read the file"},
		{"inflection", "parses lines", "parsed line"},
		{"soft hyphen", "data\u00ADbase", "database"},
		{"ligatures", "Große Œuvre æther", "grosse oeuvre aether"},
		{"decomposed kana", "か\u3099", "か"},
		{"final sigma", "ΟΔΥΣΣΕΥΣ", "οδυσσευς"},
		{"invalid UTF-8 separates", "read\xfffile", "read file"},
	}
	for _, tt := range tests {
		if a, b := lexical(t, tt.a, 256), lexical(t, tt.b, 256); !slices.Equal(a, b) {
			t.Errorf("%s: %q and %q differ (cosine %.3f)", tt.name, tt.a, tt.b, dot(a, b))
		}
	}
}

// Unrelated words must be near orthogonal: a hash that clusters would make everything similar.
func TestLexicalUnrelatedTextsAreNearOrthogonal(t *testing.T) {
	words := []string{"zebra", "quantum", "fjord", "mackerel", "bishop", "vinyl", "glacier", "hydraulic", "poem", "jigsaw",
		"turnip", "waltz", "oxygen", "kernel", "cobalt", "harbour", "desk", "sphinx", "lagoon", "umbrella"}
	vectors, err := NewLexical().Embed(context.Background(), words, 512)
	if err != nil {
		t.Fatal(err)
	}
	sum, pairs := 0.0, 0
	for i := range vectors {
		for j := range i {
			c := dot(vectors[i], vectors[j])
			if math.Abs(c) > 0.5 {
				t.Errorf("%s and %s: cosine %.3f", words[i], words[j], c)
			}
			sum += c * c
			pairs++
		}
	}
	// Of random directions the mean square is 1/dim; few positions for a word make it a little larger.
	if mean := sum / float64(pairs); mean > 4.0/512 {
		t.Errorf("mean squared cosine %.5f, want at most %.5f", mean, 4.0/512)
	}
}

func TestLexicalErrors(t *testing.T) {
	l, ctx := NewLexical(), context.Background()
	for _, empty := range []string{"", "   \n", "... !? --- ''", "___", "\xff\xfe", "\u0301"} {
		_, err := l.Embed(ctx, []string{"fine", "also fine", empty}, 64)
		var none *NoFeaturesError
		if !errors.As(err, &none) || !errors.Is(err, ErrNoFeatures) || none.Index != 2 || !strings.Contains(err.Error(), "text 2") {
			t.Errorf("%q: error %v, want a NoFeaturesError of text 2", empty, err)
		}
	}
	for _, dim := range []int{-1, 0, MaxDim + 1, math.MaxInt} {
		if _, err := l.Embed(ctx, []string{"text"}, dim); !errors.Is(err, ErrDimension) {
			t.Errorf("dim %d: error %v, want ErrDimension", dim, err)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := l.Embed(cancelled, []string{"text"}, 64); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
	if v, err := l.Embed(ctx, nil, 64); err != nil || len(v) != 0 {
		t.Errorf("no texts: %v, %v", v, err)
	}
}

// A sketch is reused: nothing of one text, a failed or a huge one either, may show in the next.
func TestLexicalConcurrentCallsDoNotMix(t *testing.T) {
	texts := []string{"read a file", "東京の天気", "parse URLs", strings.Repeat("x1 y2 z3 ", 300), manyWords(2000)}
	want := make([][]float32, len(texts))
	for i, text := range texts {
		want[i] = lexical(t, text, 128)
	}
	l := NewLexical()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				got, err := l.Embed(context.Background(), texts, 128)
				if err != nil {
					t.Error(err)
					return
				}
				for i := range texts {
					if !slices.Equal(got[i], want[i]) {
						t.Errorf("text %d differs when embedded beside others", i)
						return
					}
				}
				clear(got[0]) // the caller's own: must not reach anybody else
				if _, err := l.Embed(context.Background(), []string{"words before", "?"}, 64); err == nil {
					t.Error("a text of punctuation was embedded")
				}
			}
		})
	}
	wg.Wait()
}

// manyWords is a text of n distinct words, more than a fresh table holds.
func manyWords(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("w" + strings.Repeat("ab", i%7) + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)) + " ")
	}
	return b.String()
}

func FuzzLexical(f *testing.F) {
	for _, s := range []string{"", "a", "ReadAll_x", "URLsOf'é\u0301", "東a京", "\xff\xfe", "İıſß", "__", strings.Repeat("Z", 200)} {
		f.Add(s, 16)
	}
	l := NewLexical()
	f.Fuzz(func(t *testing.T, text string, dim int) {
		a, err := l.Embed(context.Background(), []string{text}, dim)
		if dim < 1 || dim > MaxDim {
			if !errors.Is(err, ErrDimension) {
				t.Fatalf("dim %d: %v", dim, err)
			}
			return
		}
		if errors.Is(err, ErrNoFeatures) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := dot(a[0], a[0]); math.Abs(n-1) > 1e-4 {
			t.Fatalf("squared length %v", n)
		}
		if b := lexical(t, text, dim); !slices.Equal(a[0], b) {
			t.Fatal("a fresh embedder gives another vector")
		}
	})
}
