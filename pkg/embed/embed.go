// Package embed turns text into vectors.
//
// There are two embedders. [Lexical] is built in, needs no model and no network, and compares spelling: it brings texts
// together that share words, word pairs and pieces of words. It is lexical, not semantic: "car" and "automobile" are
// strangers to it. [HTTP] asks a model behind any OpenAI-compatible /v1/embeddings endpoint.
//
// A space's definition names its embedder; a [Set] resolves that name. What was embedded under a name is stored and
// compared for years, so a name stands for one function of the text: an embedder whose vectors would change takes a new
// name.
package embed

import (
	"context"
	"errors"
	"fmt"
)

// MaxDim is the largest dimension an embedder makes vectors of, that of the contract (space.proto).
const MaxDim = 4096

// Embedder turns text into vectors of a given dimension. Implementations are safe for concurrent use.
type Embedder interface {
	// Name is how a space definition names it: "lexical", "http:<model>".
	Name() string
	// Embed returns one vector of dim components for each text, in the order of texts. The vectors are fresh memory
	// that the caller owns. dim is 1..[MaxDim]. It is all or nothing: with an error there are no vectors. No texts give
	// no vectors and no error.
	Embed(ctx context.Context, texts []string, dim int) ([][]float32, error)
}

// ErrNoFeatures matches (errors.Is) a text in which there is nothing to embed; [NoFeaturesError] says which.
var ErrNoFeatures = errors.New("the text has nothing to embed")

// NoFeaturesError reports a text without anything to embed: empty, blank, or (for [Lexical]) without one letter or
// digit. It matches [ErrNoFeatures].
type NoFeaturesError struct {
	Index int // of the text among those passed to Embed
}

func (e *NoFeaturesError) Error() string {
	return fmt.Sprintf("text %d has nothing to embed: it needs at least one letter or digit", e.Index)
}

// Is reports whether target is [ErrNoFeatures].
func (e *NoFeaturesError) Is(target error) bool { return target == ErrNoFeatures }

// ErrDimension matches (errors.Is) every disagreement about the dimension of vectors; [DimensionError] has the numbers.
var ErrDimension = errors.New("the dimension does not fit")

// DimensionError reports that an embedder cannot make, or did not make, vectors of the dimension asked for. It matches
// [ErrDimension].
type DimensionError struct {
	Embedder string // its name
	Want     int    // components asked for
	Got      int    // components the model answered with; 0 when Want itself is outside 1..MaxDim
}

func (e *DimensionError) Error() string {
	if e.Got == 0 {
		return fmt.Sprintf("embedder %q cannot make vectors of dimension %d: it must be 1 to %d", e.Embedder, e.Want, MaxDim)
	}
	return fmt.Sprintf("embedder %q makes vectors of dimension %d, but the space has dimension %d: "+
		"define the space with dimension %d, or choose another model", e.Embedder, e.Got, e.Want, e.Got)
}

// Is reports whether target is [ErrDimension].
func (e *DimensionError) Is(target error) bool { return target == ErrDimension }

// checkDim refuses a dimension that no space can have, before anything is allocated by it.
func checkDim(name string, dim int) error {
	if dim < 1 || dim > MaxDim {
		return &DimensionError{Embedder: name, Want: dim}
	}
	return nil
}
