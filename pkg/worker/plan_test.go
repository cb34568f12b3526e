package worker

import (
	"reflect"
	"testing"

	"github.com/engram-memory/engram/pkg/membership"
	"github.com/engram-memory/engram/pkg/placement"
)

// everybody is a view in which these live and answer for all shards.
func everybody(shards int, names ...string) membership.View {
	v := membership.View{Living: map[string]membership.Member{}, Gone: map[string]membership.Member{}, Steady: true}
	for _, name := range names {
		m := membership.Member{Name: name}
		for s := range shards {
			m.Serving = append(m.Serving, s)
		}
		v.Living[name] = m
	}
	return v
}

func change(v membership.View, name string, f func(*membership.Member)) membership.View {
	m := v.Living[name]
	f(&m)
	v.Living[name] = m
	return v
}

func gone(v membership.View, name string) membership.View {
	v.Gone[name] = v.Living[name]
	delete(v.Living, name)
	return v
}

// without takes a worker out of what is placed.
func without(placed [][]string, name string) [][]string {
	out := make([][]string, len(placed))
	for shard, names := range placed {
		for _, n := range names {
			if n != name {
				out[shard] = append(out[shard], n)
			}
		}
	}
	return out
}

func TestPlan(t *testing.T) {
	const shards = 8
	three := placement.Place(shards, 2, []string{"a", "b", "c"})
	two := placement.Place(shards, 2, []string{"a", "b"})
	one := placement.Place(shards, 1, []string{"a", "b"})
	nothing := func(m *membership.Member) { m.Serving = nil }
	for name, c := range map[string]struct {
		view   membership.View
		copies int
		want   [][]string
	}{
		"all live": {everybody(shards, "a", "b", "c"), 2, three},
		"one is stopping, and others answer": {
			change(everybody(shards, "a", "b", "c"), "c", func(m *membership.Member) { m.Stopping = true }), 2, without(three, "c"),
		},
		"one is gone, and others answer": {gone(everybody(shards, "a", "b", "c"), "c"), 2, without(three, "c")},
		"one is gone, and nobody else answers": {
			gone(change(change(everybody(shards, "a", "b", "c"), "a", nothing), "b", nothing), "c"), 2, two,
		},
		"the only copy is stopping": {
			change(change(change(everybody(shards, "a", "b", "c"), "a", nothing), "b", nothing), "c", func(m *membership.Member) { m.Stopping = true }), 1, one,
		},
		"one is draining": {
			change(everybody(shards, "a", "b", "c"), "c", func(m *membership.Member) { m.Draining = true }), 2, two,
		},
		"one was draining when it went": {
			gone(change(everybody(shards, "a", "b", "c"), "c", func(m *membership.Member) { m.Draining = true }), "c"), 2, two,
		},
		"one has a list of its own": {
			change(everybody(shards, "a", "b", "c"), "c", func(m *membership.Member) { m.Pinned = true }), 2, two,
		},
		"nobody stays": {
			change(everybody(shards, "a"), "a", func(m *membership.Member) { m.Stopping = true }), 2, make([][]string, shards),
		},
	} {
		if got := plan(c.view, shards, c.copies); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n%v, want\n%v", name, got, c.want)
		}
	}
}
