package embed

// stem takes the commonest English endings off a folded word, in place, and returns what is left, a prefix of word with
// at most its last letter changed. It is light: it brings lines to line, parses, parsed and parsing to pars, compression
// to compress and verified to verify. The rules are chosen so that the forms of one word meet, not so that the result
// is a word. Words in other scripts, with digits, or of fewer than four letters are returned as they are.
func stem(word []rune) []rune {
	if len(word) < 4 {
		return word
	}
	for _, r := range word {
		if r < 'a' || r > 'z' {
			return word
		}
	}
	w := stemPlural(word)
	w = stemVerb(w)
	w = stemNoun(w)
	if len(w) > 3 && w[len(w)-1] == 'e' {
		w = w[:len(w)-1]
	}
	return w
}

// stemPlural takes off the s of plurals and verbs.
func stemPlural(w []rune) []rune {
	switch {
	case !ends(w, "s") || ends(w, "ss") || ends(w, "us") || ends(w, "is"):
		return w
	case ends(w, "ies") && len(w) > 4:
		w = w[:len(w)-2]
		w[len(w)-1] = 'y'
		return w
	case ends(w, "sses"), ends(w, "xes"), ends(w, "ches"), ends(w, "shes"):
		return w[:len(w)-2]
	}
	return w[:len(w)-1]
}

// stemVerb takes off ing and ed, where what is left has a vowel and three letters, and brings ied to y.
func stemVerb(w []rune) []rune {
	var cut []rune
	switch {
	case ends(w, "ied") && len(w) > 4:
		w = w[:len(w)-2]
		w[len(w)-1] = 'y'
		return w
	case ends(w, "ing"):
		cut = w[:len(w)-3]
	case ends(w, "ed") && !ends(w, "eed"):
		cut = w[:len(w)-2]
	default:
		return w
	}
	if len(cut) < 3 || !hasVowel(cut) {
		return w
	}
	// running, stopped: one of the two letters came with the ending; filling and passing had both before.
	if n := len(cut); n > 3 && cut[n-1] == cut[n-2] && cut[n-1] != 'l' && cut[n-1] != 's' && cut[n-1] != 'z' {
		cut = cut[:n-1]
	}
	return cut
}

// stemNoun takes off ation, at(e) and ion, so that generation, generate and generating meet in gener.
func stemNoun(w []rune) []rune {
	n := len(w)
	switch {
	case ends(w, "ation") && n >= 9:
		return w[:n-5]
	case ends(w, "ate") && n >= 7:
		return w[:n-3]
	case ends(w, "at") && n >= 6:
		return w[:n-2]
	case ends(w, "tion") && n >= 7, ends(w, "sion") && n >= 7:
		return w[:n-3]
	}
	return w
}

// ends reports whether w ends with the suffix.
func ends(w []rune, suffix string) bool {
	if len(w) < len(suffix) {
		return false
	}
	for i, r := range w[len(w)-len(suffix):] {
		if r != rune(suffix[i]) {
			return false
		}
	}
	return true
}

func hasVowel(w []rune) bool {
	for _, r := range w {
		switch r {
		case 'a', 'e', 'i', 'o', 'u', 'y':
			return true
		}
	}
	return false
}
