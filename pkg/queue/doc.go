// Package queue holds what a shard has fetched and not yet indexed: a bounded
// queue with a high and a normal lane, for any number of producers and
// consumers.
//
// # Shape
//
//	producers ─► reserve ─► ring (xsync.MPMCQueue) ─► claim ─► consumers
//	               │  ▲        one a lane               │  ▲
//	               │  └──────── released ◄──────────────┘  │
//	               └─────────── published ─────────────────┘
//
// The ring is the bounded MPMC queue of github.com/puzpuzpuz/xsync, after
// Erik Rigtorp's MPMCQueue (https://github.com/rigtorp/MPMCQueue). Its two
// calls answer false both when the ring is full (or empty) and when another
// goroutine won the race for the same slot, and nothing outside it can tell
// the two apart. A false "full" would be a 429 to a client of an idle shard; a
// false "empty" would put a worker to sleep on work. So each lane keeps four
// counters around its ring, and asks the ring only for what it has been
// promised:
//
//   - reserved: places promised to producers, taken by compare-and-swap before
//     the ring is touched. A lane is full when reserved − released = capacity.
//   - published: items that are in the ring, added after they went in.
//   - claimed: items promised to consumers, taken by compare-and-swap. A lane is
//     empty when claimed = published.
//   - released: places free again, added after the items came out.
//
// Always released ≤ claimed ≤ published ≤ reserved ≤ released + capacity. Holding
// a promise, a false from the ring means that a peer is between the two
// instructions with which it takes a slot and marks it; the call is repeated. It
// follows that false from this package means full, empty or closed, and that the
// capacity is exact although the ring's is a power of two.
//
// The counters of the two sides are on cache lines of their own, and each side
// remembers the last value it saw of the other's, so that the lines move
// between cores once in many items. A batch pays for its counters once.
//
// # Progress
//
// No lock is taken while nobody sleeps. Reserving and claiming are lock-free.
// The ring is not quite: a goroutine that the system suspends between taking a
// slot and marking it holds up whoever needs that very slot, as in every queue of
// this design. The window is a few instructions; a waiter spins a little, then
// yields its processor.
//
// # Items
//
// A slot takes 64 bytes more than its item, so that no two slots share a cache
// line, whatever the size. The smaller the item, the fewer lines move with it;
// above 56 bytes it is always two or more, so put a pointer in the queue instead.
// Memory is allocated by New: two lanes × capacity rounded up to a power of two ×
// (64 + size of T) bytes, 2.6 MB for 10,000 items of 16 bytes.
package queue
