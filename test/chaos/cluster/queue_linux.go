package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/florianl/go-nfqueue/v2"
)

// queueNumber is that of the netfilter queue, which each network namespace has for itself.
const queueNumber = 77

// queued is a packet that waits until it may go on.
type queued struct {
	id  uint32
	due time.Time
}

// delayQueue holds each packet of the queue of a process' network namespace for a time, in order, and drops a share of
// them at random.
func delayQueue(pid int, delay time.Duration, loss float64) (end func() error, err error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	q, err := nfqueue.Open(&nfqueue.Config{NetNS: int(ns.Fd()), NfQueue: queueNumber, MaxQueueLen: math.MaxUint16, Copymode: nfqueue.NfQnlCopyMeta})
	if err != nil {
		return nil, fmt.Errorf("opening a netfilter queue: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	packets := make(chan queued, math.MaxUint16)
	err = q.RegisterWithErrorFunc(ctx, func(a nfqueue.Attribute) int {
		select {
		case packets <- queued{*a.PacketID, time.Now().Add(delay)}:
		case <-ctx.Done():
		}
		return 0
	}, func(error) int {
		if ctx.Err() != nil {
			return 1
		}
		return 0 // such as packets that did not fit the socket: they are lost, as on a slow line
	})
	if err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("listening to a netfilter queue: %w", err), q.Close())
	}
	var done sync.WaitGroup
	done.Go(func() { forward(ctx, q, packets, loss) })
	return func() error {
		cancel()
		done.Wait()
		return q.Close()
	}, nil
}

// forward lets packets go when they are due.
func forward(ctx context.Context, q *nfqueue.Nfqueue, packets <-chan queued, loss float64) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-packets:
			timer.Reset(time.Until(p.due))
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			verdict := nfqueue.NfAccept
			if rand.Float64() < loss {
				verdict = nfqueue.NfDrop
			}
			_ = q.SetVerdict(p.id, verdict) // of a packet that is gone with its namespace there is nothing to say
		}
	}
}
