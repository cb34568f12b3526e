package vecstore

import (
	"context"
	"math"
)

// SearchGraph answers a query by vector as Search does, but always through the graph, however few rows match its filter. It
// is a search that began when so many rows fewer were linked.
func SearchGraph(s *Shard, name string, q Query, behind uint32) (Result, error) {
	sp, err := s.readable(name)
	if err != nil {
		return Result{}, err
	}
	q.Context = context.Background()
	w := newSearcher()
	p := &pursuit{s: s, sp: sp, w: w, q: &q, self: math.MaxUint32}
	if p.view, err = sp.view(At{Now: q.Now, AsOf: q.AsOf}); err != nil {
		return Result{}, err
	}
	g := p.view.g
	e := g.engine.Load()
	if !e.acquire() {
		return Result{}, errMovedOn
	}
	defer e.release()
	p.index, p.linked, p.high, p.chunks = e.index, e.linked()-behind, g.high.Load(), g.tail.chunks.Load()
	p.query = sp.codec.query(w, q.Vector)
	p.index.prepare(w, p.query)
	if q.Filter != nil {
		if p.match, _, err = s.matches(context.Background(), sp, g, q.Filter, p.high); err != nil {
			return Result{}, err
		}
	}
	return p.nearest()
}

// TailBytes is the memory of the codes of all tails.
func TailBytes(s *Shard) (sum int64) {
	for _, sp := range s.living() {
		sum += sp.gen.Load().tail.bytes.Load()
	}
	return sum
}

// TailRowBytes is the memory of a row in the tail of a space.
func TailRowBytes(s *Shard, name string) int64 {
	sp, _ := s.space(name)
	return int64(sp.codec.codeSize + 8)
}

// StopLinker ends the goroutine that links; the shard can be closed all the same.
func StopLinker(s *Shard) {
	s.linker.stop()
	s.linker.quit = make(chan struct{}) // that it can be ended again
}

// LinkBlock links one block of a space.
func LinkBlock(s *Shard, name string) error {
	sp, err := s.readable(name)
	if err == nil {
		_, err = s.linkBlock(sp)
	}
	return err
}
