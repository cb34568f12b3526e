package vecstore

import (
	"math/rand"
	"sync"
	"sync/atomic"

	coder "github.com/coder/hnsw"

	"github.com/engram-memory/engram/pkg/hnsw"
	"github.com/engram-memory/engram/pkg/vector"
)

// coderIndex is the engine EngineCoder: the graph of github.com/coder/hnsw, which keeps its vectors on the heap and is
// built again at every open. Its recall follows how many results it is asked for, so it is asked for more than are wanted,
// and some rows cannot be reached in it however many that are: a search that finds too few compares all rows.
type coderIndex struct {
	gen   *generation
	codec *codec

	mu    sync.RWMutex // a search must not run beside an insertion
	graph *coder.Graph[uint32]
	rows  atomic.Uint32
	codes [][]int8 // by row
	info  []tailInfo
}

// coderOversampling is how many results are asked for, for each of ef.
const coderOversampling = 8

func newCoder(g *generation) *coderIndex {
	x := &coderIndex{gen: g, codec: g.space.codec, graph: coder.NewGraph[uint32]()}
	x.graph.Rng = rand.New(rand.NewSource(1))
	x.graph.Distance = vector.L2
	if x.codec.metric == Dot {
		x.graph.Distance = func(a, b coder.Vector) float32 { return -vector.Dot(a, b) }
	}
	return x
}

func (x *coderIndex) linked() uint32 { return x.rows.Load() }
func (x *coderIndex) acquire() bool  { return true }
func (x *coderIndex) release()       {}
func (x *coderIndex) close() error   { return nil }

// link adds rows by their int8 codes, which it keeps for the distances.
func (x *coderIndex) link(to uint32, _ int) error {
	natural := make([]int8, x.codec.dim)
	x.mu.Lock()
	defer x.mu.Unlock()
	for row := x.rows.Load(); row < to; row++ {
		if x.gen.meta.at(row).born.Load() == void {
			x.codes, x.info = append(x.codes, make([]int8, x.codec.codeSize)), append(x.info, tailInfo{})
			continue
		}
		code, info := x.gen.tail.code(row)
		vector.U4Components(natural, code)
		v := make([]float32, x.codec.dim)
		vector.DequantizeI8(v, natural, info.scale)
		x.graph.Add(coder.MakeNode(row, v))
		x.codes, x.info = append(x.codes, append([]int8(nil), code...)), append(x.info, info)
	}
	x.rows.Store(to)
	return nil
}

func (x *coderIndex) search(s *searcher, q *query, k, ef int, hide func(uint32) bool) ([]hnsw.Candidate, int) {
	natural, v := make([]int8, x.codec.dim), make([]float32, x.codec.dim)
	vector.U4Components(natural, q.Code)
	vector.DequantizeI8(v, natural, q.Scale)
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := x.rows.Load()
	var found []hnsw.Candidate
	offer := func(row uint32) {
		if row < n && !hide(row) {
			found = append(found, hnsw.Candidate{Row: row, Distance: x.distance(q, row)})
		}
	}
	near := x.graph.Search(v, min(int(n), coderOversampling*ef))
	for _, node := range near {
		offer(node.Key)
	}
	compared := len(near)
	if len(found) < min(k, int(n)) {
		found, compared = found[:0], int(n)
		for row := range n {
			offer(row)
		}
	}
	s.graph.SortByDistance(found)
	return found, compared
}

func (x *coderIndex) distance(q *query, row uint32) float32 {
	info := x.info[row]
	return x.codec.distance(float32(vector.DotI8(q.Code, x.codes[row]))*info.scale*q.Scale, info.norm)
}

func (x *coderIndex) prepare(*searcher, *query) {}

func (x *coderIndex) bounds(_ *searcher, q *query, ids []uint32, out []float32) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for i, id := range ids {
		out[i] = x.codec.best(q, x.distance(q, id), x.info[id])
	}
}

// margin is the bound itself, which is narrow for codes of eight bits.
func (x *coderIndex) margin(q *query, row uint32) float32 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.codec.best(q, 0, x.info[row]) - x.codec.asScore(q, 0)
}
