package queue

import (
	"context"
	"errors"
)

// openLanes returns a queue of which every slot has been used: rings are at most
// twice the capacity, and the first use of a page costs a fault.
func openLanes(capacity int) (*Lanes[item], error) {
	q, err := New[item](capacity)
	if err != nil {
		return nil, err
	}
	for range 2 * capacity {
		for _, l := range []Lane{Normal, High} {
			q.TryEnqueue(l, item{})
			q.TryDequeue()
		}
	}
	return q, nil
}

func openBatch(capacity int) (*pipe, error) {
	q, err := openLanes(capacity)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	var lanes [2][]item
	out := make([]item, measureBatch)
	return &pipe{
		send: func(s *source) error {
			lanes[Normal], lanes[High] = lanes[Normal][:0], lanes[High][:0]
			for range measureBatch {
				l, it := s.item()
				lanes[l] = append(lanes[l], it)
			}
			for _, l := range []Lane{High, Normal} {
				if err := sendAll(ctx, q, l, lanes[l]); err != nil {
					return err
				}
			}
			return nil
		},
		end: q.Close,
		receive: func(g *ledger) error {
			return receiveUntilClosed(ctx, q, func() bool {
				n := q.DequeueBatch(out)
				for _, it := range out[:n] {
					g.enter(it)
				}
				return n > 0
			})
		},
	}, nil
}

// sendAll enqueues all of vs, waiting for as much room as the rest needs.
func sendAll(ctx context.Context, q *Lanes[item], l Lane, vs []item) error {
	for {
		vs = vs[q.EnqueueBatch(l, vs):]
		if len(vs) == 0 {
			return nil
		}
		if err := q.WaitSpace(ctx, l, len(vs)); err != nil {
			return err
		}
	}
}

func openSingle(capacity int) (*pipe, error) {
	q, err := openLanes(capacity)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	return &pipe{
		send: func(s *source) error {
			for range measureBatch {
				l, it := s.item()
				for !q.TryEnqueue(l, it) {
					if err := q.WaitSpace(ctx, l, 1); err != nil {
						return err
					}
				}
			}
			return nil
		},
		end: q.Close,
		receive: func(g *ledger) error {
			return receiveUntilClosed(ctx, q, func() bool {
				it, ok := q.TryDequeue()
				if ok {
					g.enter(it)
				}
				return ok
			})
		},
	}, nil
}

// receiveUntilClosed calls take until the queue is closed and drained, and waits
// whenever take found nothing.
func receiveUntilClosed(ctx context.Context, q *Lanes[item], take func() bool) error {
	for {
		if take() {
			continue
		}
		if err := q.Wait(ctx); errors.Is(err, ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func openChannel(capacity int) (*pipe, error) {
	ch := make(chan item, capacity)
	for range capacity {
		ch <- item{}
		<-ch
	}
	return &pipe{
		send: func(s *source) error {
			for range measureBatch {
				_, it := s.item()
				ch <- it
			}
			return nil
		},
		end: func() { close(ch) },
		receive: func(g *ledger) error {
			for it := range ch {
				g.enter(it)
			}
			return nil
		},
	}, nil
}
