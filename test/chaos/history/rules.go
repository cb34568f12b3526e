package history

import (
	"cmp"
	"slices"
	"time"
)

// writes checks the acknowledgements against each other.
func (c *checker) writes() {
	shards := map[int][]*Write{}
	for _, w := range c.h.Writes {
		if w.Outcome == Accepted {
			shards[w.Shard] = append(shards[w.Shard], w)
		}
	}
	for _, all := range shards {
		c.positions(all)
		c.order(all)
	}
}

// positions finds writes that share one. The ids of one forget do.
func (c *checker) positions(all []*Write) {
	at := map[uint64]*Write{}
	for _, w := range all {
		other := at[w.Position]
		if other == nil {
			at[w.Position] = w
			continue
		}
		if !w.Forget || !other.Forget || w.Request != other.Request {
			c.violate(SharedPosition, w.Space, w.ID, "%v and, of %s in %s, %v", w, other.ID, other.Space, other)
		}
	}
}

// order finds writes that stand below one that had returned before they were called.
func (c *checker) order(all []*Write) {
	calls := slices.SortedFunc(slices.Values(all), func(a, b *Write) int { return cmp.Compare(a.Call, b.Call) })
	returns := slices.SortedFunc(slices.Values(all), func(a, b *Write) int { return cmp.Compare(a.Return, b.Return) })
	var highest *Write
	for _, w := range calls {
		for len(returns) > 0 && returns[0].Return < w.Call {
			if highest == nil || returns[0].Position > highest.Position {
				highest = returns[0]
			}
			returns = returns[1:]
		}
		if highest != nil && w.Position < highest.Position {
			c.violate(Reordered, w.Space, w.ID, "%v, and, of %s in %s, %v", w, highest.ID, highest.Space, highest)
		}
	}
}

// answer checks one answer by the positions that it speaks of.
func (c *checker) answer(a *Answer) {
	if a.Applied < a.AtLeast {
		c.violate(NotAtLeast, a.Space, "", "%s by client %d at %v waited for %d, and the answer is of %d", a.How, a.Client, a.Call, a.AtLeast, a.Applied)
	}
	found := map[string]bool{}
	for _, h := range a.Hits {
		if found[h.ID] {
			c.violate(Twice, a.Space, h.ID, "%s by client %d at %v", a.How, a.Client, a.Call)
		}
		found[h.ID] = true
		c.found(a, h)
	}
	for _, id := range a.Asked {
		if !found[id] {
			c.absent(a, id)
		}
	}
	if w := a.Wanted; w != nil && !slices.ContainsFunc(a.Hits, func(h Hit) bool { return h.ID == w.ID && h.Version == w.Version }) {
		c.missed(a, *w)
	}
	if a.Complete {
		for key := range c.of {
			if key.space == a.Space && !found[key.id] {
				c.absent(a, key.id)
			}
		}
	}
}

// bound is the position up to which an answer has everything.
func (a *Answer) bound() uint64 { return max(a.Applied, a.AtLeast) }

func (c *checker) found(a *Answer, h Hit) {
	w := c.versions[h.Version]
	switch {
	case w == nil || w.Space != a.Space || w.ID != h.ID:
		c.violate(Phantom, a.Space, h.ID, "%s by client %d at %v found version %d at %d", a.How, a.Client, a.Call, h.Version, h.Position)
		return
	case w.Call > a.Return:
		c.violate(Phantom, a.Space, h.ID, "%s by client %d found it until %v, and it is %v", a.How, a.Client, a.Return, w)
		return
	case w.Outcome == Refused:
		c.violate(RefusedSeen, a.Space, h.ID, "%s by client %d at %v found %v", a.How, a.Client, a.Call, w)
		return
	}
	if at := cmp.Or(w.Position, c.seen[h.Version]); at != h.Position {
		c.violate(WrittenTwice, a.Space, h.ID, "%s by client %d at %v found it at %d, and at %d is %v", a.How, a.Client, a.Call, h.Position, at, w)
		return
	}
	if newer := c.of[identity{a.Space, h.ID}].last(a.bound()); newer != nil && newer.Position > h.Position {
		c.violate(a.older(newer), a.Space, h.ID, "%s by client %d at %v, of %d, waiting for %d, found version %d at %d; there was %v",
			a.How, a.Client, a.Call, a.Applied, a.AtLeast, h.Version, h.Position, newer)
	}
}

// older says what it is called when an answer has something older than a write that it must have seen.
func (a *Answer) older(newer *Write) Kind {
	switch {
	case newer.Forget:
		return Revived
	case newer.Position > a.AtLeast:
		return Older
	case newer.Client == a.Client:
		return OwnWrite
	}
	return Backwards
}

// absent checks that there is a reason why an answer has nothing of an id.
func (c *checker) absent(a *Answer, id string) {
	s := c.of[identity{a.Space, id}]
	if s == nil {
		return
	}
	if w := s.last(a.bound()); w != nil && !w.Forget && !s.ended(w, a.Return, true) {
		c.violate(Lost, a.Space, id, "%s by client %d at %v, of %d, waiting for %d, has nothing of it; there was %v", a.How, a.Client, a.Call, a.Applied, a.AtLeast, w)
	}
}

// missed checks that there is a reason why a version was not found by its own vector.
func (c *checker) missed(a *Answer, h Hit) {
	w := c.versions[h.Version]
	s := c.of[identity{a.Space, h.ID}]
	if w == nil || s == nil || w.Outcome != Accepted || w.Position > a.bound() || s.ended(w, a.Return, false) {
		return
	}
	c.violate(Lost, a.Space, h.ID, "%s by client %d at %v, of %d, waiting for %d, does not find it by its vector; there was %v", a.How, a.Client, a.Call, a.Applied, a.AtLeast, w)
}

// last is the write at the highest position up to one.
func (s *story) last(bound uint64) *Write {
	i, exact := slices.BinarySearchFunc(s.placed, bound, func(w *Write, at uint64) int { return cmp.Compare(w.Position, at) })
	if exact {
		return s.placed[i]
	}
	if i == 0 {
		return nil
	}
	return s.placed[i-1]
}

// ended is true where a write may have been forgotten, or, unless only that counts, replaced, by what was called before a
// time: something above it, or of unknown outcome.
func (s *story) ended(w *Write, before time.Duration, forgottenOnly bool) bool {
	ends := func(o *Write) bool { return o.Call < before && (o.Forget || !forgottenOnly) }
	return slices.ContainsFunc(s.placed, func(o *Write) bool { return o.Position > w.Position && ends(o) }) ||
		slices.ContainsFunc(s.unplaced, ends)
}
