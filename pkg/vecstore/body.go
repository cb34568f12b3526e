package vecstore

import (
	"encoding/binary"
	"fmt"
)

// maxDimension is that of the longest vector that fits into a record.
const maxDimension = (maxRecord - recordHeader) / 4

// usable tells whether a space can be made of the definition, its engine aside.
func (d *Definition) usable() bool {
	return d.Dimension > 0 && d.Dimension <= maxDimension && d.Metric >= Cosine && d.Metric <= L2
}

// appendDefinition writes the body of a define record: dimension, generation (u32 each), creation time (u64), metric
// (one byte), then name, embedder and engine, each a uvarint length and its bytes.
func appendDefinition(dst []byte, d *Definition) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, d.Dimension)
	dst = binary.LittleEndian.AppendUint32(dst, d.Generation)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(d.CreatedAt))
	dst = append(dst, byte(d.Metric))
	for _, s := range []string{d.Name, d.Embedder, d.Engine} {
		dst = appendString(dst, s)
	}
	return dst
}

func parseDefinition(b []byte) (Definition, error) {
	if len(b) < 17 {
		return Definition{}, fmt.Errorf("%w: a definition of %d bytes", ErrCorrupt, len(b))
	}
	d := Definition{
		Dimension:  binary.LittleEndian.Uint32(b),
		Generation: binary.LittleEndian.Uint32(b[4:]),
		CreatedAt:  int64(binary.LittleEndian.Uint64(b[8:])),
		Metric:     Metric(b[16]),
	}
	b = b[17:]
	var err error
	for _, s := range []*string{&d.Name, &d.Embedder, &d.Engine} {
		if *s, b, err = cutString(b); err != nil {
			return Definition{}, err
		}
	}
	return d, nil
}

func appendIDs(dst []byte, ids []string) []byte {
	for _, id := range ids {
		dst = appendString(dst, id)
	}
	return dst
}

func parseIDs(b []byte) ([]string, error) {
	var ids []string
	for len(b) > 0 {
		var id string
		var err error
		if id, b, err = cutString(b); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func cutString(b []byte) (s string, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return "", nil, fmt.Errorf("%w: a string runs past the end of its record", ErrCorrupt)
	}
	end := w + int(n)
	return string(b[w:end]), b[end:], nil
}
