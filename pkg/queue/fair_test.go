package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func popAll(q *Fair[string, string]) []string {
	var out []string
	for {
		v, ok := q.Pop()
		if !ok {
			return out
		}
		out = append(out, v)
	}
}

// A flow that begins to send waits for one quantum of a flood at most, and not for its backlog.
func TestFairQuietFlowPassesBacklog(t *testing.T) {
	q := NewFair[string, string](4)
	for i := range 100 {
		q.Push("flood", fmt.Sprint("f", i), 1)
	}
	for range 6 {
		q.Pop()
	}
	q.Push("quiet", "q", 1)
	if v, _ := q.Pop(); v != "q" {
		t.Errorf("took %s before the flow that had waited for nothing", v)
	}
}

// Flows that always wait take the same cost, whatever their items cost.
func TestFairSharesCost(t *testing.T) {
	q := NewFair[string, string](10)
	for range 3000 {
		q.Push("small", "small", 1)
		q.Push("large", "large", 35)
	}
	taken := map[string]int{}
	for range 1000 {
		v, cost, _ := q.Peek()
		if w, _ := q.Pop(); w != v {
			t.Fatalf("Peek said %s and Pop took %s", v, w)
		}
		taken[v] += cost
	}
	if d := taken["small"] - taken["large"]; d > 50 || d < -50 {
		t.Errorf("cost taken: %v", taken)
	}
}

// One that empties again and again gets no more than its share by it.
func TestFairEmptyingFlowGainsNothing(t *testing.T) {
	q := NewFair[string, string](1)
	for range 1000 {
		q.Push("a", "a", 1)
		q.Push("b", "b", 1)
	}
	taken := map[string]int{}
	waits := false
	for range 900 {
		if !waits {
			q.Push("clever", "clever", 1)
			waits = true
		}
		v, _ := q.Pop()
		taken[v]++
		waits = waits && v != "clever"
	}
	if taken["clever"] > 320 || min(taken["a"], taken["b"]) < 280 {
		t.Errorf("taken: %v", taken)
	}
}

// Whatever is pushed comes out once, and each flow in its order; nothing is kept of flows that have ended.
func TestFairOrderWithinFlow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	q := NewFair[int, [2]int](7)
	next, seen := map[int]int{}, map[int]int{}
	for range 50_000 {
		if r.IntN(2) == 0 {
			k := r.IntN(20)
			q.Push(k, [2]int{k, next[k]}, 1+r.IntN(30))
			next[k]++
			continue
		}
		if v, ok := q.Pop(); ok {
			if v[1] != seen[v[0]] {
				t.Fatalf("flow %d: item %d came where %d was due", v[0], v[1], seen[v[0]])
			}
			seen[v[0]]++
		}
	}
	waiting := 0
	q.Each(func(k, n int) {
		waiting += n
		if n != next[k]-seen[k] {
			t.Errorf("flow %d: %d wait, want %d", k, n, next[k]-seen[k])
		}
	})
	if waiting != q.Len() {
		t.Errorf("Len is %d, the flows have %d", q.Len(), waiting)
	}
	for q.Len() > 0 {
		q.Pop()
	}
	if _, ok := q.Pop(); ok || len(q.flows) != 0 || q.old.head != nil || q.fresh.head != nil {
		t.Errorf("an empty queue has %d flows", len(q.flows))
	}
}

// A quantum below the cost of an item delays it by rounds, and no more.
func TestFairSmallQuantum(t *testing.T) {
	q := NewFair[string, string](1)
	q.Push("a", "a", 5)
	q.Push("b", "b", 2)
	if got := popAll(q); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("order %v", got)
	}
}

// PopFresh takes what PopFresh's caller wants of flows in their first round, and of no other; what it took counts as if Pop had.
func TestFairPopFresh(t *testing.T) {
	q := NewFair[string, string](2)
	for range 10 {
		q.Push("flood", "f", 1)
	}
	q.Pop()
	q.Pop()
	q.Pop() // the second round of the flood
	for _, flow := range []string{"a", "b"} {
		for i := range 3 {
			q.Push(flow, fmt.Sprint(flow, i), 1)
		}
	}
	want := func(v string) bool { return v[0] != 'a' }
	var got []string
	for {
		v, ok := q.PopFresh(want)
		if !ok {
			break
		}
		got = append(got, v)
	}
	if !slices.Equal(got, []string{"b0", "b1"}) || q.Len() != 11 {
		t.Errorf("took %v, and %d are left", got, q.Len())
	}
	if rest := popAll(q); !slices.Equal(rest[:2], []string{"a0", "a1"}) || len(rest) != 11 || slices.Index(rest, "b2") < slices.Index(rest, "f") {
		t.Errorf("then came %v", rest)
	}
}

// Flows that PopFresh has emptied do not stand before others, and what comes into them is found while they have something left
// of their round.
func TestFairPopFreshOfMany(t *testing.T) {
	const flows = 5 * freshLooked
	q := NewFair[int, int](2)
	all := func() (taken []int) {
		for {
			v, ok := q.PopFresh(func(int) bool { return true })
			if !ok {
				return taken
			}
			taken = append(taken, v)
		}
	}
	q.Push(-1, -1, 2)
	q.Push(-1, -1, 2)
	q.Pop() // so that something always waits, and is not fresh
	for round := range 3 {
		for flow := range flows {
			q.Push(flow, flow, 1)
		}
		want := flows
		if round == 2 {
			want = 0 // they had two in their first round
		}
		if taken := all(); len(taken) != want {
			t.Errorf("round %d: took %d, want %d", round, len(taken), want)
		}
	}
	for q.Len() > 0 {
		q.Pop()
	}
	if _, ok := q.Pop(); ok || len(q.flows) != 0 {
		t.Errorf("an empty queue has %d flows", len(q.flows))
	}
}
