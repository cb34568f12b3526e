package queue

import "sync/atomic"

// Weight is the share of normal items under pressure from high ones: while both
// lanes have items, at least one in Weight taken is normal.
const Weight = 8

// share remembers how much the high lane has taken ahead of the normal one. Each
// high item adds 1, each normal item pays for Weight−1 of them. It stays within
// 0..Weight−1: what high takes while normal is empty is no debt, and what normal
// takes while high is empty is no credit.
//
// It is read before items are claimed and written after, so c consumers at the
// same time may take up to c−1 high items more between two normal ones.
type share struct{ ahead atomic.Int32 }

// due returns how many of the next n items must be normal if there are so many.
func (s *share) due(n int) int { return (int(s.ahead.Load()) + n) / Weight }

// took records high and normal items taken. It writes only when the balance
// changes, so that traffic in one lane alone does not share a line over it.
func (s *share) took(high, normal int) {
	for {
		old := s.ahead.Load()
		now := int32(min(max(int(old)+high-normal*(Weight-1), 0), Weight-1))
		if now == old || s.ahead.CompareAndSwap(old, now) {
			return
		}
	}
}

// TryDequeue takes one item: a high one if there is any, except that one in
// Weight is normal while there are normal ones. It returns false when both lanes
// were empty, never because of a lost race. It neither blocks nor allocates.
func (q *Lanes[T]) TryDequeue() (T, bool) {
	normalFirst := q.share.due(1) > 0
	if normalFirst && q.normal.claim(1) == 1 {
		return q.takeNormal(), true
	}
	if q.high.claim(1) == 1 {
		v := q.high.take()
		q.high.release(1)
		q.share.took(1, 0)
		return v, true
	}
	if !normalFirst && q.normal.claim(1) == 1 {
		return q.takeNormal(), true
	}
	var none T
	return none, false
}

func (q *Lanes[T]) takeNormal() T {
	v := q.normal.take()
	q.normal.release(1)
	q.share.took(0, 1)
	return v
}

// DequeueBatch takes up to len(dst) items into dst and returns how many, 0 when
// both lanes were empty. The weighting is that of TryDequeue over the whole
// batch: high items come first in dst, then the normal ones that were due or
// fitted, then high ones again if there were too few normal.
func (q *Lanes[T]) DequeueBatch(dst []T) int {
	if len(dst) == 0 {
		return 0
	}
	due := min(q.share.due(len(dst)), len(dst))
	high := q.high.takeInto(dst[:len(dst)-due])
	normal := q.normal.takeInto(dst[high:])
	n := high + normal
	if n < len(dst) && high == len(dst)-due {
		more := q.high.takeInto(dst[n:])
		high += more
		n += more
	}
	if n > 0 {
		q.share.took(high, normal)
	}
	return n
}

// takeInto takes up to len(dst) items and returns how many.
func (l *lane[T]) takeInto(dst []T) int {
	if len(dst) == 0 {
		return 0
	}
	n := l.claim(len(dst))
	if n == 0 {
		return 0
	}
	for i := range dst[:n] {
		dst[i] = l.take()
	}
	l.release(n)
	return n
}
