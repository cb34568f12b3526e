package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/node"
	"github.com/engram-memory/engram/pkg/wire"
)

// OverloadConfig is a run of Overload.
type OverloadConfig struct {
	Dim, Spaces, Shards int
	// Calibrate is for how long the sustainable rate is measured, before the overload and after it.
	Calibrate time.Duration
	// Duration is that of the overload, at Factor times the sustainable rate.
	Duration time.Duration
	Factor   float64
	// HighRate is how many observations of high priority are sent a second, beside that.
	HighRate float64
	// Batch is observations a request.
	Batch int
	Data  string
	Seed  uint64
	// Loose are limits for a short run on a busy machine.
	Loose bool
}

// Validate tells what of the configuration cannot be.
func (c *OverloadConfig) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Dim > 0 && c.Dim <= event.MaxDimension, "--dim is %d; it can be 1 to %d", c.Dim, event.MaxDimension)
	check(c.Spaces > 0, "--spaces is %d; it must be above 0", c.Spaces)
	check(c.Shards > 0 && c.Shards <= event.MaxShards, "--shards is %d; it can be 1 to %d", c.Shards, event.MaxShards)
	check(c.Calibrate >= time.Second && c.Duration >= time.Second, "--calibrate is %v and --duration %v; each must be at least 1s", c.Calibrate, c.Duration)
	check(c.Factor > 1, "--factor is %v; it must be above 1", c.Factor)
	check(c.HighRate > 0, "--high-rate is %v; it must be above 0", c.HighRate)
	check(c.Batch > 0 && c.Batch <= event.MaxBatch, "--batch is %d; it can be 1 to %d", c.Batch, event.MaxBatch)
	return errors.Join(errs...)
}

// OverloadReport is what Overload measured.
type OverloadReport struct {
	// SustainableBefore and SustainableAfter are observations a second that became searchable while producers that heed
	// refusals sent all they could; Sustainable is their mean, since the spaces grow meanwhile.
	SustainableBefore float64 `json:"sustainable_before_per_second"`
	SustainableAfter  float64 `json:"sustainable_after_per_second"`
	Sustainable       float64 `json:"sustainable_per_second"`
	Offered           float64 `json:"offered_per_second"`
	Accepted          float64 `json:"accepted_per_second"`
	AcceptedShare     float64 `json:"accepted_share_of_sustainable"`
	Rejected          uint64  `json:"rejected"`
	// Unsent were due and not sent, since too many requests were unanswered.
	Unsent    uint64      `json:"unsent"`
	Failed    uint64      `json:"failed"`
	Staleness Percentiles `json:"staleness_ms"`
	// StalenessBound is capacity times shards in use over the rate at which observations became searchable.
	StalenessBound float64 `json:"staleness_bound_ms"`
	// HighAccepted is from sending to the acknowledgement, HighSearchable from sending to being searchable.
	HighAccepted    Percentiles `json:"high_accepted_ms"`
	HighSearchable  Percentiles `json:"high_searchable_ms"`
	HighSent        int         `json:"high_sent"`
	HighRefused     int         `json:"high_refused"`
	RecoverySeconds float64     `json:"recovery_seconds"`
	Lost            int         `json:"accepted_and_lost"`
	Checked         int         `json:"accepted_and_checked"`
	Held            Held        `json:"held"`
	Dim             int         `json:"dim"`
	Spaces          int         `json:"spaces"`
	Shards          int         `json:"shards_in_use"`
	Seconds         float64     `json:"seconds"`
	Factor          float64     `json:"factor"`
	CPUSeconds      float64     `json:"cpu_seconds"`
	GOMAXPROCS      int         `json:"gomaxprocs"`
}

// Held tells which of the bounds held.
type Held struct {
	Accepted  bool `json:"accepted"`
	Staleness bool `json:"staleness"`
	Recovery  bool `json:"recovery"`
	Lost      bool `json:"nothing_lost"`
	High      bool `json:"high_priority"`
}

// All tells whether all of them did.
func (h Held) All() bool { return h.Accepted && h.Staleness && h.Recovery && h.Lost && h.High }

// overload is one run.
type overload struct {
	cfg      *OverloadConfig
	node     *node.Node
	rep      *OverloadReport
	progress func(string)
	vectors  []*api.Embedding
	next     atomic.Uint64
	stale    *staleness

	mu       sync.Mutex
	accepted []map[uint64]struct{} // by space
	shards   map[int]uint64        // last sequence
}

// Overload finds the rate that a node sustains, offers it several times as much, without heeding refusals, and measures what
// becomes of that, and of a little of high priority beside it.
func Overload(ctx context.Context, cfg OverloadConfig, log zerolog.Logger, progress func(string)) (rep OverloadReport, err error) {
	if err := cfg.Validate(); err != nil {
		return rep, err
	}
	rep = OverloadReport{Dim: cfg.Dim, Spaces: cfg.Spaces, Factor: cfg.Factor, GOMAXPROCS: runtime.GOMAXPROCS(0)}
	dir, remove, err := daemon.TempDir(ctx, cfg.Data, "engram-bench-")
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	nc := node.DefaultConfig(dir)
	nc.NATS, nc.HTTP, nc.Metrics = "", "", ""
	nc.Topology.Shards = cfg.Shards
	n, err := node.Start(ctx, nc, log)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	o := &overload{
		cfg: &cfg, node: n, rep: &rep, progress: progress, shards: map[int]uint64{}, stale: newStaleness(n),
		vectors: randomEmbeddings(rand.New(rand.NewPCG(cfg.Seed, 11)), cfg.Dim),
	}
	for range cfg.Spaces {
		o.accepted = append(o.accepted, map[uint64]struct{}{})
	}
	return rep, o.run(ctx)
}

func (o *overload) run(ctx context.Context) (err error) {
	conn, err := o.node.Connect("bench")
	if err != nil {
		return err
	}
	defer conn.Close()
	c := client.New(conn.NC)
	o.progress("measuring the sustainable rate")
	if o.rep.SustainableBefore, err = o.sustainable(ctx, c); err != nil {
		return err
	}
	if err := o.node.Await(ctx, o.last()); err != nil {
		return err
	}
	o.progress("overload")
	if err := o.flood(ctx, c); err != nil {
		return err
	}
	o.progress("measuring the sustainable rate again")
	if o.rep.SustainableAfter, err = o.sustainable(ctx, c); err != nil {
		return err
	}
	if err := o.node.Await(ctx, o.last()); err != nil {
		return err
	}
	o.progress("asking the index for everything that was accepted")
	if err := o.verify(ctx, c); err != nil {
		return err
	}
	o.judge()
	return nil
}

func (o *overload) judge() {
	r := o.rep
	r.Sustainable = (r.SustainableBefore + r.SustainableAfter) / 2
	r.AcceptedShare = r.Accepted / r.Sustainable
	share, recovery, high := .9, 5.0, 100.0
	if o.cfg.Loose {
		share, recovery, high = .5, 30, 2000
	}
	r.Held = Held{
		Accepted: r.AcceptedShare >= share, Staleness: r.Staleness.P99 <= r.StalenessBound, Recovery: r.RecoverySeconds <= recovery,
		Lost: r.Lost == 0, High: r.HighSearchable.P99 < high && r.HighRefused == 0,
	}
}

// observation makes the next one. Its id says which one it is.
func (o *overload) observation(high bool) (*api.Observation, uint64) {
	i := o.next.Add(1)
	ob := &api.Observation{Id: fmt.Sprint(i), Embedding: o.vectors[i%uint64(len(o.vectors))]}
	if high {
		ob.Priority = api.Priority_PRIORITY_HIGH
	}
	return ob, i
}

// took notes what was accepted.
func (o *overload) took(space int, ids []uint64, position string) error {
	p, err := event.ParsePosition(position)
	if err != nil {
		return err
	}
	o.mu.Lock()
	for _, id := range ids {
		o.accepted[space][id] = struct{}{}
	}
	o.shards[p.Shard] = max(o.shards[p.Shard], p.Sequence)
	o.mu.Unlock()
	o.stale.acked(p.Shard, p.Sequence)
	return nil
}

func (o *overload) last() map[int]uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.shards)
}

// applied is how far all shards are together.
func (o *overload) applied() (n uint64) {
	for shard := range o.last() {
		n += o.node.Applied(shard)
	}
	return n
}

// sustainable has producers that heed refusals send what is taken, and returns the rate at which that becomes searchable once
// the shards have a backlog.
func (o *overload) sustainable(ctx context.Context, c *client.Client) (rate float64, err error) {
	p, err := c.Producer(client.ProducerConfig{Window: 8192, WindowBytes: 256 << 20})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.Close(ctx)) }()
	sending, stop := context.WithCancel(ctx)
	defer stop()
	type handed struct {
		space int
		id    uint64
		pend  *client.Pending
	}
	results := make(chan handed, 16384)
	var all sync.WaitGroup
	var failed error
	all.Go(func() {
		for h := range results {
			r, err := h.pend.Wait(ctx)
			if err == nil {
				err = o.took(h.space, []uint64{h.id}, r.GetPosition())
			}
			if err != nil {
				failed = err
			}
		}
	})
	all.Go(func() {
		defer close(results)
		for n := 0; ; n++ {
			space := n % o.cfg.Spaces
			ob, id := o.observation(false)
			pend, err := p.Observe(sending, spaceName(space), ob)
			if err != nil {
				return
			}
			results <- handed{space, id, pend}
		}
	})
	pause := func(d time.Duration) { // of the load, not for anything to happen
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	pause(o.cfg.Calibrate / 3)
	start, before := time.Now(), o.applied()
	pause(o.cfg.Calibrate)
	rate = float64(o.applied()-before) / time.Since(start).Seconds()
	stop()
	all.Wait()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return rate, failed
}

// maxUnanswered bounds the requests of the overload that are under way.
const maxUnanswered = 1024

// flood offers more than is taken, and something of high priority.
func (o *overload) flood(ctx context.Context, c *client.Client) error {
	rate := o.rep.SustainableBefore * o.cfg.Factor
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var beside sync.WaitGroup
	o.stale.ms = nil
	beside.Go(func() { o.stale.run(loading) })
	var acceptedHigh, searchableHigh []float64
	// They come from somebody else than the flood.
	own, err := o.node.Connect("high")
	if err != nil {
		return err
	}
	defer own.Close()
	beside.Go(func() { acceptedHigh, searchableHigh = o.high(loading, client.New(own.NC)) })

	var accepted, rejected, failed, unsent atomic.Uint64
	slots := make(chan struct{}, maxUnanswered)
	var inFlight sync.WaitGroup
	cpu, start, before := cpuSeconds(), time.Now(), o.applied()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	offered := uint64(0)
	for space := 0; time.Since(start) < o.cfg.Duration && ctx.Err() == nil; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			continue
		}
		for due := uint64(time.Since(start).Seconds() * rate); offered+uint64(o.cfg.Batch) <= due; {
			offered += uint64(o.cfg.Batch)
			select {
			case slots <- struct{}{}:
			default:
				unsent.Add(uint64(o.cfg.Batch))
				continue
			}
			space = (space + 1) % o.cfg.Spaces
			req, ids := new(api.ObserveRequest), make([]uint64, o.cfg.Batch)
			for i := range ids {
				ob, id := o.observation(false)
				req.Observations, ids[i] = append(req.Observations, ob), id
			}
			to := space
			inFlight.Go(func() {
				defer func() { <-slots }()
				resp, err := c.Observe(ctx, spaceName(to), req)
				switch {
				case err == nil:
					accepted.Add(uint64(len(ids)))
					if o.took(to, ids, resp.GetResults()[len(ids)-1].GetPosition()) != nil {
						failed.Add(uint64(len(ids)))
					}
				case wire.AsError(err).Code == wire.CodeBackpressure:
					rejected.Add(uint64(len(ids)))
				default:
					failed.Add(uint64(len(ids)))
				}
			})
		}
	}
	took := time.Since(start).Seconds()
	searchable := float64(o.applied()-before) / took
	o.rep.CPUSeconds = cpuSeconds() - cpu
	stop()
	beside.Wait()
	o.rep.Accepted, o.rep.Offered, o.rep.Seconds = float64(accepted.Load())/took, float64(offered)/took, took
	if err := o.recovery(ctx, c); err != nil {
		return err
	}
	inFlight.Wait()
	o.rep.Rejected, o.rep.Unsent, o.rep.Failed = rejected.Load(), unsent.Load(), failed.Load()
	o.rep.Staleness = percentilesOf(o.stale.ms)
	o.rep.Shards = len(o.last())
	o.rep.StalenessBound = float64(o.node.Capacity()*o.rep.Shards) / searchable * 1000
	o.rep.HighAccepted, o.rep.HighSearchable = percentilesOf(acceptedHigh), percentilesOf(searchableHigh)
	return ctx.Err()
}

// high sends observations of high priority at their rate, one by one.
func (o *overload) high(ctx context.Context, c *client.Client) (accepted, searchable []float64) {
	var mu sync.Mutex
	var all sync.WaitGroup
	tick := time.NewTicker(time.Duration(float64(time.Second) / o.cfg.HighRate))
	defer tick.Stop()
	ask := func(space int, ack api.Acknowledgement) (took float64, refused bool) {
		ob, id := o.observation(true)
		start := time.Now()
		resp, err := c.Observe(context.WithoutCancel(ctx), spaceName(space), &api.ObserveRequest{Observations: []*api.Observation{ob}, Acknowledgement: ack})
		took = float64(time.Since(start)) / 1e6
		if err != nil || resp.GetResults()[0].GetError() != nil {
			return took, true
		}
		return took, o.took(space, []uint64{id}, resp.GetResults()[0].GetPosition()) != nil
	}
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			all.Wait()
			return accepted, searchable
		}
		o.rep.HighSent++
		all.Go(func() {
			ack := api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE
			if n%2 == 0 {
				ack = api.Acknowledgement_ACKNOWLEDGEMENT_ACCEPTED
			}
			took, refused := ask(n/2%o.cfg.Spaces, ack)
			mu.Lock()
			defer mu.Unlock()
			if refused {
				o.rep.HighRefused++
			}
			if n%2 == 0 {
				accepted = append(accepted, took)
			} else {
				searchable = append(searchable, took)
			}
		})
	}
}

// recovery waits until normal observations of all spaces are taken again.
func (o *overload) recovery(ctx context.Context, c *client.Client) error {
	start := time.Now()
	for space := range o.cfg.Spaces {
		ob, id := o.observation(false)
		// Waits as the refusals say.
		resp, err := c.ObserveRetrying(ctx, spaceName(space), &api.ObserveRequest{Observations: []*api.Observation{ob}}, nil)
		if err != nil {
			return err
		}
		if err := o.took(space, []uint64{id}, resp.GetResults()[0].GetPosition()); err != nil {
			return err
		}
	}
	o.rep.RecoverySeconds = time.Since(start).Seconds()
	return nil
}

// verify asks for everything that was accepted.
func (o *overload) verify(ctx context.Context, c *client.Client) error {
	for space, ids := range o.accepted {
		var ask []string
		flush := func() error {
			if len(ask) == 0 {
				return nil
			}
			resp, err := c.Get(ctx, spaceName(space), &api.GetRequest{Ids: ask, Include: []string{"none"}})
			if err != nil {
				return err
			}
			o.rep.Checked += len(ask)
			o.rep.Lost += len(ask) - len(resp.GetObservations())
			ask = ask[:0]
			return nil
		}
		for id := range ids {
			if ask = append(ask, fmt.Sprint(id)); len(ask) == event.MaxList {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if err := flush(); err != nil {
			return err
		}
	}
	return nil
}
