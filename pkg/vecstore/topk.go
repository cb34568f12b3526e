package vecstore

import (
	"cmp"
	"math"
	"slices"
)

// TopK keeps the k best rows that it was offered, in a binary heap with the worst on top.
type TopK struct {
	k        int
	minScore float32
	rows     []scored
}

type scored struct {
	row   uint32
	score float32
}

// NewTopK keeps the k best rows with a score of at least minScore, none when k is not above 0. It allocates as rows
// arrive, not for k.
func NewTopK(k int, minScore float32) *TopK {
	return &TopK{k: k, minScore: minScore}
}

// full tells whether there are as many as are kept.
func (t *TopK) full() bool { return len(t.rows) >= t.k }

// Wants tells whether a row of this score would be kept.
func (t *TopK) Wants(score float32) bool {
	if math.IsNaN(float64(score)) {
		return false
	}
	if len(t.rows) < t.k {
		return score >= t.minScore
	}
	return t.k > 0 && score > t.rows[0].score && score >= t.minScore
}

// Offer keeps the row if it belongs to the best.
func (t *TopK) Offer(row uint32, score float32) {
	if !t.Wants(score) {
		return
	}
	if len(t.rows) < t.k {
		t.rows = append(t.rows, scored{row, score})
		for i := len(t.rows) - 1; i > 0; {
			p := (i - 1) / 2
			if t.rows[p].score <= t.rows[i].score {
				break
			}
			t.rows[p], t.rows[i] = t.rows[i], t.rows[p]
			i = p
		}
		return
	}
	t.rows[0] = scored{row, score}
	for i := 0; ; {
		c := 2*i + 1
		if c >= len(t.rows) {
			return
		}
		if c+1 < len(t.rows) && t.rows[c+1].score < t.rows[c].score {
			c++
		}
		if t.rows[i].score <= t.rows[c].score {
			return
		}
		t.rows[i], t.rows[c] = t.rows[c], t.rows[i]
		i = c
	}
}

// sorted returns what was kept, best first, equal scores by row.
func (t *TopK) sorted() []scored {
	slices.SortFunc(t.rows, func(a, b scored) int {
		if c := cmp.Compare(b.score, a.score); c != 0 {
			return c
		}
		return cmp.Compare(a.row, b.row)
	})
	return t.rows
}
