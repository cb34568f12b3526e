package rows

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// MaxDimension is that of the longest f32 vector that fits into a record.
const MaxDimension = (MaxRecord - recordHeader) / 4

// Definition is the body of a define. What its numbers and names mean, the caller knows.
type Definition struct {
	Name string
	// Dimension is the number of components of every embedding of the space.
	Dimension uint32
	Metric    uint8
	// Vectors is the Encoding of the vectors of the space.
	Vectors Encoding
	// Generation counts the lives of a name, from 1.
	Generation uint32
	Embedder   string
	Engine     string
	// CreatedAt is Unix time in nanoseconds.
	CreatedAt int64
}

const definitionFixed = 18

// AppendDefinition writes the body of a define: dimension, generation (u32 each), creation time (u64), metric, vectors
// (one byte each), then name, embedder and engine, each a uvarint length and its bytes.
func AppendDefinition(dst []byte, d *Definition) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, d.Dimension)
	dst = binary.LittleEndian.AppendUint32(dst, d.Generation)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(d.CreatedAt))
	dst = append(dst, d.Metric, byte(d.Vectors))
	for _, s := range []string{d.Name, d.Embedder, d.Engine} {
		dst = appendString(dst, s)
	}
	return dst
}

// ParseDefinition reads the body of a define.
func ParseDefinition(b []byte) (Definition, error) {
	if len(b) < definitionFixed {
		return Definition{}, fmt.Errorf("%w: a definition of %d bytes", ErrCorrupt, len(b))
	}
	d := Definition{
		Dimension:  binary.LittleEndian.Uint32(b),
		Generation: binary.LittleEndian.Uint32(b[4:]),
		CreatedAt:  int64(binary.LittleEndian.Uint64(b[8:])),
		Metric:     b[16],
		Vectors:    Encoding(b[17]),
	}
	b = b[definitionFixed:]
	for _, s := range []*string{&d.Name, &d.Embedder, &d.Engine} {
		part, rest, err := cutString(b)
		if err != nil {
			return Definition{}, err
		}
		*s, b = string(part), rest
	}
	return d, nil
}

// ParseIDs reads the body of a forget.
func ParseIDs(b []byte) ([]string, error) {
	var ids []string
	for len(b) > 0 {
		id, rest, err := cutString(b)
		if err != nil {
			return nil, err
		}
		ids, b = append(ids, string(id)), rest
	}
	return ids, nil
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func cutString(b []byte) (s, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, fmt.Errorf("%w: a string runs past the end of its record", ErrCorrupt)
	}
	end := w + int(n)
	return b[w:end], b[end:], nil
}

// bytesOf is the bytes of s, which nobody writes to.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
