package embed

// sketch is the scratch memory of one text: the features found so far, and the vector they make. It is used by one
// goroutine at a time.
type sketch struct {
	dim int

	// Of the scanner.
	run      []rune   // the letters and digits since the last break, as written
	word     []rune   // the word being added, folded
	previous pairable // the last word that was not a stop word, in this sentence
	words    int      // words so far that are not stop words
	dense    [2]rune  // the last two runes of a script without spaces; 0 where there are none

	// The distinct features, in the order of their first occurrence, and a table to find them in: open addressing, a
	// power of two long, at most half full; a slot holds an index into entries plus one, 0 is free.
	entries []entry
	slots   []int32
	letters []rune // of the words whose n-grams count, one after another

	sums []int64 // the vector before scaling, in units of 1/one
}

// entry is a distinct feature: a word, a pair, or an n-gram of a script without spaces.
type entry struct {
	key    uint64
	weight int64 // of one occurrence
	count  int   // of occurrences
	start  int   // of the letters whose n-grams belong to it
	length int   // of the letters; 0 when it has no n-grams
}

// pairable is a word that the next one can make a pair with.
type pairable struct {
	key    uint64
	weight int64 // 0 when there is none
}

const firstSlots = 512

func newSketch() *sketch {
	return &sketch{slots: make([]int32, firstSlots)}
}

// small reports whether the sketch is of a size worth keeping for the next text.
func (s *sketch) small() bool {
	return len(s.slots) <= 64*firstSlots
}

// reset forgets the last text. dim is at most MaxDim.
func (s *sketch) reset(dim int) {
	s.dim = dim
	s.run, s.word, s.letters, s.entries = s.run[:0], s.word[:0], s.letters[:0], s.entries[:0]
	s.previous, s.dense, s.words = pairable{}, [2]rune{}, 0
	clear(s.slots)
	if cap(s.sums) < dim {
		s.sums = make([]int64, dim)
	}
	s.sums = s.sums[:dim]
	clear(s.sums)
}

// add counts one occurrence of the feature. letters, copied, are those of a word whose n-grams count too, or nil.
func (s *sketch) add(key uint64, weight int64, letters []rune) {
	e := s.find(key)
	e.count++
	e.weight = max(e.weight, weight)
	if e.length == 0 && len(letters) > 0 {
		e.start, e.length = len(s.letters), len(letters)
		s.letters = append(s.letters, letters...)
	}
}

// find returns the entry of the key, a new one of count 0 if there was none. It is valid until the next find.
func (s *sketch) find(key uint64) *entry {
	if 2*len(s.entries) >= len(s.slots) {
		s.grow()
	}
	mask := uint64(len(s.slots) - 1)
	at := key & mask
	for ; s.slots[at] != 0; at = (at + 1) & mask {
		if e := &s.entries[s.slots[at]-1]; e.key == key {
			return e
		}
	}
	s.entries = append(s.entries, entry{key: key})
	s.slots[at] = int32(len(s.entries))
	return &s.entries[len(s.entries)-1]
}

// grow doubles the table.
func (s *sketch) grow() {
	s.slots = make([]int32, 2*len(s.slots))
	mask := uint64(len(s.slots) - 1)
	for i := range s.entries {
		at := s.entries[i].key & mask
		for s.slots[at] != 0 {
			at = (at + 1) & mask
		}
		s.slots[at] = int32(i + 1)
	}
}
