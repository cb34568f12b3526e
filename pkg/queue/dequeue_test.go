package queue

import "testing"

// fill puts n items in each lane: high ones are positive, normal ones negative.
func fill(t *testing.T, q *Lanes[int], high, normal int) {
	t.Helper()
	for i := range high {
		if !q.TryEnqueue(High, i+1) {
			t.Fatalf("high item %d refused", i)
		}
	}
	for i := range normal {
		if !q.TryEnqueue(Normal, -i-1) {
			t.Fatalf("normal item %d refused", i)
		}
	}
}

func lanesOf(vs []int) string {
	b := make([]byte, len(vs))
	for i, v := range vs {
		b[i] = 'n'
		if v > 0 {
			b[i] = 'H'
		}
	}
	return string(b)
}

func drain(q *Lanes[int]) []int {
	var vs []int
	for v, ok := q.TryDequeue(); ok; v, ok = q.TryDequeue() {
		vs = append(vs, v)
	}
	return vs
}

func TestSingleDequeueIsWeighted(t *testing.T) {
	for _, c := range []struct {
		high, normal int
		want         string
	}{
		{16, 3, "HHHHHHHnHHHHHHHnHHn"},
		{3, 3, "HHHnnn"},
		{0, 3, "nnn"},
		{10, 0, "HHHHHHHHHH"},
		{0, 0, ""},
	} {
		q := mustNew[int](t, 64)
		fill(t, q, c.high, c.normal)
		got := drain(q)
		if lanesOf(got) != c.want {
			t.Errorf("%d high and %d normal came as %q, want %q", c.high, c.normal, lanesOf(got), c.want)
		}
		next := map[bool]int{true: 1, false: 1}
		for _, v := range got {
			if max(v, -v) != next[v > 0] {
				t.Errorf("item %d out of order in %v", v, got)
			}
			next[v > 0]++
		}
	}
}

func TestNormalThatArrivesLateIsServedFirst(t *testing.T) {
	q := mustNew[int](t, 64)
	fill(t, q, 40, 0)
	for range 30 {
		q.TryDequeue()
	}
	fill(t, q, 0, 2)
	want := "nHHHHHHHnHHH" // high has used up its lead; then the usual rhythm
	if got := lanesOf(drain(q)); got != want {
		t.Errorf("after 30 high alone: %q, want %q", got, want)
	}
}

func TestNormalAloneEarnsNoCredit(t *testing.T) {
	q := mustNew[int](t, 64)
	fill(t, q, 0, 40)
	for range 30 {
		q.TryDequeue()
	}
	fill(t, q, 2, 0)
	if got, want := lanesOf(drain(q)), "HHnnnnnnnnnn"; got != want {
		t.Errorf("after 30 normal alone: %q, want %q", got, want)
	}
}

func TestBatchDequeueIsWeighted(t *testing.T) {
	for _, c := range []struct {
		size, high, normal int
		wantHigh, wantNorm int // of the first batch
		first              byte
	}{
		{80, 200, 200, 70, 10, 'H'}, // both full: exactly one in eight
		{80, 200, 4, 76, 4, 'H'},    // too few normal: high fills up
		{80, 30, 200, 30, 50, 'H'},  // too few high: normal fills up
		{80, 20, 20, 20, 20, 'H'},
		{80, 200, 0, 80, 0, 'H'},
		{80, 0, 200, 0, 80, 'n'},
		{4, 10, 10, 4, 0, 'H'}, // a batch below Weight owes nothing yet
	} {
		q := mustNew[int](t, 256)
		fill(t, q, c.high, c.normal)
		dst := make([]int, c.size)
		got := dst[:q.DequeueBatch(dst)]
		high := 0
		for _, v := range got {
			if v > 0 {
				high++
			}
		}
		if high != c.wantHigh || len(got)-high != c.wantNorm || lanesOf(got)[0] != c.first {
			t.Errorf("%+v: got %q", c, lanesOf(got))
		}
	}
}

// Batches of any size, mixed with single items, may not starve the normal lane:
// what counts is the share over all of them.
func TestWeightHoldsAcrossBatches(t *testing.T) {
	for size := 1; size <= 20; size++ {
		q := mustNew[int](t, 1024)
		fill(t, q, 1024, 1024)
		high, normal := 0, 0
		dst := make([]int, size)
		for high+normal < 900 {
			for _, v := range dst[:q.DequeueBatch(dst)] {
				if v > 0 {
					high++
				} else {
					normal++
				}
			}
			if v, _ := q.TryDequeue(); v > 0 {
				high++
			} else {
				normal++
			}
			if high > (normal+1)*(Weight-1) {
				t.Fatalf("batches of %d: %d high and only %d normal", size, high, normal)
			}
		}
		if normal > (high+normal)/Weight+1 {
			t.Errorf("batches of %d: %d normal of %d, more than their share", size, normal, high+normal)
		}
	}
}
