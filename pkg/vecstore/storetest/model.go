package storetest

import (
	"cmp"
	"math"
	"slices"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vector"
)

// model is what a shard should hold: the events it was given, in the order of their sequences.
type model struct {
	spaces map[string]*modelSpace
}

type modelSpace struct {
	def  vecstore.Definition
	rows map[string]modelRow
}

type modelRow struct {
	id       string
	sequence uint64
	vector   []float32
	body     string
	expires  int64
}

// nobody is an id that no observation has.
const nobody = "\x00"

func newModel() *model { return &model{spaces: map[string]*modelSpace{}} }

func (m *model) take(e *vecstore.Event) {
	switch e.Kind {
	case vecstore.KindDefine:
		if old, ok := m.spaces[e.Definition.Name]; ok && old.def.Generation >= e.Definition.Generation {
			return
		}
		m.spaces[e.Definition.Name] = &modelSpace{def: *e.Definition, rows: map[string]modelRow{}}
	case vecstore.KindDrop:
		if sp, ok := m.spaces[e.Space]; ok && sp.def.Generation <= e.Generation {
			delete(m.spaces, e.Space)
		}
	case vecstore.KindObserve:
		m.spaces[e.Space].rows[e.ID] = modelRow{
			id: e.ID, sequence: e.Sequence, vector: stored(m.spaces[e.Space].def.Vectors, unpack(e.Vector)), body: string(e.Body),
			expires: e.ExpiresAt,
		}
	case vecstore.KindForget:
		for _, id := range e.IDs {
			delete(m.spaces[e.Space].rows, id)
		}
	}
}

// stored returns a vector as a space keeps it. testForms checks how far that is from what was observed.
func stored(form vecstore.Vectors, v []float32) []float32 {
	kept := make([]float32, len(v))
	switch form {
	case vecstore.VectorsF16:
		b := make([]byte, 2*len(v))
		vector.EncodeF16(b, v)
		vector.DecodeF16(kept, b)
	case vecstore.VectorsNone:
		code := make([]int8, len(v))
		vector.DequantizeI8(kept, code, vector.QuantizeI8(code, v))
	default:
		copy(kept, v)
	}
	return kept
}

func (r *modelRow) visible(now int64) bool { return r.expires == 0 || r.expires > now }

// visible returns the rows that have not expired, newest first.
func (s *modelSpace) visible(now int64) []modelRow {
	var rows []modelRow
	for _, r := range s.rows {
		if r.visible(now) {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b modelRow) int { return cmp.Compare(b.sequence, a.sequence) })
	return rows
}

// nearest returns the k best scores of the rows that have at least minScore, best first.
func (s *modelSpace) nearest(query []float32, k int, minScore float64, now int64, except string) []float64 {
	var scores []float64
	for _, r := range s.rows {
		if score := scoreOf(s.def.Metric, query, r.vector); score >= minScore && r.id != except && r.visible(now) {
			scores = append(scores, score)
		}
	}
	slices.Sort(scores)
	slices.Reverse(scores)
	return scores[:min(len(scores), k)]
}

// scoreOf computes a score by the book, in float64.
func scoreOf(metric vecstore.Metric, a, b []float32) float64 {
	var dot, aa, bb, l2 float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot, aa, bb, l2 = dot+x*y, aa+x*x, bb+y*y, l2+(x-y)*(x-y)
	}
	switch metric {
	case vecstore.Cosine:
		return dot / math.Sqrt(aa*bb)
	case vecstore.Dot:
		return dot
	default:
		return -l2
	}
}

// tolerance is how far a score may be from the one of scoreOf, since engines sum in float32 and in any order.
func tolerance(score float64) float64 { return 1e-4 * (1 + math.Abs(score)) }
