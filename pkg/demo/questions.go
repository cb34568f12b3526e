package demo

import (
	"math/rand/v2"
	"slices"
	"strings"
	"unicode"

	"github.com/engram-memory/engram/pkg/corpus"
)

// question is what is asked.
type question struct {
	text   string
	spaces []string // where; empty for all
	// exported leaves out what a Go program cannot use.
	exported bool
}

// asked is how many questions there are.
const asked = 5

// questions returns what to ask of the spaces that exist: the five of the toolchain, or phrases out of a folder.
func (s *source) questions(existing []string) []question {
	if !s.toolchain {
		return s.phrases.pick()
	}
	all := []question{
		{text: "read a file line by line", spaces: []string{"bufio"}},
		{text: "parse a URL and its query"},
		{text: "wait for a group of goroutines to finish"},
		{text: "walk a directory tree", spaces: []string{"path", "io", "os"}},
		{text: "verify a certificate chain", spaces: []string{"crypto"}},
	}
	for i := range all {
		all[i].exported = true
		all[i].spaces = slices.DeleteFunc(all[i].spaces, func(name string) bool { return !slices.Contains(existing, name) })
	}
	return all
}

// phrases keeps some of the phrases that it has seen, all with the same chance (reservoir sampling, Vitter's algorithm R).
// The zero value is ready; the same documents give the same phrases.
type phrases struct {
	rng  *rand.Rand
	seen int
	kept []topic
}

const maxPhrases = 256

func (p *phrases) consider(d corpus.Document) {
	phrase := phraseOf(d)
	if phrase == "" {
		return
	}
	if p.rng == nil {
		p.rng = rand.New(rand.NewPCG(3, 4))
	}
	p.seen++
	if len(p.kept) < maxPhrases {
		p.kept = append(p.kept, topic{d.Space, phrase})
	} else if i := p.rng.IntN(p.seen); i < maxPhrases {
		p.kept[i] = topic{d.Space, phrase}
	}
}

// pick chooses up to five, from as many spaces as there are.
func (p *phrases) pick() []question {
	if p.rng == nil {
		return nil
	}
	p.rng.Shuffle(len(p.kept), func(i, j int) { p.kept[i], p.kept[j] = p.kept[j], p.kept[i] })
	spaces, texts := map[string]int{}, map[string]bool{}
	var out []question
	for round := 0; round < asked && len(out) < asked; round++ {
		for _, t := range p.kept {
			if len(out) == asked || spaces[t.space] > round || texts[t.query] {
				continue
			}
			spaces[t.space]++
			texts[t.query] = true
			out = append(out, question{text: t.query})
		}
	}
	return out
}

// Words of a phrase.
const (
	minWords = 4
	maxWords = 10
)

// phraseOf returns the first sentence of a document that makes a question of its own: one of a few words, or the
// beginning of a longer one. It is empty when there is none.
func phraseOf(d corpus.Document) string {
	long := ""
	for sentence := range strings.SplitSeq(body(d), "\n") {
		for sentence := range strings.SplitSeq(sentence, ". ") {
			words := slices.DeleteFunc(strings.Fields(sentence), func(w string) bool { return !hasWord(w) })
			if symbol := d.Metadata["symbol"]; symbol != "" && len(words) > 0 && strings.HasSuffix(symbol, words[0]) {
				words = words[1:] // "Decode reads the next ...": the symbol alone would find it
			}
			switch {
			case len(words) < minWords || strings.Contains(sentence, "|"): // a table is no sentence
			case len(words) <= maxWords:
				return clean(words)
			case long == "":
				long = clean(words[:maxWords])
			}
		}
	}
	return long
}

// opening returns the first words of a document, to ask for it while it loads. It is empty when there are none.
func opening(d corpus.Document) string {
	words := strings.Fields(body(d))
	if phrase := clean(words[:min(len(words), maxWords)]); hasWord(phrase) {
		return phrase
	}
	return ""
}

// body is the text without the symbol or the headings that it stands under.
func body(d corpus.Document) string {
	if d.Metadata["symbol"] != "" {
		if _, comment, ok := strings.Cut(d.Text, ": "); ok {
			return comment
		}
	}
	if heading := d.Metadata["heading"]; heading != "" {
		return strings.TrimPrefix(d.Text, heading+": ")
	}
	return d.Text
}

// clean puts words together without the marks of Markdown and of the end of a sentence.
func clean(words []string) string {
	text := strings.Map(func(r rune) rune {
		if strings.ContainsRune("*`#[]|\"<>", r) {
			return -1
		}
		return r
	}, strings.Join(words, " "))
	return strings.TrimFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
}

func hasWord(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) })
}
