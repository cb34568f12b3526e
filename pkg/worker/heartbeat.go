package worker

import (
	"context"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/queue"
)

// soonest is the least time between two heartbeats.
const soonest = 10 * time.Millisecond

// heartbeats tells how far the shards are, every interval, and earlier when much has happened, until ctx ends.
func (w *Worker) heartbeats(ctx context.Context) {
	tick := time.NewTicker(w.Config.Heartbeat)
	defer tick.Stop()
	busy := make([]int64, len(w.pool.workers))
	measured := time.Now()
	for last := measured; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.soon:
			if !sleep(ctx, soonest-time.Since(last)) {
				return
			}
		}
		now := time.Now()
		w.beat(now)
		if took := now.Sub(measured); took >= w.Config.Heartbeat/2 {
			for i, iw := range w.pool.workers {
				total := iw.busy.Load()
				w.utilization[i].Set(math.Min(float64(total-busy[i])/float64(took), 1))
				busy[i] = total
			}
			measured = now
		}
		last = now
	}
}

// beatSoon asks for a heartbeat before its time.
func (w *Worker) beatSoon() {
	select {
	case w.soon <- struct{}{}:
	default:
	}
}

func (w *Worker) beat(now time.Time) {
	hb := &api.Heartbeat{Worker: w.Config.Name, Epoch: w.Topology.Epoch, SentAt: now.UnixNano(), ShardCount: uint32(w.Topology.Shards), Draining: w.leaving()}
	normal, high, bytes := 0, 0, 0
	for _, s := range w.held() {
		normal += s.waiting(queue.Normal)
		high += s.waiting(queue.High)
		bytes += s.mark.read().bytes
		hb.Shards = append(hb.Shards, s.status(now))
	}
	hb.Shards = append(hb.Shards, w.beginning()...)
	w.Metrics.QueueDepthNormal.Set(float64(normal))
	w.Metrics.QueueDepthHigh.Set(float64(high))
	w.Metrics.QueueMemory.Set(float64(bytes))
	b, err := proto.Marshal(hb)
	if err != nil {
		w.Logger.Error().Err(err).Msg("encoding a heartbeat")
		return
	}
	// One that does not get through is followed by another.
	_ = w.Conn.Publish(bus.HeartbeatSubject(w.Config.Name), b)
}

// beginning are the shards that are being opened, and those that cannot be.
func (w *Worker) beginning() []*api.ShardStatus {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var all []*api.ShardStatus
	for number, reason := range w.opening {
		all = append(all, &api.ShardStatus{Shard: uint32(number), State: api.CopyState_COPY_STATE_OPENING, Reason: reason})
	}
	return all
}

// status is how far this copy of the shard is.
func (s *shard) status(now time.Time) *api.ShardStatus {
	waiting := s.turns.backlogs()
	m := s.mark.read()
	store := s.store.Load()
	staleness := s.staleness(now)
	s.broadcast.Store(m.total)
	s.metrics.Staleness.Set(staleness.Seconds())
	s.metrics.Lag.Set(float64(m.last - m.applied))
	drain := s.drain.observe(m.total, m.outstanding > 0, now)
	s.drainRate.Store(math.Float64bits(drain))
	return &api.ShardStatus{
		Shard: uint32(s.number), Applied: m.applied, Durable: store.Durable(), Depth: uint64(m.outstanding),
		DrainRate: drain, StalenessMs: float64(staleness) / 1e6,
		Capacity: uint64(s.w.Config.Queue.Capacity), LastSequence: m.last, Quarantined: s.quarantined.Load(),
		StreamCreatedAt: store.Source().CreatedAt,
		HighReserved:    uint64(float64(s.w.Config.Queue.Capacity) * s.w.Config.Queue.HighPriorityRatio),
		Ahead:           uint64(m.ahead), Fetched: m.fetched, DepthHigh: uint64(m.high),
		Backlogs: waiting.largest, WaitingSpaces: uint64(waiting.spaces),
		State: api.CopyState(s.state.Load()), Reason: *s.reason.Load(),
	}
}

// rate is an exponentially weighted mean of how much a second is drained while there is something to drain.
type rate struct {
	total uint64
	at    time.Time
	mean  float64
}

// rateHorizon is how long ago a measurement counts for 1/e of a new one.
const rateHorizon = 2 * time.Second

func (r *rate) observe(total uint64, busy bool, now time.Time) float64 {
	took := now.Sub(r.at)
	done := float64(total - r.total)
	if !r.at.IsZero() && took > 0 && (busy || done > 0) {
		weight := 1 - math.Exp(-float64(took)/float64(rateHorizon))
		if r.mean == 0 {
			weight = 1
		}
		r.mean += weight * (done/took.Seconds() - r.mean)
	}
	r.total, r.at = total, now
	return r.mean
}
