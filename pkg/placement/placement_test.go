package placement_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/engram-memory/engram/pkg/placement"
)

func workers(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("worker-", i+1)
	}
	return names
}

// eachSetUp calls fn with set-ups of all sizes.
func eachSetUp(fn func(shards, copies, n int)) {
	for _, shards := range []int{1, 4, 8, 64, 256} {
		for copies := 1; copies <= 3; copies++ {
			for n := 1; n <= 12; n++ {
				fn(shards, copies, n)
			}
		}
	}
}

func loads(placed [][]string) map[string]int {
	load := map[string]int{}
	for _, names := range placed {
		for _, w := range names {
			load[w]++
		}
	}
	return load
}

func TestEachShardHasItsCopiesAndNoWorkerTooMany(t *testing.T) {
	eachSetUp(func(shards, copies, n int) {
		placed := placement.Place(shards, copies, workers(n))
		for shard, names := range placed {
			slices.Sort(names)
			if want := min(copies, n); len(slices.Compact(names)) != want {
				t.Errorf("%d shards, %d copies, %d workers: shard %d has %v", shards, copies, n, shard, names)
			}
		}
		limit, beyond := placement.Limit(shards, copies, n), 0
		for _, load := range loads(placed) {
			beyond = max(beyond, load-limit)
		}
		if beyond > 0 {
			t.Errorf("%d shards, %d copies, %d workers: a worker has %d more than the limit of %d", shards, copies, n, beyond, limit)
		}
	})
}

func TestTheOrderOfNamesDoesNotMatter(t *testing.T) {
	names := workers(7)
	want := placement.Place(64, 2, names)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	if got := placement.Place(64, 2, names); !reflect.DeepEqual(got, want) {
		t.Errorf("shuffled names give\n%v, not\n%v", got, want)
	}
}

// moved is how many copies are on another worker than before.
func moved(before, after [][]string) (n int) {
	for shard := range after {
		for _, w := range after[shard] {
			if !slices.Contains(before[shard], w) {
				n++
			}
		}
	}
	return n
}

// What must move is what the worker that came takes, or the one that went has left. The limit may move half as many beside.
func TestOneWorkerMoreOrLessMovesItsOwn(t *testing.T) {
	const shards, copies = 256, 2
	must, did := 0, 0
	for n := 3; n <= 12; n++ {
		few, many := placement.Place(shards, copies, workers(n)), placement.Place(shards, copies, workers(n+1))
		own := loads(many)[fmt.Sprint("worker-", n+1)]
		must += 2 * own
		did += moved(few, many) + moved(many, few)
	}
	if did < must || 2*did > 3*must {
		t.Errorf("%d copies have moved, of %d that had to", did, must)
	}
}

func TestNobodyAndNothing(t *testing.T) {
	if got := placement.Place(3, 2, nil); len(got) != 3 || len(got[0]) != 0 {
		t.Errorf("three shards without workers: %v", got)
	}
	if got := placement.Place(0, 2, workers(2)); len(got) != 0 {
		t.Errorf("no shards: %v", got)
	}
	if got := placement.Place(2, 0, workers(2)); len(got[1]) != 0 {
		t.Errorf("no copies: %v", got)
	}
}

// The placement is agreed on by workers of different versions: it must not change.
func TestGolden(t *testing.T) {
	want := [][]string{
		{"worker-1", "worker-2"}, {"worker-3", "worker-1"}, {"worker-1", "worker-2"}, {"worker-2", "worker-3"},
		{"worker-3", "worker-1"}, {"worker-3", "worker-1"}, {"worker-1", "worker-3"}, {"worker-2", "worker-1"},
	}
	if got := placement.Place(8, 2, workers(3)); !reflect.DeepEqual(got, want) {
		t.Errorf("8 shards on 3 workers: %q", got)
	}
}
