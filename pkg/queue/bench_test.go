package queue

import (
	"fmt"
	"testing"
)

// benchmarkTransfer moves b.N items, rounded up to batches, between two threads.
func benchmarkTransfer(b *testing.B, open func(int) (*pipe, error), capacity int) {
	p, err := open(capacity)
	if err != nil {
		b.Fatal(err)
	}
	left := b.N
	b.ReportAllocs()
	b.ResetTimer()
	items, took, err := p.transfer(func() bool {
		left -= measureBatch
		return left > -measureBatch
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(2*float64(items)/took.Seconds(), "ops/s")
}

func BenchmarkTransfer(b *testing.B) {
	for _, capacity := range []int{256, 10_000, 50_000} {
		for _, f := range []struct {
			name string
			open func(int) (*pipe, error)
		}{{"batch", openBatch}, {"single", openSingle}, {"channel", openChannel}} {
			b.Run(fmt.Sprintf("%s/capacity=%d", f.name, capacity), func(b *testing.B) {
				benchmarkTransfer(b, f.open, capacity)
			})
		}
	}
}

// BenchmarkContended has every processor enqueue and dequeue on one small queue.
func BenchmarkContended(b *testing.B) {
	q, err := New[item](1024)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			q.TryEnqueue(Normal, item{})
			q.TryDequeue()
		}
	})
}

// BenchmarkUncontended is the cost of the instructions alone, on one thread.
func BenchmarkUncontended(b *testing.B) {
	b.Run("single", func(b *testing.B) {
		q, _ := New[item](1024)
		b.ReportAllocs()
		for range b.N {
			q.TryEnqueue(Normal, item{})
			q.TryDequeue()
		}
	})
	b.Run("batch", func(b *testing.B) {
		q, _ := New[item](1024)
		buf := make([]item, measureBatch)
		b.ReportAllocs()
		for n := 0; n < b.N; n += measureBatch {
			q.EnqueueBatch(Normal, buf)
			q.DequeueBatch(buf)
		}
	})
}
