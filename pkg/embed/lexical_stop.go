package embed

// longestListed is the length of the longest word in the lists below.
const longestListed = 10

// isStop reports whether a folded word is one of the English words that are in every text and say nothing about it.
// Apostrophes are gone by now: dont, its.
func isStop(word []rune) bool {
	var buf [longestListed]byte
	b := ascii(&buf, word)
	switch string(b) {
	case "a", "an", "the", "this", "that", "these", "those", "such", "same", "own",
		"i", "me", "my", "we", "us", "our", "you", "your", "he", "him", "his", "she", "her", "it", "its", "they", "them", "their",
		"who", "whom", "whose", "which", "what", "when", "where", "why", "how",
		"am", "is", "are", "was", "were", "be", "been", "being", "isnt", "arent", "wasnt",
		"do", "does", "did", "doing", "done", "dont", "doesnt", "didnt",
		"has", "have", "had", "having", "hasnt", "havent",
		"will", "would", "shall", "should", "can", "could", "may", "might", "must", "cannot", "cant", "wont",
		"and", "or", "but", "nor", "if", "then", "else", "than", "so", "because", "while", "although", "though",
		"of", "in", "on", "at", "by", "for", "with", "without", "about", "from", "to", "into", "onto", "as", "per",
		"between", "through", "during", "before", "after", "above", "below", "over", "under", "until", "upon", "within",
		"up", "down", "out", "off", "again", "once", "here", "there",
		"all", "any", "both", "each", "every", "few", "more", "most", "other", "another", "some", "either", "neither",
		"no", "not", "only", "too", "very", "just", "also", "even", "still", "however", "thus", "hence", "otherwise",
		"etc", "eg", "ie", "via", "whether", "unless", "since", "yet":
		return true
	}
	return false
}

// isDull reports whether a stem is of a word that is common in any description, and so says little about this one.
func isDull(stem []rune) bool {
	var buf [longestListed]byte
	switch string(ascii(&buf, stem)) {
	case "use", "used", "using", "return", "report", "giv", "given", "mak", "get", "set", "new", "tak", "call", "see",
		"need", "want", "provid", "contain", "correspond", "specify", "indic", "represent", "implement", "defin",
		"describ", "denot", "valu", "funct", "method", "typ", "thing", "way", "cas", "exampl", "zero", "on", "two",
		"first", "last", "current", "default", "result", "argument", "parameter", "object", "different", "possibl":
		return true
	}
	return false
}

// ascii returns the word as bytes in buf, nothing if it is too long for the lists or not ASCII.
func ascii(buf *[longestListed]byte, word []rune) []byte {
	if len(word) > len(buf) {
		return nil
	}
	for i, r := range word {
		if r >= 0x80 {
			return nil
		}
		buf[i] = byte(r)
	}
	return buf[:len(word)]
}
