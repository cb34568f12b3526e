package gateway

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/registry"
	"github.com/engram-memory/engram/pkg/wire"
)

// quotas holds what the spaces with a quota have used of it through this gateway. Each gateway gives out the whole of a
// rate, so with G of them a space can use up to G times its rate. What is stored is counted by the workers, and what was
// taken since the last count is added to it, so that a gateway alone does not pass the limit; with several it can be passed
// by what the others took since then, which is a second's worth.
type quotas struct {
	mu     sync.Mutex
	spaces map[string]*usage
}

// usage is what one space has used.
type usage struct {
	generation   uint32
	observations bucket
	bytes        bucket
	// stored was counted last at counted, zero for never; taken came since then, or was on its way at that time.
	stored, taken uint64
	counted       time.Time
	// asked tells that the count mattered since.
	asked bool
}

func newQuotas() *quotas { return &quotas{spaces: map[string]*usage{}} }

// bucket is a token bucket that holds a second's worth. A request that is larger than that is taken from a full one, and
// paid for later.
type bucket struct {
	tokens float64
	at     time.Time
}

// wait returns how long it takes until n are there, 0 when they are.
func (b *bucket) wait(n, rate float64, now time.Time) time.Duration {
	most := math.Max(rate, 1)
	if b.at.IsZero() {
		b.tokens = most
	} else {
		b.tokens = math.Min(b.tokens+rate*now.Sub(b.at).Seconds(), most)
	}
	b.at = now
	missing := math.Min(n, most) - b.tokens
	if missing <= 0 {
		return 0
	}
	return max(time.Duration(math.Min(missing/rate, maxQuotaWait.Seconds())*float64(time.Second)), time.Millisecond)
}

// take takes n, of which wait has said that they are there, or gives back what is less than none. Without a rate nothing is
// taken, and nothing owed: who bounds the space later begins with a full bucket.
func (b *bucket) take(n, rate float64) {
	if rate > 0 {
		b.tokens -= n
	} else {
		*b = bucket{}
	}
}

const (
	// maxQuotaWait bounds what a refusal says.
	maxQuotaWait = time.Minute
	// countEvery is the time between two counts of what a space stores, and countTimeout bounds the wait for one.
	countEvery   = time.Second
	countTimeout = time.Second
)

// of returns the usage of a space as it is defined now; mu is held.
func (q *quotas) of(e *registry.Entry) *usage {
	u := q.spaces[e.GetName()]
	if u == nil || u.generation != e.GetGeneration() {
		u = &usage{generation: e.GetGeneration()}
		q.spaces[e.GetName()] = u
	}
	return u
}

// admit takes a request from the quota of its space, or refuses it.
func (q *quotas) admit(e *registry.Entry, l load, now time.Time) *wire.Error {
	quota := e.GetQuota()
	q.mu.Lock()
	defer q.mu.Unlock()
	if quota == nil {
		delete(q.spaces, e.GetName()) // of a quota that it had
		return nil
	}
	u := q.of(e)
	n, bytes := float64(l.n), float64(l.bytes)
	if rate := quota.GetObservationsPerSecond(); rate > 0 {
		if wait := u.observations.wait(n, rate, now); wait > 0 {
			return overRate(e, wait, rate, "observations")
		}
	}
	if rate := quota.GetBytesPerSecond(); rate > 0 {
		if wait := u.bytes.wait(bytes, rate, now); wait > 0 {
			return overRate(e, wait, rate, "bytes")
		}
	}
	if most := quota.GetStoredObservations(); most > 0 {
		u.asked = true
		if u.stored+u.taken+uint64(l.n) > most {
			return wire.Errorf(wire.CodeSpaceFull, "", "space %q holds %d observations or is about to, and its quota is %d; forget some, or raise the quota",
				e.GetName(), u.stored+u.taken, most)
		}
	}
	u.observations.take(n, quota.GetObservationsPerSecond())
	u.bytes.take(bytes, quota.GetBytesPerSecond())
	u.taken += uint64(l.n)
	return nil
}

func overRate(e *registry.Entry, wait time.Duration, rate float64, of string) *wire.Error {
	err := wire.Errorf(wire.CodeQuota, "", "the quota of space %q is %v %s a second through each gateway, and is used up; send the request again later",
		e.GetName(), rate, of)
	err.RetryAfter = wait
	return err
}

// release gives back what admit took.
func (q *quotas) release(e *registry.Entry, l load) {
	quota := e.GetQuota()
	if quota == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.of(e)
	u.observations.take(-float64(l.n), quota.GetObservationsPerSecond())
	u.bytes.take(-float64(l.bytes), quota.GetBytesPerSecond())
	u.taken -= min(uint64(l.n), u.taken)
}

// uncounted tells that nobody has counted yet what a space with a bound of it stores.
func (q *quotas) uncounted(e *registry.Entry) bool {
	if e.GetQuota().GetStoredObservations() == 0 {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.of(e).counted.IsZero()
}

// due returns the spaces whose count matters and is old, and lets go of those that are no more.
func (q *quotas) due(now time.Time, get func(name string) *registry.Entry) []*registry.Entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	var entries []*registry.Entry
	for name, u := range q.spaces {
		switch e := get(name); {
		case !e.Living():
			delete(q.spaces, name)
		case u.asked && now.Sub(u.counted) >= countEvery/2:
			entries = append(entries, e)
		}
	}
	return entries
}

// countStored counts what the spaces store that are near enough to be asked about, until the gateway is closed.
func (g *Gateway) countStored() {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case now := <-tick.C:
			for _, e := range g.quotas.due(now, g.Registry.Get) {
				g.count(g.ctx, e)
			}
		}
	}
}

// count asks a worker what a space stores. Where none answers, what is known counts on, and a space that was never counted
// counts as empty: observations are taken while no worker runs, as they are without a quota.
func (g *Gateway) count(ctx context.Context, e *registry.Entry) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	shard := event.ShardOf(e.GetName(), g.Topology.Shards)
	q := g.quotas
	q.mu.Lock()
	before := q.of(e).taken
	q.mu.Unlock()
	outstanding := g.shards[shard].outstanding(e.GetName())
	stored, ok := g.stored(ctx, shard, e)
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.of(e)
	u.counted = time.Now()
	if !ok {
		return
	}
	u.stored = stored
	// What was on its way when the question was may be in the answer or not.
	u.taken += uint64(outstanding)
	u.taken -= min(before, u.taken)
	u.asked = u.taken > 0
}

func (g *Gateway) stored(ctx context.Context, shard int, e *registry.Entry) (uint64, bool) {
	body, err := proto.Marshal(&api.ShardSpacesRequest{Space: e.GetName()})
	if err != nil {
		return 0, false // a name that was checked is UTF-8
	}
	m, err := g.Conn.RequestWithContext(ctx, bus.ShardSubject(shard, bus.VerbSpaces), body)
	resp := new(api.SpacesResponse)
	if err != nil || proto.Unmarshal(m.Data, resp) != nil {
		g.Logger.Debug().Err(err).Str("space", e.GetName()).Msg("no worker said what the space stores; its quota goes by the last count")
		return 0, false
	}
	for _, s := range resp.GetSpaces() {
		if s.GetDefinition().GetName() == e.GetName() && s.GetDefinition().GetGeneration() == e.GetGeneration() {
			return s.GetObservations(), true
		}
	}
	return 0, m.Header.Get(micro.ErrorCodeHeader) == ""
}

// changeQuota replaces what a request says of a space's quota. What it leaves out stays.
func (g *Gateway) changeQuota(ctx context.Context, e *registry.Entry, req *api.DefineRequest) (*registry.Entry, *wire.Error) {
	for {
		if req.IfRevision != nil && req.GetIfRevision() != e.Revision {
			return nil, wire.Errorf(wire.CodeConflict, "if_revision", "space %q is at revision %d, and the request is about %d; look at it, and decide anew",
				e.GetName(), e.Revision, req.GetIfRevision())
		}
		quota := wire.MergeQuota(e.GetQuota(), req.GetQuota())
		if proto.Equal(quota, e.GetQuota()) {
			return e, nil
		}
		changed, err := g.Registry.Update(ctx, e, func(d *api.SpaceDefinition) { d.Quota = quota })
		if err == nil {
			return changed, nil
		}
		if !errors.Is(err, registry.ErrChanged) {
			return nil, unavailable(err)
		}
		if e, err = g.Registry.Reread(ctx, e.GetName()); err != nil {
			return nil, unavailable(err)
		}
		if !e.Living() {
			return nil, wire.Errorf(wire.CodeConflict, "space", "space %q was dropped at the same moment; look at it, and send the request again", e.GetName())
		}
	}
}
