package gateway

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/engram-memory/engram/pkg/session"
)

// budget bounds the bytes that something may keep in memory. Nobody waits for it: who gets nothing refuses its client.
type budget struct {
	limit int64
	used  atomic.Int64
	gauge prometheus.Gauge
}

// Grow takes n bytes more for somebody who has own, if they are left. Where nobody else has anything they always are, or
// what is larger than the budget could never be taken.
func (b *budget) Grow(own, n int) bool {
	for {
		used := b.used.Load()
		if used > int64(own) && used+int64(n) > b.limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+int64(n)) {
			b.gauge.Add(float64(n))
			return true
		}
	}
}

// Room tells whether Grow would succeed now.
func (b *budget) Room(own, n int) bool {
	used := b.used.Load()
	return used <= int64(own) || used+int64(n) <= b.limit
}

// Force takes n bytes whether they are left or not.
func (b *budget) Force(n int) {
	b.used.Add(int64(n))
	b.gauge.Add(float64(n))
}

// Give gives n bytes back.
func (b *budget) Give(n int) {
	b.used.Add(-int64(n))
	b.gauge.Add(-float64(n))
}

// Bodies is what all requests and frames that are being read may have of the memory, with what streams have yet to send.
func (g *Gateway) Bodies() session.Memory { return g.bodies }
