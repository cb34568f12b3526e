package hnsw

import (
	"fmt"
	"math"
	"sync/atomic"
)

// MaxRows is how many rows a graph can hold.
const MaxRows = 1 << 30

// Config is fixed when a graph is begun.
type Config struct {
	// M is how many links a new row chooses in each layer; in the base layer a list is pruned to 2·M.
	M int
	// EfConstruction is the length of the candidate list while a row is inserted.
	EfConstruction int
}

// DefaultConfig is what a space gets that says nothing.
func DefaultConfig() Config { return Config{M: 16, EfConstruction: 64} }

// Validate tells what of the configuration cannot be.
func (c Config) Validate() error {
	if c.M < 2 || c.M > 128 {
		return fmt.Errorf("m is %d; it can be 2 to 128", c.M)
	}
	if c.EfConstruction < c.M || c.EfConstruction > 10_000 {
		return fmt.Errorf("efConstruction is %d; it can be M, %d, to 10000", c.EfConstruction, c.M)
	}
	return nil
}

// Cap is how many links a base-layer list can hold: half as many again as it is pruned to.
func (c Config) Cap() int { return 3 * c.M }

// LinkWords is the number of words of a base-layer list, its count included.
func (c Config) LinkWords() int { return 1 + c.Cap() }

// UpperWords is the number of words of a list in an upper layer, its count included.
func (c Config) UpperWords() int { return 1 + c.M }

// LevelOf draws the level of a row from a hash of what identifies it, with the distribution of the paper: a row is in
// layer l with probability M^-l.
func (c Config) LevelOf(hash uint64) int {
	u := (float64(hash>>11) + 0.5) / (1 << 53)
	return min(int(-math.Log(u)/math.Log(float64(c.M))), MaxLevel)
}

// MaxLevel is the highest level that a row can have.
const MaxLevel = 15

// Query is a vector in the form that rows are compared with. Whoever makes it owns its memory, and uses it again for the
// next one.
type Query struct {
	// Code is the vector as int8, in the order of components that the rows' codes want, to be multiplied by Scale.
	Code []int8
	// Sum is that of the components of Code.
	Sum   int32
	Scale float32
	// Norm is the squared length of the vector, where distances depend on it.
	Norm float32
	// Linking tells that it is a row whose neighbours are chosen, which may go by another distance than a search: the
	// inner product is no metric, and a graph of it falls apart where lengths differ.
	Linking bool
}

// Rows is what the graph knows of the vectors. Both distances are the smaller the nearer, and comparable with each other;
// scratch has room for as many words as there are ids.
type Rows interface {
	// Load makes q the query that is the vector of a row.
	Load(row uint32, q *Query)
	// Estimates sets out[i] to an estimate of the distance between q and the row ids[i], cheap enough to find the way by.
	Estimates(q *Query, ids []uint32, out []float32, scratch []int32)
	// Sketched tells whether estimates are less exact than distances. Where they are not, they are not refined.
	Sketched() bool
	// Distances sets out[i] to the distance between q and the row ids[i] as well as it is known.
	Distances(q *Query, ids []uint32, out []float32, scratch []int32)
}

// Memory is where the links are. A list is a slice of words: their number, then as many row numbers.
type Memory interface {
	// Links returns the base-layer list of a row, of Config.LinkWords words.
	Links(row uint32) []uint32
	// Upper returns the list of a row in a layer from 1 to Level(row), of Config.UpperWords words.
	Upper(row uint32, level int) []uint32
	// Level returns the highest layer that a row is in, 0 to MaxLevel.
	Level(row uint32) int
	// Entry holds the entry point of the graph, packed by the graph; 0 while it is empty.
	Entry() *uint64
}

// Graph is an HNSW graph over rows 0 to Len()-1.
type Graph struct {
	cfg  Config
	rows Rows
	mem  Memory
	len  atomic.Uint32

	inserters []*Searcher // one a thread; of the inserting goroutine
	block     block
}

// New returns the graph that mem holds, of its first n rows.
func New(cfg Config, rows Rows, mem Memory, n uint32) *Graph {
	g := &Graph{cfg: cfg, rows: rows, mem: mem}
	g.len.Store(n)
	return g
}

// Config returns what the graph was begun with.
func (g *Graph) Config() Config { return g.cfg }

// Len returns how many rows are in the graph.
func (g *Graph) Len() uint32 { return g.len.Load() }

// EntryPoint returns the row that searches begin at and its level; ok is false while there is none.
func (g *Graph) EntryPoint() (row uint32, level int, ok bool) { return g.entry() }

// ChooseEntryPoint makes the first row of the highest level the entry point, for a graph whose own was lost. Nothing may
// insert or search meanwhile.
func (g *Graph) ChooseEntryPoint() {
	best, top := uint32(0), -1
	for row := range g.len.Load() {
		if level := g.mem.Level(row); level > top && (level > 0 || g.list(row, 0)[0] > 0 || top < 0) {
			best, top = row, level
		}
	}
	if top >= 0 {
		g.setEntry(best, top)
	}
}

// entry returns the entry point and its level; ok is false while there is none.
func (g *Graph) entry() (row uint32, level int, ok bool) {
	e := atomic.LoadUint64(g.mem.Entry())
	return uint32(e >> 8), int(e&0xff) - 1, e != 0
}

func (g *Graph) setEntry(row uint32, level int) {
	atomic.StoreUint64(g.mem.Entry(), uint64(row)<<8|uint64(level+1))
}

// list returns the list of a row in a layer.
func (g *Graph) list(row uint32, level int) []uint32 {
	if level == 0 {
		return g.mem.Links(row)
	}
	return g.mem.Upper(row, level)
}
