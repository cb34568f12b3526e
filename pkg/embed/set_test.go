package embed

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// named is an embedder that has a name only.
type named string

func (n named) Name() string { return string(n) }

func (n named) Embed(context.Context, []string, int) ([][]float32, error) {
	return nil, errors.New("not for embedding")
}

func TestSet(t *testing.T) {
	l := NewLexical()
	s := NewSet(named("lexical"), nil, named("http:m"), l)
	if e, err := s.Lookup("lexical"); err != nil || e != l {
		t.Errorf("lexical: %v, %v: want the later of two", e, err)
	}
	if e, err := s.Lookup("http:m"); err != nil || e != named("http:m") {
		t.Errorf("http:m: %v, %v", e, err)
	}
	_, err := s.Lookup("http:other")
	if !errors.Is(err, ErrUnknownEmbedder) || !strings.Contains(err.Error(), `"http:other"`) || !strings.Contains(err.Error(), "http:m, lexical") {
		t.Errorf("unknown: error %q must match ErrUnknownEmbedder and list the names there are", err)
	}
	if _, err := NewSet().Lookup("lexical"); !errors.Is(err, ErrUnknownEmbedder) {
		t.Errorf("empty set: %v", err)
	}
}
