package load

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/test/chaos/history"
)

const (
	// probeEvery is how often each shard is probed.
	probeEvery = 250 * time.Millisecond
	// probeGood is how long a good probe takes at most.
	probeGood = time.Second
)

// Probe is one write to a shard that was then read back at its position, each tried once.
type Probe struct {
	Shard int
	// Begin is when it began, and Took how long until it was found, or failed.
	Begin time.Time
	Took  time.Duration
	Err   error
}

func (p Probe) good() bool { return p.Err == nil && p.Took <= probeGood }

// probing probes a shard until ctx ends.
func (l *Load) probing(ctx context.Context, shard int) {
	random := l.random(2000, shard)
	for {
		p := l.probe(context.Background(), shard, random, probeGood)
		l.mu.Lock()
		l.probes = append(l.probes, p)
		l.mu.Unlock()
		if Pause(ctx, max(probeEvery-p.Took, 20*time.Millisecond)) != nil {
			return
		}
	}
}

// probeIDs is how many ids a probed space has.
const probeIDs = 10

// probe writes one of the ids, and reads it back.
func (l *Load) probe(ctx context.Context, shard int, random *rand.Rand, within time.Duration) Probe {
	s := &space{name: l.shards[shard].probed, shard: shard}
	w := &writer{l: l, client: 2000 + shard, random: random}
	b := history.Write{
		Number: l.number.Add(1), Client: w.client, Space: s.name, Shard: shard, ID: strconv.Itoa(random.IntN(probeIDs)), Call: l.now(),
	}
	begin := time.Now()
	l.ledger.Write(b)
	callers, over := l.ways.transport(random.IntN(2) == 0)
	var resp *api.ObserveResponse
	wrote, err := attempt(ctx, callers, random.IntN(len(callers)), within, within, func(ctx context.Context, c caller) (err error) {
		resp, err = c.Observe(ctx, s.name, &api.ObserveRequest{
			Observations: []*api.Observation{l.observation(&b, random)}, IdempotencyKey: "probe-" + strconv.FormatUint(b.Number, 10),
			DeadlineMs: uint32(within.Milliseconds()),
		})
		if err != nil {
			return err
		}
		return unwritten(resp, 1)
	})
	w.settle(&b, "probe over "+over, resp.GetResults(), 0, wrote, err)
	l.ledger.Write(b)
	if err == nil {
		r := &reader{l: l, client: w.client, random: random, seen: map[int]uint64{}, impatient: true}
		err = r.recall(s, history.Hit{ID: b.ID, Version: b.Number, Position: b.Position}, since{sequence: b.Position}, within)
	}
	return Probe{Shard: shard, Begin: begin, Took: time.Since(begin), Err: err}
}

// Recovered is how long after a moment every shard was well again for good: until the end of the first of its good probes that
// no bad one follows; 0 where none was bad. ok is false where a shard's last probe is bad, or none ended after the moment.
func (l *Load) Recovered(from time.Time) (took time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.shards {
		var since time.Duration
		bad, any := false, false
		for _, p := range l.probes {
			end := p.Begin.Add(p.Took)
			if p.Shard != n || end.Before(from) {
				continue
			}
			if any = true; !p.good() {
				bad = true
			} else if bad {
				bad, since = false, end.Sub(from)
			}
		}
		if bad || !any {
			return 0, false
		}
		took = max(took, since)
	}
	return took, true
}
