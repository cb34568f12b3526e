package hnsw

// Candidate is a row and its distance from what is looked for.
type Candidate struct {
	Distance float32
	Row      uint32
}

// A beam is the candidate list of a search: candidates in the order of their distances, each marked when its links have
// been followed. A sorted array beats two heaps at the lengths that are used: most candidates are rejected by one
// comparison with the last, and an insertion moves a few cache lines.
type beam struct {
	entries []entry
	ef      int
	next    int // all entries before it are expanded
	counted int // entries that count towards ef
}

// entry is a candidate with two marks in the high bits of its row.
type entry struct {
	distance float32
	marked   uint32
}

const (
	expanded = 1 << 31 // its links have been followed
	hidden   = 1 << 30 // it is only passed through: it may not be a result, and does not count towards ef
	rowMask  = 1<<30 - 1
)

func (b *beam) reset(ef int) {
	b.entries, b.ef, b.next, b.counted = b.entries[:0], ef, 0, 0
}

// bound is the distance from which on a candidate is of no use. The last entry is never hidden when the beam is full.
func (b *beam) bound() float32 {
	if b.counted < b.ef {
		return inf
	}
	return b.entries[len(b.entries)-1].distance
}

// insert puts a candidate, which may be marked as hidden, where it belongs, and returns where that is; its distance is below
// the bound.
func (b *beam) insert(distance float32, marked uint32) int {
	e := b.entries
	if marked&hidden == 0 {
		b.counted++
		if b.counted > b.ef {
			b.counted = b.ef
			e = e[:len(e)-1]
		}
	}
	lo, hi := 0, len(e)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if e[mid].distance <= distance {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	e = append(e, entry{})
	copy(e[lo+1:], e[lo:])
	e[lo] = entry{distance, marked}
	for b.counted == b.ef && len(e) > 0 && e[len(e)-1].marked&hidden != 0 {
		e = e[:len(e)-1]
	}
	b.entries = e
	if lo < b.next {
		b.next = lo
	}
	return lo
}

// pop returns the nearest candidate that is not expanded, and marks it so.
func (b *beam) pop() (row uint32, ok bool) {
	for b.next < len(b.entries) {
		e := &b.entries[b.next]
		b.next++
		if e.marked&expanded == 0 {
			e.marked |= expanded
			return e.marked & rowMask, true
		}
	}
	return 0, false
}
