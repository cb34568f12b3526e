package queue

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustNew[T any](t testing.TB, capacity int) *Lanes[T] {
	t.Helper()
	q, err := New[T](capacity)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func upTo(from, to int) []int {
	var vs []int
	for v := from; v < to; v++ {
		vs = append(vs, v)
	}
	return vs
}

func TestNewChecksCapacity(t *testing.T) {
	for _, capacity := range []int{-1, 0, MaxCapacity + 1, int(^uint(0) >> 1)} {
		if q, err := New[int](capacity); err == nil || q != nil || !strings.Contains(err.Error(), "queue.capacity") {
			t.Errorf("New(%d) = %v, %v; want an error that names the setting", capacity, q, err)
		}
	}
}

func TestCapacityIsExactAndLanesAreIndependent(t *testing.T) {
	for _, capacity := range []int{1, 2, 3, 5, 8, 1000} {
		q := mustNew[int](t, capacity)
		if got := q.Capacity(); got != capacity {
			t.Errorf("Capacity() = %d, want %d", got, capacity)
		}
		for lap := range 3 { // the second lap starts in the middle of the ring
			for _, l := range []Lane{Normal, High} {
				for i := range capacity {
					if !q.TryEnqueue(l, i) {
						t.Fatalf("capacity %d, lap %d: item %d of the %s lane refused", capacity, lap, i, l)
					}
				}
				if q.TryEnqueue(l, -1) {
					t.Fatalf("capacity %d, lap %d: the %s lane took one more", capacity, lap, l)
				}
				if got := q.Len(l); got != capacity {
					t.Errorf("Len(%s) = %d, want %d", l, got, capacity)
				}
			}
			for i := range 2 * capacity {
				if _, ok := q.TryDequeue(); !ok {
					t.Fatalf("capacity %d, lap %d: empty after %d items", capacity, lap, i)
				}
			}
			if v, ok := q.TryDequeue(); ok || v != 0 {
				t.Fatalf("capacity %d, lap %d: TryDequeue on empty = %d, %v", capacity, lap, v, ok)
			}
			if q.Len(Normal)+q.Len(High) != 0 {
				t.Errorf("capacity %d: Len after draining = %d, %d", capacity, q.Len(Normal), q.Len(High))
			}
		}
	}
}

func TestEnqueueBatchTakesWhatFitsInOrder(t *testing.T) {
	q := mustNew[int](t, 5)
	steps := []struct {
		vs   []int
		want int
	}{{nil, 0}, {upTo(0, 3), 3}, {upTo(3, 7), 2}, {upTo(5, 6), 0}}
	for _, s := range steps {
		if got := q.EnqueueBatch(Normal, s.vs); got != s.want {
			t.Errorf("EnqueueBatch(%v) = %d, want %d", s.vs, got, s.want)
		}
	}
	if q.DequeueBatch(nil) != 0 {
		t.Error("DequeueBatch(nil) took something")
	}
	dst := make([]int, 8)
	n := q.DequeueBatch(dst)
	if !slices.Equal(dst[:n], upTo(0, 5)) {
		t.Errorf("DequeueBatch gave %v, want %v", dst[:n], upTo(0, 5))
	}
	if n := q.DequeueBatch(dst); n != 0 {
		t.Errorf("DequeueBatch on empty = %d", n)
	}
}

func TestUnknownLaneIsNormal(t *testing.T) {
	q := mustNew[int](t, 1)
	if !q.TryEnqueue(Lane(7), 1) || q.Len(Normal) != 1 || q.Len(High) != 0 {
		t.Errorf("lane 7: normal holds %d, high %d", q.Len(Normal), q.Len(High))
	}
	if High.String() != "high" || Normal.String() != "normal" || Lane(7).String() != "normal" {
		t.Error("names of lanes differ from the priority label")
	}
}

func TestNothingAllocatesPerItem(t *testing.T) {
	q := mustNew[item](t, 64)
	buf := make([]item, 32)
	got := testing.AllocsPerRun(100, func() {
		q.TryEnqueue(High, item{})
		q.TryDequeue()
		q.EnqueueBatch(Normal, buf)
		if err := q.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		q.DequeueBatch(buf)
	})
	if got != 0 {
		t.Errorf("%v allocations a run, want none", got)
	}
}
