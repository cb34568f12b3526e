package queue

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

// In these tests synctest.Wait returns when every other goroutine of the bubble
// sleeps for good unless something wakes it: no clock is involved.

// waiter runs f in a goroutine and lets its result be looked at.
func waiter(f func() error) (done func() (bool, error)) {
	result := make(chan error, 1)
	go func() { result <- f() }()
	return func() (bool, error) {
		synctest.Wait()
		select {
		case err := <-result:
			return true, err
		default:
			return false, nil
		}
	}
}

func mustSleep(t *testing.T, what string, done func() (bool, error)) {
	t.Helper()
	if d, err := done(); d {
		t.Fatalf("%s returned %v, want it asleep", what, err)
	}
}

func mustReturn(t *testing.T, what string, done func() (bool, error), want error) {
	t.Helper()
	if d, err := done(); !d || !errors.Is(err, want) {
		t.Fatalf("%s: returned %v with %v, want %v", what, d, err, want)
	}
}

func TestWaitWakesOneConsumerAnItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := mustNew[int](t, 8)
		var mu sync.Mutex
		awake := 0
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if q.Wait(ctx) == nil {
					mu.Lock()
					awake++
					mu.Unlock()
				}
			})
		}
		for _, s := range []struct {
			lane  Lane
			items int
			want  int
		}{{Normal, 1, 1}, {High, 2, 3}} {
			synctest.Wait()
			q.EnqueueBatch(s.lane, make([]int, s.items))
			synctest.Wait()
			mu.Lock()
			if awake != s.want {
				t.Errorf("%d consumers awake, want %d", awake, s.want)
			}
			mu.Unlock()
		}
		cancel()
		wg.Wait()
		if awake != 3 {
			t.Errorf("the fourth consumer woke to nothing")
		}
	})
}

func TestWaitReturnsAtOnceWhenThereIsSomething(t *testing.T) {
	q := mustNew[int](t, 2)
	q.TryEnqueue(Normal, 1)
	if err := q.Wait(t.Context()); err != nil {
		t.Errorf("Wait with an item = %v", err)
	}
	if err := q.WaitSpace(t.Context(), Normal, 1); err != nil {
		t.Errorf("WaitSpace with room = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait with a cancelled context = %v, although items are there", err)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := mustNew[int](t, 1)
		ctx, cancel := context.WithCancel(t.Context())
		q.TryEnqueue(High, 1)
		space := waiter(func() error { return q.WaitSpace(ctx, High, 1) })
		mustSleep(t, "WaitSpace", space)
		q.TryDequeue()
		mustReturn(t, "WaitSpace", space, nil)
		items := waiter(func() error { return q.Wait(ctx) })
		mustSleep(t, "Wait", items)
		cancel()
		mustReturn(t, "Wait", items, context.Canceled)
		if q.items.anyone() || len(q.items.list) != 0 {
			t.Error("the cancelled consumer is still enrolled")
		}
	})
}

func TestWaitSpaceWaitsForAsMuchAsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := mustNew[int](t, 4)
		q.EnqueueBatch(Normal, make([]int, 4))
		all := waiter(func() error { return q.WaitSpace(t.Context(), Normal, 100) }) // means 4
		three := waiter(func() error { return q.WaitSpace(t.Context(), Normal, 3) })
		one := waiter(func() error { return q.WaitSpace(t.Context(), Normal, 0) }) // means 1
		mustSleep(t, "one", one)
		if err := q.WaitSpace(t.Context(), High, 4); err != nil {
			t.Errorf("the high lane is empty, but WaitSpace = %v", err)
		}
		q.TryDequeue()
		mustReturn(t, "one", one, nil)
		mustSleep(t, "three", three)
		q.DequeueBatch(make([]int, 2))
		mustReturn(t, "three", three, nil)
		mustSleep(t, "all", all)
		q.TryDequeue()
		mustReturn(t, "all", all, nil)
	})
}

func TestSleeperThatLeavesPassesItsTokenOn(t *testing.T) {
	var p parker
	first, second, third := p.enrol(1), p.enrol(1), p.enrol(1)
	p.wake(1)
	p.leave(first)
	if len(second.wake) != 1 || len(third.wake) != 0 || p.sleepers.Load() != 1 {
		t.Fatalf("tokens %d, %d, asleep %d; want the second woken in place of the first",
			len(second.wake), len(third.wake), p.sleepers.Load())
	}
	if again := p.enrol(1); again != first || len(again.wake) != 0 {
		t.Error("a sleeper is not reused, or reused with a token in it")
	}
	p.leave(third)
	if p.sleepers.Load() != 1 || len(p.list) != 1 {
		t.Errorf("%d asleep, want only the one enrolled last", p.sleepers.Load())
	}
}

func TestWakeFittingSkipsWhoWantsMore(t *testing.T) {
	var p parker
	five, two, one := p.enrol(5), p.enrol(2), p.enrol(1)
	p.wakeFitting(2)
	if len(five.wake) != 0 || len(two.wake) != 1 || len(one.wake) != 1 || p.sleepers.Load() != 1 {
		t.Errorf("tokens %d, %d, %d, asleep %d; want all but the first woken",
			len(five.wake), len(two.wake), len(one.wake), p.sleepers.Load())
	}
}

// A condition that comes true between the first look and enrolling has no one to
// wake: only the second look can see it.
func TestWaitLooksAgainAfterEnrolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := parker{yields: 1}
		looks := 0
		done := waiter(func() error {
			return p.wait(t.Context(), 1, func() (bool, error) {
				looks++
				return looks > 1, nil
			})
		})
		ok, err := done()
		if !ok || err != nil || p.anyone() {
			p.wakeAll()
			t.Errorf("returned %v with %v after %d looks, still enrolled: %v", ok, err, looks, p.anyone())
		}
	})
}

func TestCloseWakesEveryoneAndLeavesItemsToDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := mustNew[int](t, 2)
		idle := mustNew[int](t, 2)
		q.EnqueueBatch(Normal, []int{1, 2})
		q.EnqueueBatch(High, []int{3, 4})
		var sleeping []func() (bool, error)
		for _, l := range []Lane{Normal, High} {
			sleeping = append(sleeping, waiter(func() error { return q.WaitSpace(t.Context(), l, 1) }),
				waiter(func() error { return idle.Wait(t.Context()) }))
		}
		for _, s := range sleeping {
			mustSleep(t, "a waiter", s)
		}
		q.Close()
		idle.Close()
		for _, s := range sleeping {
			mustReturn(t, "a waiter", s, ErrClosed)
		}
		q.Close() // again, harmlessly

		for range 4 {
			if err := q.Wait(t.Context()); err != nil {
				t.Fatalf("Wait with items left = %v", err)
			}
			if _, ok := q.TryDequeue(); !ok {
				t.Fatal("an item is missing after Close")
			}
			if q.TryEnqueue(Normal, 5) || q.EnqueueBatch(High, []int{6}) != 0 {
				t.Fatal("the closed queue took an item")
			}
		}
		if err := q.Wait(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Wait on closed and drained = %v", err)
		}
	})
}

// An item whose producer was overtaken by Close was accepted, so consumers must
// wait for it; and those who do not get it must not sleep for ever.
func TestCloseWaitsForItemsOnTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := mustNew[int](t, 2)
		if q.normal.reserve(1) != 1 {
			t.Fatal("no place in an empty lane")
		}
		q.Close()
		var taken []int
		var mu sync.Mutex
		take := func() error {
			for {
				if err := q.Wait(t.Context()); err != nil {
					return err
				}
				if v, ok := q.TryDequeue(); ok {
					mu.Lock()
					taken = append(taken, v)
					mu.Unlock()
				}
			}
		}
		a, b := waiter(take), waiter(take)
		mustSleep(t, "a", a)
		mustSleep(t, "b", b)
		q.normal.put(42)
		q.publish(&q.normal, 1)
		mustReturn(t, "a", a, ErrClosed)
		mustReturn(t, "b", b, ErrClosed)
		if len(taken) != 1 || taken[0] != 42 {
			t.Errorf("taken %v, want the one item on its way", taken)
		}
	})
}
