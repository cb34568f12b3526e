package worker

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/queue"
)

// turns is what has left the lanes of a shard and waits for its space's turn: in each lane the spaces are served by deficit
// round robin, so that none waits for another one's backlog. Between the lanes high goes first, and one task in
// queue.Weight is normal while there are normal ones.
//
// But for waiting and backlogs it belongs to whoever holds the shard's routing.
type turns struct {
	lanes [2]*queue.Fair[string, *task]
	// ahead is what high took since normal did, at most queue.Weight-1.
	ahead int
	buf   []*task

	counts [2]atomic.Int64
	// largest are the largest backlogs, as they were at sampled.
	largest atomic.Pointer[backlogs]
	sampled time.Time
}

// backlogs are the largest of them, the largest first, and how many there are.
type backlogs struct {
	largest []*api.SpaceBacklog
	spaces  int
}

const (
	// turnCost is what a space may take in a round, in the measure of cost: about 32 observations of 768 dimensions.
	turnCost = 32 * (observationCost + 3<<10)
	// observationCost is what an observation costs beside its bytes.
	observationCost = 1 << 10
	// laneChunk is how many tasks are taken out of a lane at once.
	laneChunk = 256
	// maxBacklogs is how many backlogs a heartbeat tells, and backlogsEvery how old they may be.
	maxBacklogs   = 64
	backlogsEvery = 50 * time.Millisecond
)

func newTurns() *turns {
	t := &turns{buf: make([]*task, laneChunk)}
	for i := range t.lanes {
		t.lanes[i] = queue.NewFair[string, *task](turnCost)
	}
	return t
}

// fill takes over what is in the lanes. Their number is bounded by the watermark.
func (q *turns) fill(lanes *queue.Lanes[*task]) {
	for {
		n := lanes.DequeueBatch(q.buf)
		if n == 0 {
			return
		}
		for i, t := range q.buf[:n] {
			lane := queue.Normal
			if t.high {
				lane = queue.High
			}
			q.counts[lane].Add(1)
			q.lanes[lane].Push(t.event.Space, t, observationCost+t.bytes)
			q.buf[i] = nil
		}
	}
}

// take moves the next tasks into dst and returns how many there were.
func (q *turns) take(dst []*task) int {
	n := 0
	for ; n < len(dst); n++ {
		lane := queue.High
		if q.lanes[lane].Len() == 0 || q.ahead >= queue.Weight-1 && q.lanes[queue.Normal].Len() > 0 {
			lane = queue.Normal
		}
		t, ok := q.lanes[lane].Pop()
		if !ok {
			break
		}
		q.counts[lane].Add(-1)
		if lane == queue.Normal {
			q.ahead = 0
		} else {
			q.ahead = min(q.ahead+1, queue.Weight-1)
		}
		dst[n] = t
	}
	return n
}

// look takes a sample of the backlogs, where the last one is old.
func (q *turns) look() {
	if now := time.Now(); now.Sub(q.sampled) >= backlogsEvery {
		q.sample(now)
	}
}

// takeFresh moves into dst tasks that want says true of, of spaces with little waiting, and returns how many there were. Each
// lane has half of dst at the most, so that neither takes all of it.
func (q *turns) takeFresh(dst []*task, want func(*task) bool) int {
	n := 0
	for _, lane := range []queue.Lane{queue.High, queue.Normal} {
		for range max(len(dst)/2, 1) {
			if n == len(dst) {
				break
			}
			t, ok := q.lanes[lane].PopFresh(want)
			if !ok {
				break
			}
			q.counts[lane].Add(-1)
			dst[n] = t
			n++
		}
	}
	return n
}

// waiting is how many tasks of a lane wait here.
func (q *turns) waiting(l queue.Lane) int { return int(q.counts[l].Load()) }

// backlogs returns what waits here by space, as of the last sample.
func (q *turns) backlogs() backlogs {
	sampled := q.largest.Load()
	if sampled == nil || q.waiting(queue.High)+q.waiting(queue.Normal) == 0 {
		return backlogs{} // whatever the last sample was
	}
	return *sampled
}

func (q *turns) sample(now time.Time) {
	q.sampled = now
	spaces := map[string]int{}
	for _, lane := range q.lanes {
		lane.Each(func(space string, n int) { spaces[space] += n })
	}
	all := make([]*api.SpaceBacklog, 0, len(spaces))
	for space, n := range spaces {
		all = append(all, &api.SpaceBacklog{Space: space, Observations: uint64(n)})
	}
	slices.SortFunc(all, func(a, b *api.SpaceBacklog) int { return cmp.Compare(b.GetObservations(), a.GetObservations()) })
	q.largest.Store(&backlogs{all[:min(len(all), maxBacklogs)], len(all)})
}
