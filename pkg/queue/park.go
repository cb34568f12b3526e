package queue

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/cpu"
)

// yieldsBeforeSleep is how often a waiter looks again, giving way to other
// goroutines in between, before it goes to sleep: a microsecond or two, about
// what a sleep and a wake-up cost, and never more.
const yieldsBeforeSleep = 8

// parker lets goroutines sleep until a condition on counters holds, at the price
// of one atomic load for those who change the counters while nobody sleeps.
//
// No wake-up is lost. The sleeper does (1) enrol, which makes sleepers > 0, then
// (2) check its condition. The other side does (3) change a counter, then (4) load
// sleepers. Go's atomics are sequentially consistent, so all four have one order:
// if 4 comes before 1 and reads 0, then 3 comes before 2 and the sleeper sees
// the change; otherwise 4 finds the sleeper and takes it off the list under the
// lock. A sleeper found is sent one token. A sleeper that leaves by itself,
// because its context ended or its check succeeded, and finds that it has been
// sent a token, sends the next one in its place.
type parker struct {
	_        cpu.CacheLinePad
	sleepers atomic.Int32 // len(list), readable without the lock
	_        cpu.CacheLinePad

	yields int // before sleeping; set once, before use

	mu   sync.Mutex
	list []*sleeper // longest asleep first
	idle []*sleeper // for reuse; no more than ever slept at once
}

// sleeper is one goroutine asleep. wake has room for the one token it can get.
type sleeper struct {
	want int // for wakeFitting
	wake chan struct{}
}

// anyone reports whether someone sleeps. It is the whole cost when nobody does.
func (p *parker) anyone() bool { return p.sleepers.Load() != 0 }

// wake wakes the n that slept longest.
func (p *parker) wake(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wakeLocked(n)
}

func (p *parker) wakeLocked(n int) {
	n = min(n, len(p.list))
	for _, s := range p.list[:n] {
		s.wake <- struct{}{}
	}
	p.list = slices.Delete(p.list, 0, n)
	p.sleepers.Store(int32(len(p.list)))
}

// wakeFitting wakes everyone who wants at most n. They may be too many for n
// together, but then nobody sleeps on room that another asked for and left.
func (p *parker) wakeFitting(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = slices.DeleteFunc(p.list, func(s *sleeper) bool {
		if s.want > n {
			return false
		}
		s.wake <- struct{}{}
		return true
	})
	p.sleepers.Store(int32(len(p.list)))
}

func (p *parker) wakeAll() { p.wake(math.MaxInt) }

// wait returns when ready reports true or an error, or ctx ends.
func (p *parker) wait(ctx context.Context, want int, ready func() (bool, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for range p.yields {
		if ok, err := ready(); ok || err != nil {
			return err
		}
		runtime.Gosched()
	}
	for {
		s := p.enrol(want)
		if ok, err := ready(); ok || err != nil {
			p.leave(s)
			return err
		}
		select {
		case <-s.wake:
			p.recycle(s)
		case <-ctx.Done():
			p.leave(s)
			return ctx.Err()
		}
		if ok, err := ready(); ok || err != nil {
			return err
		}
	}
}

func (p *parker) enrol(want int) *sleeper {
	p.mu.Lock()
	defer p.mu.Unlock()
	var s *sleeper
	if last := len(p.idle) - 1; last >= 0 {
		s, p.idle = p.idle[last], p.idle[:last]
	} else {
		s = &sleeper{wake: make(chan struct{}, 1)}
	}
	s.want = want
	p.list = append(p.list, s)
	p.sleepers.Store(int32(len(p.list)))
	return s
}

// leave takes s off the list, or passes on the token it was already sent.
func (p *parker) leave(s *sleeper) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.list, s); i >= 0 {
		p.list = slices.Delete(p.list, i, i+1)
		p.sleepers.Store(int32(len(p.list)))
	} else {
		<-s.wake // sent under the lock when s was taken off, so it is there
		p.wakeLocked(1)
	}
	p.idle = append(p.idle, s)
}

// recycle keeps s, whose token has been received, for the next sleeper.
func (p *parker) recycle(s *sleeper) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, s)
}
