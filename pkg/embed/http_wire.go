package embed

import (
	"encoding/json"
	"fmt"
)

// request is the body of POST /v1/embeddings.
type request struct {
	Model          string   `json:"model"`
	Input          []string `json:"input"`
	EncodingFormat string   `json:"encoding_format"`
	Dimensions     int      `json:"dimensions,omitempty"`
}

// answer is the body of a 200. A pointer tells an index of 0 from none: some services leave it out, and answer in order.
type answer struct {
	Data []struct {
		Index     *int      `json:"index"`
		Embedding []float32 `json:"embedding"`
	} `json:"data"`
}

func encodeRequest(cfg HTTPConfig, texts []string, dim int) ([]byte, error) {
	r := request{Model: cfg.Model, Input: texts, EncodingFormat: "float"}
	if cfg.SendDimensions {
		r.Dimensions = dim
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	return body, nil
}

// answerLimit is the most bytes that n vectors take in JSON: 32 for a component, which is more than a float64 in full and
// white space need. A model of another dimension than dim must still be heard, to be told from a broken service.
func answerLimit(n, dim int) int64 {
	return 1<<20 + 32*int64(n)*int64(max(dim, MaxDim))
}

// decodeAnswer returns the n vectors of an answer in the order of the request's texts.
func decodeAnswer(body []byte, name string, n, dim int) ([][]float32, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("the embedding service answered 200, but not with embeddings as JSON: %w", err)
	}
	if len(a.Data) != n {
		return nil, fmt.Errorf("the embedding service answered %d vectors to %d texts", len(a.Data), n)
	}
	vectors := make([][]float32, n)
	for i, d := range a.Data {
		at := i
		switch {
		case (d.Index == nil) != (a.Data[0].Index == nil):
			return nil, fmt.Errorf("the embedding service numbered some of its %d vectors and not others", n)
		case d.Index != nil:
			at = *d.Index
		}
		if at < 0 || at >= n || vectors[at] != nil {
			return nil, fmt.Errorf("the embedding service answered a vector for text %d of %d, which it was not asked for or did before", at, n)
		}
		if len(d.Embedding) == 0 {
			return nil, fmt.Errorf("the embedding service answered an empty vector for text %d of %d", at, n)
		}
		if len(d.Embedding) != dim {
			return nil, &DimensionError{Embedder: name, Want: dim, Got: len(d.Embedding)}
		}
		vectors[at] = d.Embedding
	}
	return vectors, nil
}
