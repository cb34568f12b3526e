package embed

import "unicode"

// latinBase maps U+00C0..U+017F to letters without accent, so that "café" written either way meets "cafe".
// A space stands for what is not a letter (× and ÷).
const latinBase = "" +
	"aaaaaaaceeeeiiiidnooooo ouuuuyts" + // U+00C0 À .. ß
	"aaaaaaaceeeeiiiidnooooo ouuuuyty" + // U+00E0 à .. ÿ
	"aaaaaaccccccccddddeeeeeeeeeegggg" + // U+0100
	"gggghhhhiiiiiiiiiiiijjkkklllllll" + // U+0120
	"lllnnnnnnnnnoooooooorrrrrrssssss" + // U+0140
	"ssttttttuuuuuuuuuuuuwwyyyzzzzzzs" //  U+0160

// runeClass says what the scanner does with a rune.
type runeClass uint8

const (
	classBreak runeClass = iota // ends a word
	classWord                   // belongs to a word
	classDense                  // belongs to a run of a script that is cut into n-grams, not words
	classSkip                   // is left out, without ending the word
)

// classify says what a rune is to the scanner. Invalid UTF-8 arrives here as U+FFFD, which breaks words.
func classify(r rune) runeClass {
	switch {
	case r < 0x80:
		if 'a' <= r|0x20 && r|0x20 <= 'z' || '0' <= r && r <= '9' {
			return classWord
		}
		return classBreak
	case 0x300 <= r && r <= 0x36F, r == 0x3099, r == 0x309A, r == 0xAD, r == 0x200C, r == 0x200D:
		return classSkip // accents of decomposed letters and kana, soft hyphen, joiners
	case r >= 0x1100 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul), r == 'ー', r == 'ｰ':
		return classDense
	case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r):
		return classWord
	}
	return classBreak
}

// fold brings a rune of a word to the form in which it is compared: lower case and, in Latin, without accent.
func fold(r rune) rune {
	switch {
	case r < 0x80:
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	case 0xC0 <= r && r < 0xC0+rune(len(latinBase)):
		return rune(latinBase[r-0xC0])
	case 0xFF10 <= r && r <= 0xFF5A: // full-width digits and Latin letters
		return fold(r - 0xFEE0)
	case r == 'ς': // the sigma at the end of a word
		return 'σ'
	}
	return unicode.ToLower(r)
}

// appendFolded appends a rune to a word in its folded form. The ligatures and ß become the two letters that they are also
// written with.
func appendFolded(word []rune, r rune) []rune {
	switch r {
	case 'ß', 'ẞ':
		return append(word, 's', 's')
	case 'æ', 'Æ':
		return append(word, 'a', 'e')
	case 'œ', 'Œ':
		return append(word, 'o', 'e')
	}
	return append(word, fold(r))
}

// isUpper reports whether r is a capital, for the parts of an identifier.
func isUpper(r rune) bool {
	if r < 0x80 {
		return 'A' <= r && r <= 'Z'
	}
	return unicode.IsUpper(r)
}
