package history

import (
	"cmp"
	"slices"
	"time"
)

// staleness measures each answer by the clients' clock: how long before the call the oldest write had returned that stands
// above what the answer claims.
func (c *checker) staleness() {
	writes, answers := map[int][]*Write{}, map[int][]*Answer{}
	for _, w := range c.h.Writes {
		if w.Outcome == Accepted {
			writes[w.Shard] = append(writes[w.Shard], w)
		}
	}
	for _, a := range c.h.Answers {
		if a.Error == "" {
			answers[a.Shard] = append(answers[a.Shard], a)
		}
	}
	for shard, of := range answers {
		all := writes[shard]
		slices.SortFunc(all, func(a, b *Write) int { return cmp.Compare(a.Position, b.Position) })
		// From the end: the earliest return of all that stands at or above a position.
		earliest := make([]time.Duration, len(all))
		for i := len(all) - 1; i >= 0; i-- {
			earliest[i] = all[i].Return
			if i+1 < len(all) {
				earliest[i] = min(earliest[i], earliest[i+1])
			}
		}
		for _, a := range of {
			i, _ := slices.BinarySearchFunc(all, a.Applied+1, func(w *Write, at uint64) int { return cmp.Compare(w.Position, at) })
			if i < len(all) {
				c.report.Staleness = max(c.report.Staleness, a.Call-earliest[i])
			}
		}
	}
}
