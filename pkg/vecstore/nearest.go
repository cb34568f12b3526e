package vecstore

import (
	"math"
	"unsafe"

	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
	"github.com/engram-memory/engram/pkg/vector"
)

// nearest searches the graph, scans the tail, and puts the best of both in order by the stored vectors.
func (p *pursuit) nearest() (Result, error) {
	want := p.want()
	ef := p.ef(want)
	hide := p.view.hide()
	if p.q.Filter != nil {
		hide = func(row uint32) bool { return !p.visible(row) }
	}
	shortlist := p.shortlist(want, ef)
	found, compared := p.index.search(p.w, p.query, ef, ef, hide)
	if len(found) < min(want, int(p.linked)) {
		// Too few rows hold for a graph, or some cannot be reached.
		return p.exact(p.everything())
	}
	for _, c := range found[:min(want+2, len(found))] {
		vector.Prefetch(unsafe.Pointer(p.view.g.meta.at(c.Row)))
	}
	candidates, ok := p.merge(found, shortlist)
	if !ok {
		return Result{}, errMovedOn
	}
	final := NewTopK(want, p.q.MinScore)
	ahead := 0
	for i, c := range candidates {
		for ; ahead < min(i+3, len(candidates)); ahead++ {
			// What is refused now is not wanted later either.
			if p.contends(final, candidates[ahead]) {
				p.s.log.Prefetch(rows.Ref(p.view.g.meta.at(candidates[ahead].row).ref.Load()))
			}
		}
		if !p.contends(final, c) || !p.visible(c.row) {
			continue
		}
		score, err := p.rate(c.row)
		if err != nil {
			return Result{}, err
		}
		final.Offer(c.row, score)
	}
	hits, err := p.hits(final.sorted())
	return Result{Rows: hits, Searched: compared + int(p.high-p.linked)}, err
}

// merge returns the best of what the graph has found, nearest first, and of the tail, by their codes; false when rows have
// moved on.
func (p *pursuit) merge(found []hnsw.Candidate, shortlist int) ([]scored, bool) {
	if p.linked == p.high {
		return p.foremost(found, shortlist), true
	}
	best := NewTopK(shortlist, float32(math.Inf(-1)))
	for _, c := range p.foremost(found, shortlist) {
		best.Offer(c.row, c.score)
	}
	ok := p.scan(p.linked, p.high, func(first uint32, d []float32, _ []tailInfo) {
		for i, x := range d {
			if row := first + uint32(i); best.Wants(-x) && p.visible(row) {
				best.Offer(row, -x)
			}
		}
	})
	return best.sorted(), ok
}

// foremost returns the first candidates that were linked when the search began: the others are scanned.
func (p *pursuit) foremost(found []hnsw.Candidate, shortlist int) []scored {
	best := p.w.best[:0]
	for _, c := range found {
		if len(best) == shortlist {
			break
		}
		if c.Row < p.linked {
			best = append(best, scored{row: c.Row, score: -c.Distance})
		}
	}
	p.w.best = best
	return best
}

// contends tells whether the score of a candidate may be one of the best. While there are too few of them, min_score alone
// decides, and looking closer costs little.
func (p *pursuit) contends(best *TopK, c scored) bool {
	margin := p.margin(c.row)
	if !best.full() {
		margin *= 2
	}
	return best.Wants(p.sp.codec.asScore(p.query, -c.score) + margin)
}

// margin is by how much the score of a candidate may be better than its distance says.
func (p *pursuit) margin(row uint32) float32 {
	if row >= p.linked {
		return float32(math.Inf(1))
	}
	return p.index.margin(p.query, row)
}

// want is how many rows are looked for: one more when the observation itself, in another version, may be among them.
func (p *pursuit) want() int {
	want := min(p.q.K, int(p.high))
	if p.self != math.MaxUint32 {
		want++
	}
	return want
}

// ef is the length of the candidate list.
func (p *pursuit) ef(want int) int {
	ef := p.q.Ef
	if ef == 0 {
		ef = balancedEf
		if p.q.Effort == EffortFast {
			ef = fastEf
		}
		ef = max(ef, want+want/2)
	}
	return max(ef, want)
}

// The lengths of the candidate list that the efforts stand for, where few hits are asked for.
const (
	balancedEf = 72
	fastEf     = 32
)

// shortlist is how many of the candidates are compared by their stored vectors: a few more than are wanted where the codes
// are good enough to tell, all where vectors are short, and reading them costs little.
func (p *pursuit) shortlist(want, ef int) int {
	if p.sp.codec.dim < 256 {
		return max(ef, want)
	}
	return want + max(10, want/2)
}
