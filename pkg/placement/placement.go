// Package placement decides which workers hold which shards. Everybody who knows the same workers decides the same, so nobody
// has to be asked.
package placement

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"
)

// slack is by how much a worker may have more copies than there are on average, in parts of these. With none, a worker that
// comes or goes would move many more copies than its own.
const slack = 4

// Limit is how many copies a worker holds at the most: a quarter more than the average, rounded up.
func Limit(shards, copies, workers int) int {
	if workers == 0 {
		return 0
	}
	total := shards * min(copies, workers)
	return (total*(slack+1) + slack*workers - 1) / (slack * workers)
}

// Place returns the workers of each shard, the first choice first: copies of them, or all workers where there are fewer. The
// order of the names given does not matter; they are unique.
//
// It is rendezvous hashing (Thaler and Ravishankar, 1998): each pair of a shard and a worker has a weight that depends on
// nothing else, and a shard goes to the workers with the largest. So that chance gives no worker much more than others, a worker
// takes no more than Limit, of which those with the largest weights come first; those that it has no room for go on to their next
// choice, as in consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2018). A worker that comes
// takes its own copies from the others, and one that goes leaves them to others; the limit moves a few beside.
func Place(shards, copies int, workers []string) [][]string {
	copies = min(copies, len(workers))
	placed := make([][]string, shards)
	if copies <= 0 {
		return placed
	}
	all := pairs(shards, workers)
	limit, load := Limit(shards, copies, len(workers)), map[string]int{}
	// The pairs are looked at by weight, all shards together: who is full has got the largest of its weights.
	for _, bounded := range []bool{true, false} {
		for _, p := range all {
			if len(placed[p.shard]) == copies || slices.Contains(placed[p.shard], p.worker) || bounded && load[p.worker] >= limit {
				continue
			}
			placed[p.shard] = append(placed[p.shard], p.worker)
			load[p.worker]++
		}
		// Where all that have room hold the last shards already, these go beyond the limit.
	}
	return placed
}

// pair is a worker for a shard.
type pair struct {
	shard  int
	worker string
	weight uint64
}

// pairs returns all of them, the largest weight first.
func pairs(shards int, workers []string) []pair {
	all := make([]pair, 0, shards*len(workers))
	for _, w := range workers {
		for s := range shards {
			all = append(all, pair{s, w, weight(s, w)})
		}
	}
	slices.SortFunc(all, func(a, b pair) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.shard, b.shard), cmp.Compare(a.worker, b.worker))
	})
	return all
}

// weight is FNV-1a of both, through the finaliser of SplitMix64 (Steele, Lea and Flood, 2014): FNV alone gives names that
// differ in their last letter weights in nearly the same order.
func weight(shard int, worker string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(worker + "/" + strconv.Itoa(shard))) // a hash takes everything
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
