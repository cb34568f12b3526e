package embed

// The hash is the package's own, and not hash/maphash, whose seed differs in every process: what it gives is part of
// the scheme. It takes runes, not bytes, in multiply and shift steps as FNV and wyhash do; the finalizer is that of
// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).

// A seed for each family of features, so that the word "the" and the n-gram "the" are different features.
const (
	wordSeed  uint64 = 0x9E3779B97F4A7C15
	gramSeed  uint64 = 0xC2B2AE3D27D4EB4F
	denseSeed uint64 = 0x165667B19E3779F9
	pairSeed  uint64 = 0xD6E8FEB86659FD93
)

// step takes one more rune into a hash. Every step is a bijection of h, so that two texts of which one extends the other
// stay apart.
func step(h uint64, r rune) uint64 {
	h = (h ^ uint64(r)) * 0xFF51AFD7ED558CCD
	return h ^ h>>29
}

// mix spreads every bit of h over all bits.
func mix(h uint64) uint64 {
	h ^= h >> 30
	h *= 0xBF58476D1CE4E5B9
	h ^= h >> 27
	h *= 0x94D049BB133111EB
	return h ^ h>>31
}

// hashRunes is the key of the feature of that family that the runes spell.
func hashRunes(seed uint64, runes []rune) uint64 {
	for _, r := range runes {
		seed = step(seed, r)
	}
	return mix(seed)
}

// hashPair is the key of the pair of two words, in this order.
func hashPair(a, b uint64) uint64 {
	return mix((a^pairSeed)*0xFF51AFD7ED558CCD + b)
}
