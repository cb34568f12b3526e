package embed

import "math"

// vector adds up the features and returns the sum scaled to unit length, in fresh memory. There is at least one.
func (s *sketch) vector() []float32 {
	for i := range s.entries {
		e := &s.entries[i]
		weight := repeated(e.weight, e.count)
		// A word or a pair goes to four positions; an n-gram to two, for many small ones even out by themselves.
		s.place(e.key, weight)
		s.place(mix(e.key), weight)
		if e.length > 0 {
			s.placeGrams(s.letters[e.start:e.start+e.length], weight)
		}
	}
	v := make([]float32, s.dim)
	length := s.length()
	if length == 0 {
		// The signs cancelled to the last unit, which a tiny dimension makes possible: the first feature decides.
		v[s.entries[0].key%uint64(s.dim)] = 1
		return v
	}
	for i, sum := range s.sums {
		v[i] = float32(float64(sum) / length)
	}
	return v
}

// length is the Euclidean length of the sums.
func (s *sketch) length() float64 {
	square := 0.0
	for _, sum := range s.sums {
		// The outer conversion keeps a compiler from fusing the product into the sum, which would round otherwise.
		square += float64(float64(sum) * float64(sum))
	}
	return math.Sqrt(square)
}

// placeGrams adds the character n-grams of a word, between boundary marks, that has the given weight.
func (s *sketch) placeGrams(word []rune, weight int64) {
	s.word = append(append(append(s.word[:0], '<'), word...), '>')
	w := s.word
	count := 0
	for n := minGram; n <= maxGram && n <= len(w); n++ {
		count += len(w) - n + 1
	}
	each := shareOf(weight, gramShare, count)
	for i := 0; i+minGram <= len(w); i++ {
		h := gramSeed
		for j, r := range w[i:min(i+maxGram, len(w))] {
			if h = step(h, r); j+1 >= minGram {
				s.place(mix(h), each)
			}
		}
	}
}

// place adds weight, with a sign, at two positions. Each half of the key gives one: the sign from its lowest bit, the
// position from the others, as a fraction of the dimension.
func (s *sketch) place(key uint64, weight int64) {
	for _, half := range [2]uint64{key & 0xFFFFFFFF, key >> 32} {
		sign := 1 - 2*int64(half&1)
		s.sums[half>>1*uint64(s.dim)>>31] += sign * weight
	}
}
