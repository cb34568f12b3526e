package embed

import "math"

// Weights are fixed-point numbers in units of 1/one. They were chosen by the rank of the first right answer to fifty
// questions about the documentation comments of Go's standard library. The answers get clearly better with the lead,
// somewhat with the n-grams and with dull words held down, and depend little on the exact value of any other weight.
const (
	one = 1 << 10

	wordWeight = one            // a word of wordLength letters, once
	stopWeight = one * 10 / 100 // a stop word
	dullWeight = one * 55 / 100 // a word that says little in most texts ("use", "return")
	wordLength = 6              // letters
	perLetter  = one * 5 / 100  // for each letter that a word is longer or shorter than wordLength
	maxLetters = 12             // beyond which length adds nothing

	leadWords  = 8   // words that open a text, stop words not counted: they say what it is about
	leadWeight = one // added to the weight of a lead word, as a share of it: twice the weight

	wholeShare = one * 60 / 100 // an identifier of several parts as one word, of its weight as a word
	pairShare  = one * 60 / 100 // two neighbouring words, of the geometric mean of their weights
	gramShare  = one * 70 / 100 // the n-grams of a word together (their Euclidean length), of the weight of the word
	minGram    = 3              // characters, boundaries included
	maxGram    = 5              // characters, boundaries included

	denseOne   = one * 40 / 100 // one character of a script without spaces
	denseTwo   = one            // two of them
	denseThree = one * 60 / 100 // three of them

	maxWord = 64 // runes; a longer run of letters is cut into words of this length
)

// lengthWeight is the weight of an ordinary word of n letters: longer words are rarer, and say more.
func lengthWeight(n int) int64 {
	return wordWeight + perLetter*int64(min(n, maxLetters)-wordLength)
}

// repeated scales the weight of a feature by 1 + ln tf, so that the tenth mention adds less than the second.
// The logarithm to base 2 is taken as its integer part and a straight line between powers of two, in integers: the
// libraries of two architectures may differ in the last bit of a logarithm.
func repeated(weight int64, tf int) int64 {
	if tf <= 1 {
		return weight
	}
	k, t := 0, int64(tf)*one
	for t >= 2*one {
		t /= 2
		k++
	}
	log2 := int64(k)*one + (t - one)
	const ln2 = 710 // ln 2 = 0.6931, in units of 1/one
	return weight * (one + log2*ln2/one) / one
}

// shareOf splits weight over n features so that their length together is weight · share: each gets 1/√n of it.
// A square root is exactly rounded by IEEE 754, unlike a logarithm.
func shareOf(weight, share int64, n int) int64 {
	return int64(float64(weight*share/one) / math.Sqrt(float64(n)))
}

// lead is the weight of a word, the nth of its text from 0, stop words not counted.
func lead(weight int64, nth int) int64 {
	if nth < leadWords {
		weight += weight * leadWeight / one
	}
	return weight
}

// pairWeight is the weight of a pair of words of weights a and b.
func pairWeight(a, b int64) int64 {
	return int64(math.Sqrt(float64(a*b))) * pairShare / one
}
