package session

import (
	"slices"
	"sync/atomic"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// order is the numbering of a session. It has no lock of its own.
type order struct {
	next    uint64 // the only new sequence that is taken
	durable uint64 // everything up to it is in the log
	flight  []*batch
	newest  positions
}

// batch is what one frame, or a part of it, has handed to the log.
type batch struct {
	first      uint64
	n          int
	bytes      int
	deadlineMS uint32
	// repeat tells that the sequences were handed over before, by this stream or another.
	repeat bool
	// dead tells that something before it was not taken, so this one is not to be either; expected is what is, then.
	dead     atomic.Bool
	expected uint64

	done    bool
	results []*api.ObserveResult
	refused *wire.Error // all of it
	taken   int         // how many of the first are durable
	failed  *wire.Error // why the one behind those is not, nil where all are
}

// last is the sequence of the last observation.
func (b *batch) last() uint64 { return b.first + uint64(b.n) - 1 }

// part is what of a frame is treated alike.
type part struct{ first, n uint64 }

// split tells what of the sequences is durable, what was handed over and is not yet, and what is new. ok is false where
// they begin beyond the next one.
func (o *order) split(first, n uint64) (durable, repeat, fresh part, ok bool) {
	if first > o.next {
		return part{}, part{}, part{}, false
	}
	take := func(limit uint64) part { // what lies below limit
		p := part{first: first, n: min(n, limit-min(limit, first))}
		first, n = first+p.n, n-p.n
		return p
	}
	durable = take(o.durable + 1)
	repeat = take(o.next)
	return durable, repeat, part{first, n}, true
}

// add takes a batch into the order.
func (o *order) add(b *batch) {
	o.flight = append(o.flight, b)
	if !b.repeat {
		o.next = b.last() + 1
	}
}

// pop returns the oldest batch if its outcome is known, else nil.
func (o *order) pop() *batch {
	if len(o.flight) == 0 || !o.flight[0].done {
		return nil
	}
	b := o.flight[0]
	o.flight[0] = nil
	if o.flight = o.flight[1:]; len(o.flight) == 0 {
		o.flight = nil
	}
	return b
}

// finish takes what became of a batch, wherever that is in the flight. Where a part of it was not taken, nothing that was
// handed over behind that part is to be taken either, and the numbering goes back to it at once: what comes before the
// client is told must not reach the log under sequences that it may use for something else then.
func (o *order) finish(b *batch, results []*api.ObserveResult, refused *wire.Error) {
	b.done, b.results, b.refused = true, results, refused
	if b.failed = refused; refused == nil {
		for _, r := range results {
			// A result with a position is durable, whatever else is wrong with it.
			if r.GetPosition() == "" {
				b.failed = wire.FromProto(r.GetError())
				break
			}
			b.taken++
		}
	}
	if b.failed == nil || b.repeat || b.dead.Load() {
		return
	}
	at := b.first + uint64(b.taken)
	o.next = min(o.next, at)
	for _, later := range o.flight[slices.Index(o.flight, b)+1:] {
		// A repeat of what is below stays: that is durable, or will be.
		if later.last() < at || later.dead.Load() && later.expected <= at {
			continue
		}
		later.expected = at
		later.dead.Store(true)
	}
}

// settle counts what is durable of the batch that was popped, which is neither a repeat nor dead.
func (o *order) settle(b *batch) {
	o.durable = b.first + uint64(b.taken) - 1
	for _, r := range b.results[:b.taken] { // none where the batch was refused
		o.newest.add(r.GetPosition())
	}
}

// remembered is how many positions a session knows by itself.
const remembered = 1024

// positions are where the newest observations of a session stand, up to remembered of them, in a ring.
type positions struct {
	epoch  string
	shards []uint8
	at     []uint64
	start  int // of the oldest, once the ring is full
}

func (p *positions) add(position string) {
	at, err := event.ParsePosition(position)
	if err != nil {
		at = event.Position{} // one that the gateway made can be read
	}
	p.epoch = at.Epoch
	p.put(uint8(at.Shard), at.Sequence)
}

func (p *positions) put(shard uint8, sequence uint64) {
	if len(p.at) < remembered {
		p.shards, p.at = append(p.shards, shard), append(p.at, sequence)
		return
	}
	p.shards[p.start], p.at[p.start] = shard, sequence
	p.start = (p.start + 1) % remembered
}

// back returns the position of the observation that is so many before the newest; empty where it is not known.
func (p *positions) back(n uint64) string {
	if n >= uint64(len(p.at)) || p.epoch == "" {
		return ""
	}
	i := (p.start + len(p.at) - 1 - int(n)) % len(p.at)
	return event.Position{Epoch: p.epoch, Shard: int(p.shards[i]), Sequence: p.at[i]}.String()
}

// list returns them as a state holds them, oldest first.
func (p *positions) list() (shards []uint32, at []uint64) {
	for i := range p.at {
		j := (p.start + i) % len(p.at)
		shards, at = append(shards, uint32(p.shards[j])), append(at, p.at[j])
	}
	return shards, at
}

// load is the inverse of list.
func (p *positions) load(epoch string, shards []uint32, at []uint64) {
	*p = positions{epoch: epoch}
	for i := range min(len(shards), len(at)) {
		p.put(uint8(shards[i]), at[i])
	}
}
