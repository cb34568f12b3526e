package vecstore

import "sync/atomic"

// bitmap is a set of rows that one goroutine adds to while others look. It grows by chunks that never move.
type bitmap struct {
	words column[atomic.Uint32]
}

// marks is a bitmap as it was when it was loaded; rows that were added since may be in it.
type marks struct{ words [][]atomic.Uint32 }

func (b *bitmap) set(row uint32) {
	word := row / 32
	b.words.grow(word)
	b.words.at(word).Or(1 << (row % 32))
}

func (b *bitmap) load() marks { return marks{b.words.load()} }

func (m marks) has(row uint32) bool {
	chunk, i := locate(row / 32)
	return int(chunk) < len(m.words) && m.words[chunk][i].Load()&(1<<(row%32)) != 0
}
