package queue

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

const (
	measureBatch = 256 // between the worker's min and max batch size
	highEvery    = 10  // one item in so many is high
)

// item is what is moved while measuring: like the worker's entries, a pointer to
// something larger, and a word with the lane and the number within the lane.
type item struct {
	body *body
	tag  uint64 // number << 1 | lane
}

type body struct{ value uint64 }

// source makes items and keeps the account of the sender.
type source struct {
	bodies [64]body
	made   uint64
	next   [2]uint64 // a lane
	sum    uint64
}

func newSource() *source {
	s := new(source)
	for i := range s.bodies {
		s.bodies[i].value = uint64(i)*0x9E3779B97F4A7C15 + 1 // any values that differ
	}
	return s
}

func (s *source) item() (Lane, item) {
	l := Normal
	if s.made%highEvery == 0 {
		l = High
	}
	it := item{body: &s.bodies[s.made%uint64(len(s.bodies))], tag: s.next[l]<<1 | uint64(l)}
	s.made++
	s.next[l]++
	s.sum += it.body.value
	return l, it
}

// ledger is the account of the receiver.
type ledger struct {
	next  [2]uint64
	sum   uint64
	wrong error // the first item that was not the next of its lane
}

func (g *ledger) enter(it item) {
	l, number := Lane(it.tag&1), it.tag>>1
	if number != g.next[l] && g.wrong == nil {
		g.wrong = fmt.Errorf("item %d of the %s lane arrived where %d was due", number, l, g.next[l])
	}
	g.next[l]++
	g.sum += it.body.value
}

// settle compares the accounts of both sides.
func (g *ledger) settle(s *source) error {
	switch {
	case g.wrong != nil:
		return g.wrong
	case g.next != s.next:
		return fmt.Errorf("%v items of the normal and the high lane were sent, and %v arrived", s.next, g.next)
	case g.sum != s.sum:
		return fmt.Errorf("the items sent add up to %d, those that arrived to %d", s.sum, g.sum)
	}
	return nil
}

// pipe is one form of moving items from a source to a ledger.
type pipe struct {
	send    func(*source) error // measureBatch items
	end     func()              // no more will be sent
	receive func(*ledger) error // until the end
}

// transfer runs both sides, each on a thread of its own, sending as long as more
// reports true, and returns how many items came through and the time from the
// start to the last of them. It returns when both sides are done.
func (p *pipe) transfer(more func() bool) (items uint64, took time.Duration, err error) {
	src, got := newSource(), new(ledger)
	var sent, received error
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	side := func(f func()) {
		ready.Add(1)
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready.Done()
			<-start
			f()
		})
	}
	side(func() {
		defer p.end()
		for sent == nil && more() {
			sent = p.send(src)
		}
	})
	side(func() { received = p.receive(got) })

	ready.Wait()
	began := time.Now()
	close(start)
	done.Wait()
	took = time.Since(began)
	return src.made, took, errors.Join(sent, received, got.settle(src))
}
