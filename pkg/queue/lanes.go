package queue

import (
	"context"
	"errors"
	"fmt"
)

// MaxCapacity is the largest capacity that New accepts, in items a lane. It keeps
// a mistyped setting from taking the machine's memory: 168 MB at 16 bytes an item.
const MaxCapacity = 1 << 20

// ErrClosed is returned by the waiting calls once nothing more can happen: to
// producers after Close, to consumers after Close when every accepted item has
// been taken.
var ErrClosed = errors.New("the queue is closed")

// Lane names one of the two lanes. Any value but High counts as Normal.
type Lane uint8

// The lanes. The zero value is Normal, as is the zero priority of an observation.
const (
	Normal Lane = iota
	High
)

// String returns "high" or "normal", as used in the priority label of metrics.
func (l Lane) String() string {
	if l == High {
		return "high"
	}
	return "normal"
}

// Lanes is a bounded queue of two lanes. All methods may be called at the same
// time from any number of goroutines. Within a lane, items of one producer keep
// their order as long as one consumer takes them; there is no order between
// lanes. It must not be copied. Create it with New.
type Lanes[T any] struct {
	normal lane[T]
	high   lane[T]
	share  share
	items  parker // consumers that wait for items of either lane
}

// New returns empty lanes of exactly capacity items each. Each lane holds the
// full capacity, so that a full lane never blocks the other; how the capacity of
// a shard is divided between priorities is a matter of admission.
//
// All memory is allocated here. It fails when capacity is not in 1..MaxCapacity.
func New[T any](capacity int) (*Lanes[T], error) {
	if capacity < 1 || capacity > MaxCapacity {
		return nil, fmt.Errorf("queue capacity %d is outside 1..%d items a lane; set queue.capacity within it", capacity, MaxCapacity)
	}
	q := new(Lanes[T])
	q.normal.init(capacity)
	q.high.init(capacity)
	q.items.yields = yieldsBeforeSleep
	return q, nil
}

func (q *Lanes[T]) lane(l Lane) *lane[T] {
	if l == High {
		return &q.high
	}
	return &q.normal
}

// TryEnqueue adds v to a lane. It returns false when that lane is full or the
// queue is closed, never because of a lost race; WaitSpace tells which it was.
// It neither blocks nor allocates.
func (q *Lanes[T]) TryEnqueue(l Lane, v T) bool {
	ln := q.lane(l)
	if ln.reserve(1) == 0 {
		return false
	}
	ln.put(v)
	q.publish(ln, 1)
	return true
}

// EnqueueBatch adds as many of vs to a lane as fit, in order, and returns how
// many: vs[n:] were left out because the lane was full or the queue is closed.
// Consumers see the items together once the last one is in. Other producers'
// items may come between them.
func (q *Lanes[T]) EnqueueBatch(l Lane, vs []T) int {
	if len(vs) == 0 {
		return 0
	}
	ln := q.lane(l)
	n := ln.reserve(len(vs))
	if n == 0 {
		return 0
	}
	for _, v := range vs[:n] {
		ln.put(v)
	}
	q.publish(ln, n)
	return n
}

// publish shows n items to consumers and wakes as many of them.
func (q *Lanes[T]) publish(ln *lane[T], n int) {
	ln.published.Add(uint64(n))
	if q.items.anyone() {
		q.wakeConsumers(n)
	}
}

// wakeConsumers wakes one consumer an item. After Close it wakes all: the item
// may be the last, and whoever does not get it must learn that none will come.
func (q *Lanes[T]) wakeConsumers(n int) {
	if q.closed() {
		q.items.wakeAll()
		return
	}
	q.items.wake(n)
}

// Len returns how many items of a lane are ready to be taken. It is exact when
// nobody works on the lane. Under concurrency it is a value between those at
// the start and the end of the call or above, by what was added meanwhile, but
// always within 0..Capacity; items that an unfinished call is just putting in
// or has just claimed are not counted.
func (q *Lanes[T]) Len(l Lane) int { return q.lane(l).length() }

// Capacity returns the items that each lane can hold, as given to New.
func (q *Lanes[T]) Capacity() int { return int(q.normal.capacity) }

// Close stops intake and wakes every waiter. Items that were accepted, also by
// calls still running, can be taken afterwards: consumers go on until Wait
// returns ErrClosed. Closing again does nothing.
func (q *Lanes[T]) Close() {
	q.normal.close()
	q.high.close()
	q.items.wakeAll()
	q.normal.space.wakeAll()
	q.high.space.wakeAll()
}

func (q *Lanes[T]) closed() bool { return q.normal.closed() && q.high.closed() }

// Wait blocks until an item may be taken, and returns nil; ErrClosed after Close
// when everything accepted has been taken; or the error of ctx, also when items
// are there. After nil another consumer may still be faster: call TryDequeue or
// DequeueBatch, and Wait again when they find nothing. A consumer that Wait
// sent for an item and that does not try to take it leaves it lying until the
// next item arrives.
func (q *Lanes[T]) Wait(ctx context.Context) error {
	return q.items.wait(ctx, 1, func() (bool, error) {
		if q.normal.length() > 0 || q.high.length() > 0 {
			return true, nil
		}
		if q.normal.drained() && q.high.drained() {
			return false, ErrClosed
		}
		return false, nil
	})
}

// WaitSpace blocks until a lane has at least n free places, and returns nil;
// ErrClosed after Close; or the error of ctx. Nothing is reserved: another
// producer may still be faster. n is taken as at least 1 and at most Capacity.
// A producer of batches asks for a batch's worth, so that it is not woken for
// every single place.
func (q *Lanes[T]) WaitSpace(ctx context.Context, l Lane, n int) error {
	ln := q.lane(l)
	n = min(max(n, 1), q.Capacity())
	return ln.space.wait(ctx, n, func() (bool, error) {
		if ln.closed() {
			return false, ErrClosed
		}
		return ln.free() >= n, nil
	})
}
