package embed

// scan cuts text into words and identifiers, and adds their features to the sketch.
func (s *sketch) scan(text string) {
	for i, r := range text {
		switch classify(r) {
		case classSkip:
		case classWord:
			s.dense = [2]rune{}
			if len(s.run) == maxWord {
				s.endRun()
			}
			s.run = append(s.run, r)
		case classDense:
			s.endRun()
			s.previous = pairable{}
			s.addDense(r)
		case classBreak:
			s.dense = [2]rune{}
			switch {
			case len(s.run) == 0:
			case r == '\'' || r == '’': // don't, the file's
			case r == '_' && len(s.run) < maxWord: // snake_case: endRun splits it
				s.run = append(s.run, r)
			default:
				s.endRun()
			}
			if endsSentence(text, i) {
				s.previous = pairable{}
			}
		}
	}
	s.endRun()
}

// endsSentence reports whether the byte at i is punctuation that parts what is before it from what is after: with a
// space or nothing behind it, unlike the point of os.File or 3.14.
func endsSentence(text string, i int) bool {
	switch text[i] {
	case '.', '!', '?', ';', ':':
		return i+1 == len(text) || text[i+1] == ' ' || text[i+1] == '\n'
	}
	return false
}

// endRun adds the word, or the identifier and its parts, that the run of letters and digits up to here makes.
func (s *sketch) endRun() {
	run := s.run
	if len(run) == 0 {
		return
	}
	parts, start := 0, 0
	for i, r := range run {
		switch {
		case r == '_':
			parts += s.addPart(run[start:i])
			start = i + 1
		case i > start && startsPart(run, i):
			parts += s.addPart(run[start:i])
			start = i
		}
	}
	if parts += s.addPart(run[start:]); parts > 1 {
		s.addWhole(run)
	}
	s.run = run[:0]
}

// startsPart reports whether a part of a camelCase identifier starts at run[i], i > 0: at a capital after a small letter
// or digit (readAll), and at the last of several capitals when a small letter follows (HTTPServer), unless that is the
// s of a plural (parseURLs).
func startsPart(run []rune, i int) bool {
	if !isUpper(run[i]) {
		return false
	}
	if !isUpper(run[i-1]) {
		return true
	}
	if i+1 == len(run) {
		return false
	}
	next := run[i+1]
	if isUpper(next) || next == '_' || '0' <= next && next <= '9' {
		return false
	}
	plural := next == 's' && (i+2 == len(run) || run[i+2] == '_' || isUpper(run[i+2]))
	return !plural
}

// addPart adds one word, and its pair with the word before it. It returns the number of words added, 0 or 1.
func (s *sketch) addPart(part []rune) int {
	if len(part) == 0 {
		return 0
	}
	s.word = s.word[:0]
	for _, r := range part {
		s.word = appendFolded(s.word, r)
	}
	if len(s.word) == 1 && s.word[0] < 0x80 || isStop(s.word) {
		// A stop word has no n-grams, and the words around it are neighbours.
		s.add(hashRunes(wordSeed, s.word), stopWeight, nil)
		return 1
	}
	word := stem(s.word)
	weight := lengthWeight(len(word))
	if isDull(word) {
		weight = dullWeight
	}
	weight = lead(weight, s.words)
	s.words++
	key := hashRunes(wordSeed, word)
	s.add(key, weight, word)
	if p := s.previous; p.weight > 0 {
		s.add(hashPair(p.key, key), pairWeight(p.weight, weight), nil)
	}
	s.previous = pairable{key: key, weight: weight}
	return 1
}

// addWhole adds an identifier of several parts as one word, so that WaitGroup meets waitgroup. Its n-grams are in its
// parts already.
func (s *sketch) addWhole(run []rune) {
	s.word = s.word[:0]
	for _, r := range run {
		if r != '_' {
			s.word = appendFolded(s.word, r)
		}
	}
	word := stem(s.word)
	s.add(hashRunes(wordSeed, word), lead(lengthWeight(len(word)), s.words)*wholeShare/one, nil)
}

// addDense adds the n-grams that end with r, of a script without spaces between words.
func (s *sketch) addDense(r rune) {
	a, b := s.dense[0], s.dense[1]
	s.add(hashRunes(denseSeed, []rune{r}), denseOne, nil)
	if b != 0 {
		s.add(hashRunes(denseSeed, []rune{b, r}), denseTwo, nil)
	}
	if a != 0 {
		s.add(hashRunes(denseSeed, []rune{a, b, r}), denseThree, nil)
	}
	s.dense = [2]rune{b, r}
}
