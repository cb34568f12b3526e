package vecstore

import (
	"fmt"

	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

// maxDimension is what the sums of the kernels and a record can hold.
const maxDimension = 16384

// usable tells why no space can be made of the definition; nil when one can.
func (d *Definition) usable() error {
	switch {
	case d.Dimension < 1 || d.Dimension > maxDimension:
		return fmt.Errorf("%w: space %q wants a dimension of 1 to %d, not %d", ErrDefinition, d.Name, maxDimension, d.Dimension)
	case d.Metric < Cosine || d.Metric > L2:
		return fmt.Errorf("%w: space %q wants a metric of cosine, dot or l2", ErrDefinition, d.Name)
	case d.Vectors > VectorsNone:
		return fmt.Errorf("%w: space %q keeps its vectors as f32, f16 or none", ErrDefinition, d.Name)
	case d.Engine != "" && d.Engine != EngineHNSW && d.Engine != EngineExact && d.Engine != EngineCoder:
		return fmt.Errorf("%w: space %q wants the engine %q; there are %s, %s and %s",
			ErrDefinition, d.Name, d.Engine, EngineHNSW, EngineExact, EngineCoder)
	}
	return nil
}

// body is the definition as the row log keeps it. What of it the row log calls the encoding is what the space keeps.
func (d *Definition) body() []byte {
	return rows.AppendDefinition(nil, &rows.Definition{
		Name: d.Name, Dimension: d.Dimension, Metric: uint8(d.Metric), Vectors: (&codec{vectors: d.Vectors}).encoding(),
		Generation: d.Generation, Embedder: d.Embedder, Engine: d.Engine, CreatedAt: d.CreatedAt,
	})
}

func parseDefinition(body []byte) (Definition, error) {
	r, err := rows.ParseDefinition(body)
	if err != nil {
		return Definition{}, err
	}
	d := Definition{
		Name: r.Name, Dimension: r.Dimension, Metric: Metric(r.Metric), Generation: r.Generation,
		Embedder: r.Embedder, Engine: r.Engine, CreatedAt: r.CreatedAt,
	}
	switch r.Vectors {
	case rows.F16:
		d.Vectors = VectorsF16
	case rows.I8:
		d.Vectors = VectorsNone
	}
	return d, nil
}
