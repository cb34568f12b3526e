package embed

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"testing"
)

// bitsOf is a hash of a vector's components as little-endian bits.
func bitsOf(v []float32) uint64 {
	h := fnv.New64a()
	var b [4]byte
	for _, x := range v {
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(x))
		h.Write(b[:])
	}
	return h.Sum64()
}

// Vectors under the name "lexical" are stored, and compared with those of later versions. If this test fails, the scheme
// has changed: give the new one a new name and keep the old one, rather than new values here.
func TestLexicalGolden(t *testing.T) {
	tests := []struct {
		text string
		dim  int
		want uint64
	}{
		{"a", 64, 0x51d7fdc16dbda96a},
		{"read a file line by line", 64, 0x9396a02371d9c909},
		{"read a file line by line", 512, 0xf369949bae6796e5},
		{"parse a URL and its query string", 768, 0x9109e44253fef621},
		{"HTTPServer.ReadAll max_batch_size don't utf8 IDs generation of compressed lines", 384, 0x24a86f52456a4545},
		{"Crème brûlée, ПРИВЕТ мир, ΟΔΥΣΣΕΥΣ, 東京の天気予報, 데이터, पानी, ＨＴＴＰ２", 512, 0x505577ebbeb95d1c},
		{"Große Œuvre, ÆTHER ''x'' İıſ data\u00ADbase cafe\u0301 か\u3099", 256, 0xccf8c32edee953d7},
		{paragraph, 1000, 0x6ff1b651d674a8ac},
		{manyWords(3000), MaxDim, 0x7b24e3e13139a631},
	}
	for _, tt := range tests {
		if got := bitsOf(lexical(t, tt.text, tt.dim)); got != tt.want {
			t.Errorf("%.40q in %d dimensions: bits %#016x, want %#016x", tt.text, tt.dim, got, tt.want)
		}
	}
}
