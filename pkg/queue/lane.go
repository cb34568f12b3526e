package queue

import (
	"runtime"
	"sync/atomic"

	"github.com/puzpuzpuz/xsync/v4"
	"golang.org/x/sys/cpu"
)

// closedBit in lane.reserved says that no more places are given out. It shares
// the word with the count so that one compare-and-swap decides both: after
// close returns, the number of items that will ever be published is fixed.
const closedBit = uint64(1) << 63

// spinsBeforeYield bounds the busy retries against a peer that is in the middle
// of marking a slot. The window is some ten nanoseconds long; a peer that takes
// longer has lost its processor and may need ours.
const spinsBeforeYield = 32

// lane is one ring and its counters; see the package comment for the protocol.
// Fields are grouped by who writes them, each group on its own cache lines. The
// counters only grow; at a billion items a second they last 292 years.
type lane[T any] struct {
	ring     *xsync.MPMCQueue[T]
	capacity uint64
	space    parker // producers that wait for room

	_            cpu.CacheLinePad
	reserved     atomic.Uint64 // written by producers; count and closedBit
	releasedSeen atomic.Uint64 // producers: some past value of released

	_         cpu.CacheLinePad
	published atomic.Uint64 // written by producers, read by consumers

	_             cpu.CacheLinePad
	claimed       atomic.Uint64 // written by consumers
	publishedSeen atomic.Uint64 // consumers: some past value of published

	_        cpu.CacheLinePad
	released atomic.Uint64 // written by consumers, read by producers
	_        cpu.CacheLinePad
}

func (l *lane[T]) init(capacity int) {
	l.ring = xsync.NewMPMCQueue[T](capacity)
	l.capacity = uint64(capacity)
	l.space.yields = yieldsBeforeSleep
}

// reserve promises up to want places and returns how many; 0 means that the
// lane was full, or closed, at some instant of the call.
//
// A value of releasedSeen may be old, never too high, so it can only hide free
// places; it is refreshed before fewer than want are given out. If reserved moved
// on after it was loaded the difference means nothing, and the swap fails.
func (l *lane[T]) reserve(want int) int {
	for {
		r := l.reserved.Load()
		if r&closedBit != 0 {
			return 0
		}
		free := int64(l.capacity + l.releasedSeen.Load() - r)
		if free < int64(want) {
			now := l.released.Load()
			l.releasedSeen.Store(now)
			if free = int64(l.capacity + now - r); free <= 0 {
				return 0
			}
		}
		n := min(free, int64(want))
		if l.reserved.CompareAndSwap(r, r+uint64(n)) {
			return int(n)
		}
	}
}

// put stores v in a reserved place. The caller publishes afterwards.
func (l *lane[T]) put(v T) {
	for spins := 1; !l.ring.TryEnqueue(v); spins++ {
		if spins >= spinsBeforeYield {
			runtime.Gosched()
		}
	}
}

// claim promises up to want items to the caller and returns how many; 0 means
// that nothing was published and unclaimed at some instant of the call. The
// reasoning about publishedSeen mirrors that in reserve.
func (l *lane[T]) claim(want int) int {
	for {
		c := l.claimed.Load()
		ready := int64(l.publishedSeen.Load() - c)
		if ready < int64(want) {
			now := l.published.Load()
			if ready = int64(now - c); ready <= 0 {
				return 0
			}
			l.publishedSeen.Store(now)
		}
		n := min(ready, int64(want))
		if l.claimed.CompareAndSwap(c, c+uint64(n)) {
			return int(n)
		}
	}
}

// take removes one claimed item. The caller releases afterwards.
func (l *lane[T]) take() T {
	for spins := 1; ; spins++ {
		if v, ok := l.ring.TryDequeue(); ok {
			return v
		}
		if spins >= spinsBeforeYield {
			runtime.Gosched()
		}
	}
}

// release gives n places back and wakes producers whose wish they fulfil.
func (l *lane[T]) release(n int) {
	l.released.Add(uint64(n))
	if l.space.anyone() {
		l.space.wakeFitting(l.free())
	}
}

// free returns the places not reserved. The order of the loads makes it an
// underestimate when both counters move.
func (l *lane[T]) free() int {
	released := l.released.Load()
	used := int64(l.reserved.Load()&^closedBit - released)
	return int(max(int64(l.capacity)-used, 0))
}

// length returns the items published and not claimed. claimed is loaded first:
// the result is then never negative, and what is published in between may make
// it too high, but never higher than capacity.
func (l *lane[T]) length() int {
	c := l.claimed.Load()
	return int(min(l.published.Load()-c, l.capacity))
}

func (l *lane[T]) close() { l.reserved.Or(closedBit) }

func (l *lane[T]) closed() bool { return l.reserved.Load()&closedBit != 0 }

// drained reports that the lane is closed and that every item ever accepted has
// been claimed, those still on their way into the ring included.
func (l *lane[T]) drained() bool {
	c := l.claimed.Load()
	return l.reserved.Load() == c|closedBit
}
