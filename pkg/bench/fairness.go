package bench

import (
	"context"
	"errors"
	"fmt"
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

// FairnessConfig is a run of Fairness.
type FairnessConfig struct {
	Dim int
	// Duration is that of each part.
	Duration time.Duration
	// Rate is observations a second of the quiet space, each a request.
	Rate float64
	// Batch is observations a request of the flood, Window its requests under way.
	Batch, Window int
	Data          string
	Seed          uint64
}

// Validate tells what of the configuration cannot be.
func (c *FairnessConfig) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Dim > 0 && c.Dim <= event.MaxDimension, "--dim is %d; it can be 1 to %d", c.Dim, event.MaxDimension)
	check(c.Duration >= time.Second, "--duration is %v; it must be at least 1s", c.Duration)
	check(c.Rate > 0, "--rate is %v; it must be above 0", c.Rate)
	check(c.Batch > 0 && c.Batch <= event.MaxBatch && c.Window > 0, "--batch is %d and --window %d; they must be above 0, and a batch has up to %d", c.Batch, c.Window, event.MaxBatch)
	return errors.Join(errs...)
}

// FairnessReport is what Fairness measured. Alone the quiet space has a shard for itself; then another space floods it with
// normal observations, and then with high ones.
type FairnessReport struct {
	Alone     QuietReport `json:"alone"`
	Flooded   QuietReport `json:"beside_a_flood"`
	HighFlood QuietReport `json:"beside_a_high_flood"`
	// Ratio is the p99 of the quiet space's staleness beside a flood over that alone, HighRatio the same beside a flood of high
	// priority, and LatencyRatio that of being searchable, from sending, beside the former.
	Ratio        float64 `json:"staleness_p99_ratio"`
	HighRatio    float64 `json:"staleness_p99_ratio_high"`
	LatencyRatio float64 `json:"searchable_p99_ratio"`
	Rate         float64 `json:"rate"`
	Dim          int     `json:"dim"`
	GOMAXPROCS   int     `json:"gomaxprocs"`
}

// QuietReport is what became of the quiet space's observations, and of the flood's.
type QuietReport struct {
	Sent    int `json:"sent"`
	Refused int `json:"refused"`
	Failed  int `json:"failed"`
	// Accepted and Searchable are from sending to the acknowledgement of each, as the producer sees it; Staleness is between the
	// two, as the gateway says.
	Accepted      Percentiles `json:"accepted_ms"`
	Searchable    Percentiles `json:"searchable_ms"`
	Staleness     Percentiles `json:"staleness_ms"`
	FloodAccepted float64     `json:"flood_accepted_per_second"`
	FloodRefused  uint64      `json:"flood_refused"`
}

// Fairness measures what one space that floods its shard does to a quiet one beside it.
func Fairness(ctx context.Context, cfg FairnessConfig, log zerolog.Logger, progress func(string)) (rep FairnessReport, err error) {
	if err := cfg.Validate(); err != nil {
		return rep, err
	}
	rep = FairnessReport{Rate: cfg.Rate, Dim: cfg.Dim, GOMAXPROCS: runtime.GOMAXPROCS(0)}
	dir, remove, err := daemon.TempDir(ctx, cfg.Data, "engram-bench-")
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	nc := node.DefaultConfig(dir)
	nc.NATS, nc.HTTP, nc.Metrics = "", "127.0.0.1:0", ""
	nc.Topology.Shards = 1
	n, err := node.Start(ctx, nc, log)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	f := &fairness{cfg: &cfg, node: n, vectors: randomEmbeddings(rand.New(rand.NewPCG(cfg.Seed, 13)), cfg.Dim)}
	for _, part := range []struct {
		name     string
		priority api.Priority
		rep      *QuietReport
	}{
		{"the quiet space alone", api.Priority_PRIORITY_UNSPECIFIED, &rep.Alone},
		{"beside a flood", api.Priority_PRIORITY_NORMAL, &rep.Flooded},
		{"beside a flood of high priority", api.Priority_PRIORITY_HIGH, &rep.HighFlood},
	} {
		progress(part.name)
		if err := f.part(ctx, part.priority, part.rep); err != nil {
			return rep, err
		}
	}
	if alone := rep.Alone.Staleness.P99; alone > 0 {
		rep.Ratio, rep.HighRatio = rep.Flooded.Staleness.P99/alone, rep.HighFlood.Staleness.P99/alone
		rep.LatencyRatio = rep.Flooded.Searchable.P99 / rep.Alone.Searchable.P99
	}
	return rep, nil
}

type fairness struct {
	cfg     *FairnessConfig
	node    *node.Node
	vectors []*api.Embedding
	next    atomic.Uint64
}

func (f *fairness) observation(p api.Priority) *api.Observation {
	i := f.next.Add(1)
	return &api.Observation{Id: fmt.Sprint(i), Embedding: f.vectors[i%uint64(len(f.vectors))], Priority: p}
}

// part floods with a priority, or not at all, and sends the quiet space's observations once the flood is refused.
func (f *fairness) part(ctx context.Context, flood api.Priority, rep *QuietReport) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	if flood != api.Priority_PRIORITY_UNSPECIFIED {
		own, err := f.node.Connect("flood")
		if err != nil {
			return err
		}
		defer own.Close()
		full := make(chan struct{})
		var once sync.Once
		var accepted, refused atomic.Uint64
		for range f.cfg.Window {
			all.Go(func() {
				f.flood(ctx, client.New(own.NC), flood, &accepted, &refused, func() { once.Do(func() { close(full) }) })
			})
		}
		defer all.Wait()
		defer stop()
		select {
		case <-full:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(f.cfg.Duration + 30*time.Second):
			return errors.New("the flood was never refused; give it a larger --window or --batch")
		}
		start, before, ignored := time.Now(), accepted.Load(), refused.Load()
		defer func() {
			rep.FloodAccepted = float64(accepted.Load()-before) / time.Since(start).Seconds()
			rep.FloodRefused = refused.Load() - ignored
		}()
	}
	return f.quiet(ctx, rep)
}

// floodPause is after how long the flood tries again. With what it offers then, about as much is refused as a shard sustains
// several times; more would show how many bytes a processor can move.
const floodPause = 250 * time.Millisecond

// flood sends requests one after the other, whatever becomes of them. A refusal is followed by a short pause, not by the one
// that it asks for.
func (f *fairness) flood(ctx context.Context, c *client.Client, p api.Priority, accepted, refused *atomic.Uint64, full func()) {
	for ctx.Err() == nil {
		req := new(api.ObserveRequest)
		for range f.cfg.Batch {
			req.Observations = append(req.Observations, f.observation(p))
		}
		_, err := c.Observe(ctx, "flood", req)
		switch {
		case err == nil:
			accepted.Add(uint64(f.cfg.Batch))
		case wire.AsError(err).Code == wire.CodeBackpressure:
			refused.Add(uint64(f.cfg.Batch))
			full()
			select {
			case <-ctx.Done():
			case <-time.After(floodPause):
			}
		}
	}
}

// quiet sends the quiet space's observations at their rate, each in a frame of its own, over a stream whose acknowledgements
// say when each was accepted and when it became searchable.
func (f *fairness) quiet(ctx context.Context, rep *QuietReport) (err error) {
	tr := unencrypted()
	s := grpcStream(ctx, tr, f.node.HTTPAddr(), tr.CloseIdleConnections)
	defer s.close()
	init := &api.StreamInit{Space: "quiet", Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE}
	opened, err := openSession(s, init)
	if err != nil {
		return err
	}
	q := &quietStream{rep: rep, next: opened.GetNext(), waiting: map[uint64]*quietTimes{}, ended: make(chan struct{})}
	var receiver sync.WaitGroup
	receiver.Go(func() { q.receive(s) })
	tick := time.NewTicker(time.Duration(float64(time.Second) / f.cfg.Rate))
	defer tick.Stop()
	for start := time.Now(); time.Since(start) < f.cfg.Duration && err == nil; {
		select {
		case <-tick.C:
			err = s.send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Observe{Observe: &api.StreamObserve{
				Sequence: q.send(), Observations: []*api.Observation{f.observation(api.Priority_PRIORITY_NORMAL)},
			}}})
		case <-q.ended:
			err = errors.New("the stream of the quiet space ended")
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err == nil {
		// What is under way is acknowledged before the last frame.
		err = s.send(&api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Close{Close: &api.StreamClose{}}})
	}
	if err != nil {
		s.close()
	}
	receiver.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx) // and not what became of the stream by it
	}
	if err = errors.Join(err, q.failed); err != nil {
		return err
	}
	rep.Failed += len(q.waiting)
	rep.Accepted, rep.Searchable, rep.Staleness = percentilesOf(q.accepted), percentilesOf(q.searchable), percentilesOf(q.stale)
	return nil
}

// quietStream is the quiet space's stream.
type quietStream struct {
	rep   *QuietReport
	ended chan struct{}
	// failed is why the stream ended, if the client did not end it.
	failed error

	mu                          sync.Mutex
	next                        uint64 // sequence
	waiting                     map[uint64]*quietTimes
	accepted, searchable, stale []float64 // milliseconds
}

// quietTimes are when an observation was sent, by the producer, and accepted, by the gateway.
type quietTimes struct {
	sent     time.Time
	accepted int64
}

// send notes that the next observation is sent, and returns its sequence.
func (q *quietStream) send() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rep.Sent++
	q.waiting[q.next] = &quietTimes{sent: time.Now()}
	q.next++
	return q.next - 1
}

func (q *quietStream) receive(s frames) {
	defer close(q.ended)
	for {
		out, err := s.recv()
		if err != nil {
			q.failed = err
			return
		}
		if closed := out.GetClosed(); closed != nil {
			if e := closed.GetError(); e != nil {
				q.failed = wire.FromProto(e)
			}
			return
		}
		q.settle(out, time.Now())
	}
}

func (q *quietStream) settle(out *api.ObserveStreamResponse, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if refused := out.GetRefused(); refused != nil {
		q.rep.Refused++
		delete(q.waiting, refused.GetSequence())
		if refused.GetSequence() == refused.GetExpected() { // the others are those behind it, which were under way
			q.next = refused.GetExpected()
		}
		return
	}
	ack := out.GetAck()
	for i := range ack.GetResults() {
		sequence := ack.GetSequence() + uint64(i)
		t := q.waiting[sequence]
		if t == nil {
			continue
		}
		if ack.GetResults()[i].GetError() != nil {
			q.rep.Failed++
			delete(q.waiting, sequence)
			continue
		}
		took := float64(now.Sub(t.sent)) / 1e6
		if ack.GetLevel() == api.Acknowledgement_ACKNOWLEDGEMENT_ACCEPTED {
			t.accepted = ack.GetAt()
			q.accepted = append(q.accepted, took)
			continue
		}
		q.searchable = append(q.searchable, took)
		q.stale = append(q.stale, float64(max(ack.GetAt()-t.accepted, 0))/1e6)
		delete(q.waiting, sequence)
	}
}
