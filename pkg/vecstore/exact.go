package vecstore

import (
	"cmp"
	"iter"
	"slices"
)

// bound is a row and the best score that it can have.
type bound struct {
	row   uint32
	score float32
}

// everything returns a bound for each row that may be a hit.
func (p *pursuit) everything() ([]bound, bool) {
	return p.tailBounds(p.bounds(make([]bound, 0, p.high), all(p.linked)))
}

// matching is everything for the rows that match the filter, of which there are count.
func (p *pursuit) matching(count int) ([]bound, bool) {
	return p.tailBounds(p.bounds(make([]bound, 0, count), func(yield func(uint32) bool) {
		for row := range p.linked {
			if p.match.has(row) && !yield(row) {
				return
			}
		}
	}))
}

func all(n uint32) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for row := range n {
			if !yield(row) {
				return
			}
		}
	}
}

// bounds appends those of rows of the index, as far as they may be hits.
func (p *pursuit) bounds(bounds []bound, rows iter.Seq[uint32]) []bound {
	w := p.w
	w.room(blockRows)
	ids := w.ids[:0]
	flush := func() {
		p.index.bounds(w, p.query, ids, w.dist)
		for i, id := range ids {
			bounds = append(bounds, bound{id, w.dist[i]})
		}
		ids = ids[:0]
	}
	for row := range rows {
		if !p.visible(row) {
			continue
		}
		if ids = append(ids, row); len(ids) == blockRows {
			flush()
		}
	}
	if len(ids) > 0 {
		flush()
	}
	return bounds
}

// tailBounds appends those of the tail. ok is false when the tail has moved on.
func (p *pursuit) tailBounds(bounds []bound) (all []bound, ok bool) {
	c := p.sp.codec
	ok = p.scan(p.linked, p.high, func(first uint32, d []float32, info []tailInfo) {
		for i, x := range d {
			if !p.visible(first + uint32(i)) {
				continue // no hit; or not applied, and its info may be on its way
			}
			bounds = append(bounds, bound{first + uint32(i), c.best(p.query, x, info[i])})
		}
	})
	return bounds, ok
}

// exact finds the true nearest rows: it compares the stored vectors of the most promising rows with the query, in the
// order of their bounds, until no bound is better than the worst of the best.
func (p *pursuit) exact(bounds []bound, ok bool) (Result, error) {
	if !ok {
		return Result{}, errMovedOn
	}
	want := p.want()
	searched := len(bounds)
	best := NewTopK(want, p.q.MinScore)
	for len(bounds) > 0 {
		// Few are needed as a rule, so they are not all put in order.
		n := min(len(bounds), max(4*want, 64))
		if n < len(bounds) {
			nth(bounds, n)
		}
		slices.SortFunc(bounds[:n], func(a, b bound) int { return compareBounds(a, b) })
		for _, b := range bounds[:n] {
			if !best.Wants(b.score) {
				bounds = bounds[:n]
				break
			}
			score, err := p.rate(b.row)
			if err != nil {
				return Result{}, err
			}
			best.Offer(b.row, score)
		}
		bounds = bounds[n:]
	}
	rows, err := p.hits(best.sorted())
	return Result{Rows: rows, Searched: searched, Exact: p.sp.codec.vectors != VectorsNone}, err
}

func compareBounds(a, b bound) int {
	if c := cmp.Compare(b.score, a.score); c != 0 {
		return c
	}
	return cmp.Compare(a.row, b.row)
}

// nth moves the n best bounds to the front, in any order: quickselect with the median of three.
func nth(bounds []bound, n int) {
	lo, hi := 0, len(bounds)-1
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if compareBounds(bounds[mid], bounds[lo]) < 0 {
			bounds[mid], bounds[lo] = bounds[lo], bounds[mid]
		}
		if compareBounds(bounds[hi], bounds[lo]) < 0 {
			bounds[hi], bounds[lo] = bounds[lo], bounds[hi]
		}
		if compareBounds(bounds[hi], bounds[mid]) < 0 {
			bounds[hi], bounds[mid] = bounds[mid], bounds[hi]
		}
		pivot := bounds[mid]
		i, j := lo, hi
		for i <= j {
			for compareBounds(bounds[i], pivot) < 0 {
				i++
			}
			for compareBounds(bounds[j], pivot) > 0 {
				j--
			}
			if i <= j {
				bounds[i], bounds[j] = bounds[j], bounds[i]
				i++
				j--
			}
		}
		switch {
		case n <= j:
			hi = j
		case n >= i:
			lo = i
		default:
			return
		}
	}
}
