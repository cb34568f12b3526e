package worker

import (
	"context"
	"sync"
	"time"

	"github.com/engram-memory/engram/pkg/bus"
)

// clock says what time it is on the server that leads a log, whose clock the log's entries have their times from. An age that was
// reckoned by two clocks would be wrong by the difference between them, below 0 even.
//
// What is known of the difference is an interval: an answer of the server with its time in it came after it was asked for, and
// was there after it was sent; and no entry is received before it was published. Where the interval has 0, no difference is
// proven, and none is taken.
type clock struct {
	// wrong is added to this machine's clock, by a test.
	wrong time.Duration

	mu     sync.Mutex
	least  time.Duration // of the server's clock minus this one
	most   time.Duration
	known  bool
	asked  time.Time
	latest time.Time // publish time of the newest entry that was received
}

// askEvery is how often the server is asked for its time: clocks drift, and are set.
const askEvery = 30 * time.Second

// local is the time of this machine, as wrong as it is.
func (c *clock) local(now time.Time) time.Time { return now.Add(c.wrong) }

// server is the time on the server.
func (c *clock) server(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now = c.local(now)
	switch {
	case c.least > 0:
		return now.Add(c.least)
	case c.known && c.most < 0:
		return now.Add(c.most)
	}
	return now
}

// received takes an entry that was published at a time of the server, and is here now.
func (c *clock) received(published, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !published.After(c.latest) {
		return // it says less than what came before
	}
	c.latest = published
	c.least = max(c.least, published.Sub(c.local(now)))
	c.most = max(c.most, c.least)
}

// told takes the server's time of an answer to a request between two moments here.
func (c *clock) told(server, before, after time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = after
	c.least, c.most, c.known = server.Sub(c.local(after)), server.Sub(c.local(before)), true
}

// due says, once in a while, that the server is to be asked.
func (c *clock) due(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Sub(c.asked) >= askEvery
}

// setClock asks the server for its time. The leader, and with it the clock, may be another one than before.
func (s *shard) setClock(ctx context.Context) {
	if !s.w.Conn.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	before := time.Now()
	server, err := bus.ServerTime(ctx, s.w.JetStream, s.number)
	if err != nil {
		s.log.Debug().Err(err).Msg("asking for the time of the log's server")
		return
	}
	s.clock.told(server, before, time.Now())
}
