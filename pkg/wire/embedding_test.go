package wire_test

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

func nan() float32 { return float32(math.NaN()) }
func inf() float32 { return float32(math.Inf(1)) }

func decodeEmbedding(body string) (*api.Embedding, *wire.Error) {
	req, _, err := wire.DecodeObserve(wire.JSON, []byte(`{"embedding":`+body+`}`))
	if err != nil {
		return nil, err
	}
	return req.GetObservations()[0].GetEmbedding(), nil
}

func TestJSONEmbedding(t *testing.T) {
	packed := base64.StdEncoding.EncodeToString(event.AppendF32(nil, []float32{0.25, -1, 1e-45}))
	for body, want := range map[string][]float32{
		`[1]`: {1}, `[0.25,-1,1e-45]`: {0.25, -1, 1e-45}, " [ 1 ,\n\t2 , 3e1 ] ": {1, 2, 30}, `[3.4028235e38]`: {math.MaxFloat32},
		`"` + packed + `"`: {0.25, -1, 1e-45}, `[1e-400, -0]`: {0, float32(math.Copysign(0, -1))},
	} {
		e, err := decodeEmbedding(body)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		equal(t, e, f32(want...))
	}
	if e, err := decodeEmbedding("null"); e != nil || err != nil {
		t.Errorf("null is %v, %v", e, err)
	}
	// An empty one is an embedding all the same, as in protobuf, and is refused as one.
	for _, body := range []string{`[]`, `[ ]`, `""`} {
		e, err := decodeEmbedding(body)
		if err != nil || e == nil {
			t.Errorf("%s is %v, %v", body, e, err)
			continue
		}
		_, err = wire.EmbeddingF32(e, false)
		refused(t, err, wire.CodeInvalidEmbedding, "embedding")
	}
}

func TestJSONEmbeddingRefusals(t *testing.T) {
	for _, body := range []string{
		`[1e400]`, `[-1e39]`, `[3.5e38]`, `["NaN"]`, `["1"]`, `[null]`, `[true]`, `[[1,2],[3,4]]`, `[{}]`, `[1,"a,b"]`,
		`{}`, `{"data":[1]}`, `5`, `12`, `123`, `-1.5e3`, `true`, `false`,
		`"no base64!"`, `"AAAA"`, `"AACAPw"`, `"AACAPwAA"`,
	} {
		t.Run(body, func(t *testing.T) {
			_, err := decodeEmbedding(body)
			refused(t, err, wire.CodeInvalidEmbedding, "embedding")
		})
	}
	// These are not JSON at all.
	for _, body := range []string{`[NaN]`, `[Infinity]`, `[1,]`, `[01]`, `[0x1p3]`, `[1`} {
		_, err := decodeEmbedding(body)
		refused(t, err, wire.CodeMalformed, "")
	}
}

func TestEmbeddingEncodings(t *testing.T) {
	half := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, 0x3c00), 0xc000) // 1, -2
	for name, c := range map[string]struct {
		in   *api.Embedding
		want []float32
	}{
		"f32":         {f32(1, -2), []float32{1, -2}},
		"unspecified": {&api.Embedding{Data: f32(1, -2).GetData()}, []float32{1, -2}},
		"f16":         {&api.Embedding{Data: half, Encoding: api.Encoding_ENCODING_F16}, []float32{1, -2}},
		"i8":          {&api.Embedding{Data: []byte{127, 0x80, 1}, Encoding: api.Encoding_ENCODING_I8, Scale: 0.5}, []float32{63.5, -64, 0.5}},
		"largest":     {&api.Embedding{Data: []byte(strings.Repeat("\x01", event.MaxDimension)), Encoding: api.Encoding_ENCODING_I8, Scale: 1}, nil},
	} {
		packed, err := wire.EmbeddingF32(c.in, true)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.want != nil && string(packed) != string(event.AppendF32(nil, c.want)) {
			t.Errorf("%s is %v, want %v", name, event.DecodeF32(nil, packed), c.want)
		}
	}
	for _, c := range []struct {
		in    *api.Embedding
		code  wire.Code
		field string
	}{
		{nil, wire.CodeInvalidEmbedding, "embedding"},
		{&api.Embedding{}, wire.CodeInvalidEmbedding, "embedding"},
		{&api.Embedding{Data: []byte{1, 2, 3}}, wire.CodeInvalidEmbedding, "embedding"},
		{&api.Embedding{Data: []byte{1, 2, 3}, Encoding: api.Encoding_ENCODING_F16}, wire.CodeInvalidEmbedding, "embedding"},
		{&api.Embedding{Encoding: api.Encoding_ENCODING_F16}, wire.CodeInvalidEmbedding, "embedding"},
		{&api.Embedding{Data: []byte{1}, Encoding: 4}, wire.CodeUnknownEncoding, "embedding"},
		{&api.Embedding{Data: []byte{1}, Encoding: -1}, wire.CodeUnknownEncoding, "embedding"},
		{&api.Embedding{Data: []byte{1}, Encoding: api.Encoding_ENCODING_I8}, wire.CodeInvalidEmbedding, "embedding.scale"},
		{&api.Embedding{Data: []byte{1}, Encoding: api.Encoding_ENCODING_I8, Scale: -1}, wire.CodeInvalidEmbedding, "embedding.scale"},
		{&api.Embedding{Data: []byte{1}, Encoding: api.Encoding_ENCODING_I8, Scale: nan()}, wire.CodeInvalidEmbedding, "embedding.scale"},
		{&api.Embedding{Data: []byte{1}, Encoding: api.Encoding_ENCODING_I8, Scale: inf()}, wire.CodeInvalidEmbedding, "embedding.scale"},
		{&api.Embedding{Data: []byte{127}, Encoding: api.Encoding_ENCODING_I8, Scale: math.MaxFloat32}, wire.CodeInvalidEmbedding, "embedding"},
		{&api.Embedding{Data: []byte{0, 0x7c}, Encoding: api.Encoding_ENCODING_F16}, wire.CodeInvalidEmbedding, "embedding"}, // infinity
		{&api.Embedding{Data: []byte{1, 0x7c}, Encoding: api.Encoding_ENCODING_F16}, wire.CodeInvalidEmbedding, "embedding"}, // NaN
		{f32(1, nan()), wire.CodeInvalidEmbedding, "embedding"},
		{f32(-inf()), wire.CodeInvalidEmbedding, "embedding"},
		{f32(0, 0), wire.CodeInvalidEmbedding, "embedding"},
		{&api.Embedding{Data: make([]byte, 4*(event.MaxDimension+1))}, wire.CodeTooLarge, "embedding"},
	} {
		_, err := wire.EmbeddingF32(c.in, true)
		refused(t, err, c.code, c.field)
	}
	if _, err := wire.EmbeddingF32(f32(0, 0), false); err != nil {
		t.Errorf("a zero vector where the metric is not cosine: %v", err)
	}
}
