package embed

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ErrUnknownEmbedder matches (errors.Is) the error for a name that a [Set] does not hold.
var ErrUnknownEmbedder = errors.New("unknown embedder")

// Set resolves the embedder that a space definition names. It never changes, so it is safe for concurrent use.
type Set struct {
	byName map[string]Embedder
}

// NewSet returns the set of the given embedders, by their names. Of two with one name the later wins; a nil one is left
// out, so that a caller can pass an embedder that is not configured.
func NewSet(embedders ...Embedder) *Set {
	s := &Set{byName: make(map[string]Embedder, len(embedders))}
	for _, e := range embedders {
		if e != nil {
			s.byName[e.Name()] = e
		}
	}
	return s
}

// Lookup returns the embedder of that name. The error for an unknown name matches [ErrUnknownEmbedder] and lists the
// names there are.
func (s *Set) Lookup(name string) (Embedder, error) {
	if e, ok := s.byName[name]; ok {
		return e, nil
	}
	known := "none is configured"
	if names := s.Names(); len(names) > 0 {
		known = "there are: " + strings.Join(names, ", ")
	}
	return nil, fmt.Errorf("%w %q (%s)", ErrUnknownEmbedder, name, known)
}

// Names returns the names in the set, sorted.
func (s *Set) Names() []string {
	return slices.Sorted(maps.Keys(s.byName))
}
