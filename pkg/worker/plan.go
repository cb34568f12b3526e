package worker

import (
	"slices"

	"github.com/engram-memory/engram/pkg/membership"
	"github.com/engram-memory/engram/pkg/placement"
)

// plan returns the workers that are to have each shard, by what is known of the workers.
//
// One that is stopping, or has been gone for less than the grace, keeps its shards where another one who is to have them as well
// answers: it may be back soon, and until then nothing is copied. Where it is the only one, its shards go elsewhere at once.
func plan(view membership.View, shards, copies int) [][]string {
	stay := takers(view)
	back := slices.Clone(stay)
	for name, m := range view.Living {
		if m.Stopping && placed(m) {
			back = append(back, name)
		}
	}
	for name, m := range view.Gone {
		if placed(m) {
			back = append(back, name)
		}
	}
	now := placement.Place(shards, copies, stay)
	if len(back) == len(stay) {
		return now
	}
	for shard, workers := range placement.Place(shards, copies, back) {
		workers = slices.DeleteFunc(workers, func(name string) bool { return !slices.Contains(stay, name) })
		if slices.ContainsFunc(workers, func(name string) bool { return view.Living[name].Serves(shard) }) {
			now[shard] = workers
		}
	}
	return now
}

// placed tells whether shards are placed on a member.
func placed(m membership.Member) bool { return !m.Pinned && !m.Draining }

// takers are those on which shards are placed and who stay.
func takers(view membership.View) []string {
	return slices.DeleteFunc(view.Names(), func(name string) bool {
		m := view.Living[name]
		return m.Stopping || !placed(m)
	})
}

// served tells whether all workers that are to have a shard answer for it; of none at all that is not true.
func served(view membership.View, shard int, workers []string) bool {
	return len(workers) > 0 && len(missing(view, shard, workers)) == 0
}

// missing are the workers that are to have a shard and do not answer for it, or "another worker" where there is none.
func missing(view membership.View, shard int, workers []string) []string {
	if len(workers) == 0 {
		return []string{"another worker"}
	}
	return slices.DeleteFunc(slices.Clone(workers), func(name string) bool { return view.Living[name].Serves(shard) })
}
