package gateway

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// budget bounds the bytes that something may keep in memory. Nobody waits for it: who gets nothing refuses its client.
type budget struct {
	limit int64
	used  atomic.Int64
	gauge prometheus.Gauge
}

// take takes n bytes, if they are left. Somebody may always have what is within the limit where nobody else has anything.
func (b *budget) take(n int) bool {
	for {
		used := b.used.Load()
		if used > 0 && used+int64(n) > b.limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+int64(n)) {
			b.gauge.Add(float64(n))
			return true
		}
	}
}

// force takes n bytes whether they are left or not.
func (b *budget) force(n int) {
	b.used.Add(int64(n))
	b.gauge.Add(float64(n))
}

func (b *budget) give(n int) {
	b.used.Add(-int64(n))
	b.gauge.Add(-float64(n))
}
