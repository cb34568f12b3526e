package queue

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"
	"unsafe"
)

// measureRounds is odd, so that the median is a measured value.
const measureRounds = 7

// MinMeasure is the shortest duration that Measure accepts: below it a slice is
// so short that starting two threads would be most of what is measured.
const MinMeasure = 100 * time.Millisecond

// Measurement is what Measure found. An operation is one item enqueued or one
// item dequeued, so an item that came through counts as two; the rates are those
// of both threads together. Each rate is the median over Rounds.
type Measurement struct {
	Capacity   int     `json:"capacity"`   // items a lane, and of the channel
	ItemBytes  int     `json:"item_bytes"` // a pointer and a word
	BatchSize  int     `json:"batch_size"` // items an EnqueueBatch and DequeueBatch at most
	HighShare  float64 `json:"high_share"` // of the items, in the high lane
	Rounds     int     `json:"rounds"`
	Processors int     `json:"gomaxprocs"` // with 1, the two threads take turns
	Items      uint64  `json:"items"`      // moved and verified, all forms together

	// OperationsPerSecond is the batch form, EnqueueBatch and DequeueBatch, with
	// Wait and WaitSpace in between: how a worker uses the queue.
	OperationsPerSecond float64 `json:"operations_per_second"`
	OperationsSpread    Spread  `json:"operations_per_second_spread"`

	// SingleOperationsPerSecond is TryEnqueue and TryDequeue, otherwise the same.
	SingleOperationsPerSecond float64 `json:"single_operations_per_second"`
	SingleOperationsSpread    Spread  `json:"single_operations_per_second_spread"`

	// ChannelOperationsPerSecond is one Go channel of the same capacity, item by
	// item, for both priorities together. It has no lanes and weighs nothing: two
	// channels and a select would be slower.
	ChannelOperationsPerSecond float64 `json:"channel_operations_per_second"`
	ChannelOperationsSpread    Spread  `json:"channel_operations_per_second_spread"`
}

// Spread is the lowest and the highest of the rounds.
type Spread struct {
	Min float64 `json:"min"`
	Max float64 `json:"max"`
}

// Measure finds how many operations a second the queue carries from one producer
// to one consumer, each locked to a thread of its own, and a Go channel doing the
// same. It takes about d, divided into Rounds slices of each of the three forms
// in turn, so that whatever else the machine does meets all of them alike.
//
// A slice starts with an empty queue whose memory has been touched, and ends
// when the consumer has the last item. Every item is verified: its number in its
// lane must be the next one, which rules out loss, duplication and disorder, and
// the sum of what the pointers lead to must come out. A mismatch is an error, and
// no figure is returned.
//
// It fails when d < MinMeasure, when capacity is not in 1..MaxCapacity, and with
// the error of ctx, which is looked at between slices.
func Measure(ctx context.Context, d time.Duration, capacity int) (Measurement, error) {
	if d < MinMeasure {
		return Measurement{}, fmt.Errorf("measuring the queue for %v tells nothing; give it at least %v", d, MinMeasure)
	}
	forms := []struct {
		name string
		open func(capacity int) (*pipe, error)
	}{{"batch", openBatch}, {"single", openSingle}, {"channel", openChannel}}

	m := Measurement{
		Capacity:   capacity,
		ItemBytes:  int(unsafe.Sizeof(item{})),
		BatchSize:  measureBatch,
		HighShare:  1.0 / highEvery,
		Rounds:     measureRounds,
		Processors: runtime.GOMAXPROCS(0),
	}
	slice := d / time.Duration(measureRounds*len(forms))
	rates := make([][]float64, len(forms))
	for range measureRounds {
		for i, f := range forms {
			if err := ctx.Err(); err != nil {
				return Measurement{}, err
			}
			p, err := f.open(capacity)
			if err != nil {
				return Measurement{}, err
			}
			var end time.Time
			items, took, err := p.transfer(func() bool {
				now := time.Now()
				if end.IsZero() {
					end = now.Add(slice)
				}
				return now.Before(end)
			})
			if err != nil {
				return Measurement{}, fmt.Errorf("measuring the %s form: %w", f.name, err)
			}
			m.Items += items
			rates[i] = append(rates[i], 2*float64(items)/took.Seconds())
		}
	}
	m.OperationsPerSecond, m.OperationsSpread = summary(rates[0])
	m.SingleOperationsPerSecond, m.SingleOperationsSpread = summary(rates[1])
	m.ChannelOperationsPerSecond, m.ChannelOperationsSpread = summary(rates[2])
	return m, nil
}

// summary returns the median and the extremes of an odd number of rates.
func summary(rates []float64) (median float64, s Spread) {
	slices.Sort(rates)
	return rates[len(rates)/2], Spread{Min: rates[0], Max: rates[len(rates)-1]}
}
