package vecstore

import (
	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
)

// index finds rows of one generation without looking at all of them. It is the seam between the engines: what it does not
// have yet is scanned.
//
// link is called by one goroutine at a time (space.linking); everything else by any number beside it, between acquire
// and release.
type index interface {
	// linked is how many rows it has, from the first.
	linked() uint32
	// link takes the rows from linked() to to, which are settled and in the tail.
	link(to uint32, threads int) error
	// prepare is called with each query before it is asked.
	prepare(s *searcher, q *query)
	// search returns up to k rows near to q, nearest first, that hide does not say true of, and how many it compared. It
	// compares more of them when ef is larger. Distances are those of codec.distance.
	search(s *searcher, q *query, k, ef int, hide func(uint32) bool) (found []hnsw.Candidate, compared int)
	// bounds sets out[i] to the best score that the row ids[i] can have.
	bounds(s *searcher, q *query, ids []uint32, out []float32)
	// margin is by how much the score of a row that search found is hardly ever better than its distance says.
	margin(q *query, row uint32) float32
	// acquire keeps the memory of the index until release; it fails when the index is gone.
	acquire() bool
	release()
	// close lets go of it, when the last search has ended.
	close() error
}

// searcher is the memory of one search.
type searcher struct {
	graph   *hnsw.Searcher
	query   query
	ids     []uint32
	dist    []float32
	scratch []int32
	vector  []float32
	natural []int8
	read    []byte // the record of the row that is being looked at
	// kept are the records of candidates, each in a buffer of its own, which is used again by the next search.
	kept    []keptRecord
	passing keptRecord // when there are enough of them
	best    []scored   // candidates of the graph
}

type keptRecord struct {
	row   uint32
	score float32
	rec   rows.Record
	buf   []byte
}

func newSearcher() *searcher { return &searcher{graph: hnsw.NewSearcher()} }

func (w *searcher) room(n int) {
	if cap(w.ids) < n {
		w.ids, w.dist, w.scratch = make([]uint32, n), make([]float32, n), make([]int32, n)
	}
}

// copy keeps a record, its vector included where that is wanted.
func (k *keptRecord) copy(rec rows.Record, vector bool) {
	if !vector {
		rec.Vector = nil
	}
	id, body := len(rec.ID), len(rec.ID)+len(rec.Body)
	k.buf = append(append(append(k.buf[:0], rec.ID...), rec.Body...), rec.Vector...)
	rec.ID, rec.Body, rec.Vector = k.buf[:id:id], k.buf[id:body:body], k.buf[body:]
	k.rec = rec
}

// keep returns a place for one more record.
func (w *searcher) keep() *keptRecord {
	if len(w.kept) == cap(w.kept) {
		w.kept = append(w.kept, keptRecord{})
	} else {
		w.kept = w.kept[:len(w.kept)+1]
	}
	return &w.kept[len(w.kept)-1]
}
