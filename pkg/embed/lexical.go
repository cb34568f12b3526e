package embed

import (
	"context"
	"sync"
)

// lexicalName is the name of the scheme, and its version: the vectors it makes are stored. A change to any part of it
// (what is a word, stemming, weights, hashes, positions) is another scheme and takes another name, such as "lexical-2".
// The golden test holds it still.
const lexicalName = "lexical"

// MinLexicalDim is the least dimension that a space of the built-in embedder should have: scaled to unit length, a vector
// of one component is 1 or -1, and every text is equal to about half of all others. Words collide up to far larger ones.
const MinLexicalDim = 2

// Lexical is the built-in embedder: signed feature hashing of words, pairs of words and character n-grams. It needs no
// model. It is lexical, not semantic: texts are near when they share spelling, not when they share meaning, and the
// cosine of two vectors approximates the weighted overlap of the features of the texts.
//
// The scheme. Text is cut into words at everything that is not a letter, a digit or a mark. Latin letters lose case and
// accents, words lose the commonest English endings (lines: line, parsing: pars); stop words stay, with little weight. An
// identifier counts as a whole and as its parts (ReadAll: readall, read, all). Each distinct word w that occurs tf times
// adds, for its N character n-grams (n = 3..5, boundaries included),
//
//	(1 + ln tf) · weight(w) · (feature of w + 0.7/√N · sum of the features of its n-grams)
//
// where weight grows a little with the length of the word, and is doubled for the words that open the text, which say
// what it is about. Pairs of neighbouring words, stop words skipped, add features of their own. Scripts that do not put spaces between words (Han,
// kana), and Hangul, give n-grams of 1..3 characters in place of words. Every feature is hashed to 64 bits and added,
// with a sign of its own, to a few positions of the vector, which is then scaled to unit length.
//
// The source of the hashing trick and of its signs is Weinberger, Dasgupta, Langford, Smola and Attenberg, "Feature
// Hashing for Large Scale Multitask Learning", ICML 2009; several positions for one feature, which evens out collisions,
// is the sparse Johnson-Lindenstrauss transform of Kane and Nelson, "Sparser Johnson-Lindenstrauss Transforms", JACM
// 2014; n-grams with boundary marks are those of Bojanowski et al., "Enriching Word Vectors with Subword Information",
// TACL 2017.
//
// Equal text gives equal bits, on every machine: sums are of integers, so neither their order nor a fused
// multiply-add can show, and what floating point remains is single operations that IEEE 754 rounds in one way only. One
// thing comes from outside: which runes are letters, and their lower case, is what the unicode package of the Go
// release says. That does not change for a character that Unicode had assigned, so it matters only for text in characters
// newer than the binary.
//
// The zero value is not usable; see [NewLexical].
type Lexical struct {
	scratch *sync.Pool // of *sketch
}

// NewLexical returns the built-in embedder. It holds no goroutine and needs no closing.
func NewLexical() *Lexical {
	return &Lexical{scratch: &sync.Pool{New: func() any { return newSketch() }}}
}

// Name returns "lexical".
func (l *Lexical) Name() string { return lexicalName }

// Embed implements [Embedder]. Vectors have unit length. The time is proportional to the text; ctx is looked at between
// texts. A text without a letter or digit fails the call with a [NoFeaturesError], a dimension outside 1..[MaxDim] with
// a [DimensionError].
func (l *Lexical) Embed(ctx context.Context, texts []string, dim int) ([][]float32, error) {
	if err := checkDim(lexicalName, dim); err != nil {
		return nil, err
	}
	s := l.scratch.Get().(*sketch)
	defer func() {
		// What one huge text needed is not worth holding on to.
		if s.small() {
			l.scratch.Put(s)
		}
	}()
	// Each vector is memory of its own: one array for all would stay alive as long as any of them.
	vectors := make([][]float32, len(texts))
	for i, text := range texts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.reset(dim)
		s.scan(text)
		if len(s.entries) == 0 {
			return nil, &NoFeaturesError{Index: i}
		}
		vectors[i] = s.vector()
	}
	return vectors, nil
}
