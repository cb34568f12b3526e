package simulate

import (
	"fmt"
	"math"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/placement"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// SpaceName is that of the i-th space of a plan, from 0, the largest first.
func SpaceName(i int) string { return fmt.Sprintf("space-%d", i) }

// WorkerName is that of the i-th worker of a plan, from 0.
func WorkerName(i int) string { return fmt.Sprintf("worker-%d", i+1) }

// Shares returns the part of the load that each of n spaces has, under Zipf's law with exponent s, the largest first.
func Shares(n int, s float64) []float64 {
	shares, sum := make([]float64, n), 0.0
	for i := range shares {
		shares[i] = math.Pow(float64(i+1), -s)
		sum += shares[i]
	}
	for i := range shares {
		shares[i] /= sum
	}
	return shares
}

// load is what is somewhere: in a space, a shard or a worker.
type load struct {
	// share is the part of all observations.
	share float64
	// link is the CPU of linking, in µs for one observation of all.
	link   float64
	spaces int
	rows   float64
	// plain are rows without a graph, graph the bytes of the column files of the others.
	plain float64
	graph float64
}

func (l *load) add(m load) {
	l.share += m.share
	l.link += m.link
	l.spaces += m.spaces
	l.rows += m.rows
	l.plain += m.plain
	l.graph += m.graph
}

// ofSpace is the load of a space with a share.
func ofSpace(c *Costs, p *Plan, share float64) load {
	l := load{share: share, spaces: 1, rows: share * float64(p.Observations)}
	if l.rows < c.GraphRows.Value {
		l.plain = l.rows
		return l
	}
	l.link = share * c.linkAt(l.rows)
	l.graph = float64(vecstore.GraphBytes(p.Dimension, int64(l.rows)))
	return l
}

// linkAt is the CPU of linking a row into a graph of so many, in µs.
func (c *Costs) linkAt(rows float64) float64 {
	return c.Link.Value * max(0.5, 1+c.LinkGrowth.Value*math.Log2(rows/c.LinkRows.Value))
}

// spread gives the load of each shard, of each of n workers, and the shards that these have.
func spread(c *Costs, p *Plan, n int) (shards, workers []load, held []int) {
	shards, workers, held = make([]load, p.Shards), make([]load, n), make([]int, n)
	for i, share := range Shares(p.Spaces, p.Zipf) {
		shards[event.ShardOf(SpaceName(i), p.Shards)].add(ofSpace(c, p, share))
	}
	names, number := make([]string, n), make(map[string]int, n)
	for i := range names {
		names[i] = WorkerName(i)
		number[names[i]] = i
	}
	for shard, on := range placement.Place(p.Shards, p.Copies, names) {
		for _, name := range on {
			workers[number[name]].add(shards[shard])
			held[number[name]]++
		}
	}
	return shards, workers, held
}
