package worker

import (
	"context"
	"sort"
	"sync"
	"time"
)

// watermark tracks what a shard has fetched until it is searchable. Events are searchable in any order, since
// priorities overtake and spaces run in parallel; applied moves only over what is contiguous.
//
// It also is the bound of the queue: begin hands out a place only while fewer than capacity events and maxBytes bytes
// are outstanding, so no lane can overflow. Those that are done and stand behind one that is not take no place, up to
// ringFactor times the capacity: else one space that waits for its turn would stop all others.
type watermark struct {
	mu       sync.Mutex
	capacity int
	ring     []slot // by ticket modulo its length, which grows up to ringFactor times the capacity
	head     uint64 // lowest ticket that is not done, or tail
	tail     uint64 // next ticket
	undone   int    // tickets that are not done
	high     int    // of those, the ones of high priority
	bytes    int    // of those
	maxBytes int
	space    chan struct{} // one token: places were freed

	applied   uint64
	reply     string    // of the message at applied: what acknowledges everything up to it
	published time.Time // when the newest fetched message was published
	pending   uint64    // how many the server said stand behind it
	end       uint64    // sequence that the stream reaches at the least, as far as is known
	total     uint64    // events applied since the start
	waiters   []*waiter
	exact     int // of them with a first
}

// slot is one event that is outstanding.
type slot struct {
	sequence  uint64
	published time.Time
	reply     string
	bytes     int
	high      bool
	done      bool
}

// waiter waits until applied has reached a sequence, or, where first is set, until all from first on are done.
type waiter struct {
	first, sequence uint64
	reached         chan struct{}
}

func newWatermark(capacity, maxBytes int, applied uint64) *watermark {
	return &watermark{capacity: capacity, ring: make([]slot, capacity), maxBytes: maxBytes, space: make(chan struct{}, 1), applied: applied}
}

// ringFactor bounds the tickets between the oldest that is not done and the newest, in capacities.
const ringFactor = 8

// grow doubles the ring; mu is held.
func (w *watermark) grow() {
	ring := make([]slot, min(2*len(w.ring), ringFactor*w.capacity))
	for t := w.head; t < w.tail; t++ {
		ring[t%uint64(len(ring))] = w.ring[t%uint64(len(w.ring))]
	}
	w.ring = ring
}

// begin waits for a place and gives a ticket to the next event. One goroutine calls it, in the order of sequences.
func (w *watermark) begin(ctx context.Context, s slot, pending uint64) (ticket uint64, err error) {
	for {
		w.mu.Lock()
		if w.fits(s.bytes) {
			if w.tail-w.head == uint64(len(w.ring)) {
				w.grow()
			}
			ticket = w.tail
			w.ring[ticket%uint64(len(w.ring))] = s
			w.tail++
			w.undone++
			w.bytes += s.bytes
			w.published, w.pending, w.end = s.published, pending, max(w.end, s.sequence+pending)
			w.mu.Unlock()
			return ticket, nil
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-w.space:
		}
	}
}

// prioritise notes that an event that was begun has high priority.
func (w *watermark) prioritise(ticket uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slot(ticket).high = true
	w.high++
}

// complete marks events as searchable (or as passed on to the quarantine) and moves applied as far as it is contiguous.
func (w *watermark) complete(tickets ...uint64) {
	w.mu.Lock()
	for _, t := range tickets {
		if s := &w.ring[t%uint64(len(w.ring))]; !s.done {
			s.done = true
			w.bytes -= s.bytes
			w.undone--
			w.total++
			if s.high {
				w.high--
			}
		}
	}
	before := w.head
	for w.head < w.tail {
		s := &w.ring[w.head%uint64(len(w.ring))]
		if !s.done {
			break
		}
		w.applied, w.reply = s.sequence, s.reply
		*s = slot{}
		w.head++
	}
	moved := w.head > before
	var reached []*waiter
	if moved || w.exact > 0 {
		reached = w.reached()
	}
	w.mu.Unlock()
	for _, wt := range reached {
		close(wt.reached)
	}
	if len(tickets) > 0 {
		select {
		case w.space <- struct{}{}:
		default:
		}
	}
}

// await returns once applied has reached a sequence, or with the context's error.
func (w *watermark) await(ctx context.Context, sequence uint64) error {
	return w.wait(ctx, &waiter{sequence: sequence, reached: make(chan struct{})})
}

// awaitAll returns once all events from first to last are done, whatever stands before them, or with the context's error.
func (w *watermark) awaitAll(ctx context.Context, first, last uint64) error {
	return w.wait(ctx, &waiter{first: max(first, 1), sequence: last, reached: make(chan struct{})})
}

func (w *watermark) wait(ctx context.Context, wt *waiter) error {
	w.mu.Lock()
	if w.met(wt) {
		w.mu.Unlock()
		return nil
	}
	w.waiters = append(w.waiters, wt)
	if wt.first > 0 {
		w.exact++
	}
	w.mu.Unlock()
	select {
	case <-wt.reached:
		return nil
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, other := range w.waiters {
		if other == wt {
			w.waiters = append(w.waiters[:i], w.waiters[i+1:]...)
			if wt.first > 0 {
				w.exact--
			}
			return ctx.Err()
		}
	}
	return nil // reached between the two
}

// met tells whether a waiter has what it waits for; mu is held.
func (w *watermark) met(wt *waiter) bool {
	if w.applied >= wt.sequence {
		return true
	}
	if wt.first == 0 || w.head == w.tail || w.slot(w.tail-1).sequence < wt.sequence {
		return false
	}
	// The first ticket of what is asked about; sequences ascend with the tickets.
	t := w.head + uint64(sort.Search(int(w.tail-w.head), func(i int) bool { return w.slot(w.head+uint64(i)).sequence >= wt.first }))
	for ; t < w.tail && w.slot(t).sequence <= wt.sequence; t++ {
		if !w.slot(t).done {
			return false
		}
	}
	return true
}

func (w *watermark) slot(ticket uint64) *slot { return &w.ring[ticket%uint64(len(w.ring))] }

// mark is what a watermark says at one moment.
type mark struct {
	applied     uint64
	reply       string
	outstanding int
	high        int // of those
	bytes       int // of those
	// ahead is how many events are searchable behind applied, since they overtook.
	ahead int
	total uint64
	// fetched is the sequence of the last event that was begun.
	fetched uint64
	// last is the last sequence of the stream, as far as its deliveries have told.
	last uint64
	// oldest is when the oldest event was published that is not searchable, zero when there is none.
	oldest time.Time
}

func (w *watermark) read() mark {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := mark{applied: w.applied, reply: w.reply, outstanding: w.undone, high: w.high, bytes: w.bytes, ahead: int(w.tail-w.head) - w.undone, total: w.total, last: max(w.applied, w.end)}
	m.fetched = w.applied
	if w.head < w.tail {
		m.fetched = w.ring[(w.tail-1)%uint64(len(w.ring))].sequence
		m.oldest = w.ring[w.head%uint64(len(w.ring))].published
	} else if w.pending > 0 {
		// What stands behind the newest delivery was published no earlier than that.
		m.oldest = w.published
	}
	return m
}

// correct replaces what the last delivery said of those behind it, as long as none came since.
func (w *watermark) correct(applied, pending uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.head == w.tail && w.applied == applied {
		w.pending, w.end = pending, applied+pending
	}
}

// expect notes what the stream has beyond applied, and when the oldest of it was published, before anything was begun.
func (w *watermark) expect(pending, last uint64, published time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending, w.end, w.published = pending, last, published
}

// pass moves applied over sequences that the stream no longer has; nothing is outstanding.
func (w *watermark) pass(sequence uint64) {
	w.mu.Lock()
	if w.head != w.tail || sequence <= w.applied {
		w.mu.Unlock()
		return
	}
	// What was said to stand behind applied is what has gone; a delivery tells of more.
	w.applied, w.pending = sequence, 0
	reached := w.reached()
	w.mu.Unlock()
	for _, wt := range reached {
		close(wt.reached)
	}
}

// reached takes out the waiters that have what they wait for; mu is held.
func (w *watermark) reached() (reached []*waiter) {
	keep := w.waiters[:0]
	for _, wt := range w.waiters {
		if w.met(wt) {
			reached = append(reached, wt)
			if wt.first > 0 {
				w.exact--
			}
		} else {
			keep = append(keep, wt)
		}
	}
	clear(w.waiters[len(keep):])
	w.waiters = keep
	return reached
}

// newest returns the sequence of the newest event that is outstanding.
func (w *watermark) newest() (sequence uint64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.head == w.tail {
		return 0, false
	}
	return w.ring[(w.tail-1)%uint64(len(w.ring))].sequence, true
}

// fetched returns the sequence of the last event that was begun.
func (w *watermark) fetched() uint64 {
	if last, ok := w.newest(); ok {
		return last
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.applied
}

// waits tells whether begin would wait for places.
func (w *watermark) waits(bytes int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.fits(bytes)
}

func (w *watermark) fits(bytes int) bool {
	return w.undone < w.capacity && w.tail-w.head < uint64(ringFactor*w.capacity) && (w.undone == 0 || w.bytes+bytes <= w.maxBytes)
}

// retract takes back a ticket and all later ones, none of which went on to the lanes.
func (w *watermark) retract(ticket uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.tail > max(ticket, w.head) {
		w.tail--
		s := &w.ring[w.tail%uint64(len(w.ring))]
		if !s.done {
			w.bytes -= s.bytes
			w.undone--
			if s.high {
				w.high--
			}
		}
		*s = slot{}
	}
}

// restart begins behind a sequence, of another stream than before; nothing is outstanding.
func (w *watermark) restart(applied uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.applied, w.reply, w.pending, w.end = applied, "", 0, 0
}
