package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The ring beneath answers false when it loses a race. These two tests fail at
// once if that shows: the number of calls equals the number of places, or items.
func TestLostRaceIsNotFull(t *testing.T) {
	const goroutines, each = 8, 500
	q := mustNew[int](t, goroutines*each)
	var wg sync.WaitGroup
	var refused atomic.Int32
	for range goroutines {
		wg.Go(func() {
			for i := range each {
				if !q.TryEnqueue(High, i) {
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := refused.Load(); n != 0 {
		t.Errorf("%d items refused by a lane with room for all", n)
	}
	if q.TryEnqueue(High, 0) {
		t.Error("the full lane took one more")
	}
}

func TestLostRaceIsNotEmpty(t *testing.T) {
	const goroutines, each = 8, 500
	q := mustNew[int](t, goroutines*each)
	for i := range goroutines * each {
		q.TryEnqueue(Normal, i)
	}
	var wg sync.WaitGroup
	var missed atomic.Int32
	for range goroutines {
		wg.Go(func() {
			for range each {
				if _, ok := q.TryDequeue(); !ok {
					missed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := missed.Load(); n != 0 {
		t.Errorf("%d calls found nothing while there were items for all", n)
	}
}

// TestPromiseIsGivenOnce races for the counters alone, with one item, or place, at
// a time: whoever wins it dwells on it, sees that no one else has won it too, and
// then makes the next one, and tries for it a varying moment later.
func TestPromiseIsGivenOnce(t *testing.T) {
	const rounds, dwell = 200_000, 12
	for name, race := range map[string]struct {
		promise func(*lane[int], int) int
		next    func(*lane[int]) *atomic.Uint64
	}{
		"claim":   {(*lane[int]).claim, func(l *lane[int]) *atomic.Uint64 { return &l.published }},
		"reserve": {(*lane[int]).reserve, func(l *lane[int]) *atomic.Uint64 { return &l.released }},
	} {
		t.Run(name, func(t *testing.T) {
			var l lane[int]
			l.init(1)
			if name == "claim" {
				l.published.Add(1)
			}
			var won atomic.Int64
			var wg sync.WaitGroup
			var awaited atomic.Int64
			awaited.Store(int64(max(2, runtime.GOMAXPROCS(0))))
			for range awaited.Load() {
				wg.Go(func() {
					for awaited.Add(-1); awaited.Load() > 0; {
						runtime.Gosched()
					}
					for won.Load() < rounds {
						n := race.promise(&l, 2)
						if n == 0 {
							continue
						}
						mine := won.Add(int64(n))
						for range dwell {
							if now := won.Load(); n != 1 || now != mine {
								t.Errorf("promised %d at once, %d in all when it was %d", n, now, mine)
								won.Store(rounds)
								return
							}
						}
						race.next(&l).Add(1)
						for range mine % dwell { // so that the others' turn and ours meet
							won.Load()
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// parcel says who sent it, in which lane, as which one.
type parcel struct {
	producer int
	lane     Lane
	number   int
}

// TestEveryItemExactlyOnce lets producers and consumers of all forms meet on
// small queues, where every call is at an edge, and every wait really sleeps. A
// lost wake-up shows as a deadline.
func TestEveryItemExactlyOnce(t *testing.T) {
	for _, c := range []struct{ producers, consumers, capacity, each int }{
		{1, 1, 1, 10_000},
		{1, 1, 3, 10_000},
		{4, 1, 2, 5000},
		{1, 4, 1, 10_000},
		{4, 4, 1, 5000},
		{4, 4, 7, 5000},
		{8, 3, 64, 5000},
	} {
		t.Run(fmt.Sprintf("%dx%d/capacity=%d", c.producers, c.consumers, c.capacity), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			q := mustNew[parcel](t, c.capacity)
			q.items.yields, q.normal.space.yields, q.high.space.yields = 0, 0, 0

			var sending, receiving sync.WaitGroup
			for p := range c.producers {
				sending.Go(func() {
					if err := produce(ctx, q, p, c.each); err != nil {
						t.Errorf("producer %d: %v", p, err)
					}
				})
			}
			got := make([][]parcel, c.consumers)
			for i := range c.consumers {
				receiving.Go(func() {
					var err error
					if got[i], err = consume(ctx, q, i); !errors.Is(err, ErrClosed) {
						t.Errorf("consumer %d: %v", i, err)
					}
				})
			}
			sending.Wait()
			q.Close()
			receiving.Wait()
			checkParcels(t, got, c.producers, c.each)
			checkAtRest(t, &q.normal, &q.high)
		})
	}
}

// produce sends each items, one in three high, by randomly chosen calls.
func produce(ctx context.Context, q *Lanes[parcel], producer, each int) error {
	r := rand.New(rand.NewPCG(1, uint64(producer)))
	next := [2]int{}
	for left := each; left > 0; {
		l := Normal
		if r.IntN(3) == 0 {
			l = High
		}
		batch := make([]parcel, min(1+r.IntN(9), left))
		for i := range batch {
			batch[i] = parcel{producer, l, next[l] + i}
		}
		n := 0
		if r.IntN(2) == 0 {
			n = q.EnqueueBatch(l, batch)
		} else if q.TryEnqueue(l, batch[0]) {
			n = 1
		}
		next[l] += n
		left -= n
		if n == 0 {
			if err := q.WaitSpace(ctx, l, len(batch)); err != nil {
				return err
			}
		}
	}
	return nil
}

// consume takes items by randomly chosen calls until Wait fails.
func consume(ctx context.Context, q *Lanes[parcel], seed int) ([]parcel, error) {
	r := rand.New(rand.NewPCG(2, uint64(seed)))
	var got []parcel
	dst := make([]parcel, 12)
	for {
		if v, ok := q.TryDequeue(); ok {
			got = append(got, v)
			continue
		}
		if n := q.DequeueBatch(dst[:1+r.IntN(len(dst))]); n > 0 {
			got = append(got, dst[:n]...)
			continue
		}
		if err := q.Wait(ctx); err != nil {
			return got, err
		}
	}
}

// checkParcels asserts that the numbers of each producer in each lane are 0..n-1,
// each once, n adding up to each; and in that order when one consumer took them.
func checkParcels(t *testing.T, got [][]parcel, producers, each int) {
	t.Helper()
	type sender struct {
		producer int
		lane     Lane
	}
	seen := map[sender]map[int]bool{}
	total := 0
	for _, ps := range got {
		for _, p := range ps {
			s := sender{p.producer, p.lane}
			if seen[s] == nil {
				seen[s] = map[int]bool{}
			}
			if seen[s][p.number] {
				t.Fatalf("%+v arrived twice", p)
			}
			if len(got) == 1 && p.number != len(seen[s]) {
				t.Fatalf("%+v arrived as number %d", p, len(seen[s]))
			}
			seen[s][p.number] = true
			total++
		}
	}
	for s, numbers := range seen {
		for i := range len(numbers) {
			if !numbers[i] {
				t.Fatalf("item %d of %+v is missing", i, s)
			}
		}
	}
	if want := producers * each; total != want {
		t.Fatalf("%d items arrived of %d", total, want)
	}
}

// checkAtRest asserts that all counters of idle, drained lanes agree, and that no
// one is left on a list.
func checkAtRest[T any](t *testing.T, lanes ...*lane[T]) {
	t.Helper()
	for _, l := range lanes {
		r := l.reserved.Load() &^ closedBit
		if p, c, d := l.published.Load(), l.claimed.Load(), l.released.Load(); p != r || c != r || d != r {
			t.Errorf("reserved %d, published %d, claimed %d, released %d", r, p, c, d)
		}
		if l.space.anyone() || len(l.space.list) != 0 {
			t.Errorf("%d producers still asleep", len(l.space.list))
		}
		if got := l.free(); got != int(l.capacity) {
			t.Errorf("%d places free of %d", got, l.capacity)
		}
	}
}

// TestLenStaysInRange reads Len while both ends of a small lane move.
func TestLenStaysInRange(t *testing.T) {
	const capacity = 3
	q := mustNew[int](t, capacity)
	var wg sync.WaitGroup
	var stop atomic.Bool
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				q.TryEnqueue(Normal, 1)
				q.TryDequeue()
			}
		})
	}
	for range 50_000 {
		if n := q.Len(Normal); n < 0 || n > capacity {
			t.Errorf("Len = %d, outside 0..%d", n, capacity)
			break
		}
	}
	stop.Store(true)
	wg.Wait()
}
