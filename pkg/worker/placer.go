package worker

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/membership"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// placer has a worker hold the shards that the group places on it. A shard that comes is opened, follows its log, and answers
// once it is fresh; one that goes elsewhere answers until all those do who are to have it.
type placer struct {
	w      *Worker
	group  *membership.Group
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	// What follows is of the goroutine run.
	tasks   sync.WaitGroup
	opened  chan opened
	closed  chan int
	joined  chan joined
	tries   map[int]*try // of shards that are being opened, or cannot be
	closing map[int]bool // shards that are being given up
	joining map[int]*joining
	before  map[int]bool // shards that the process before this one answered for a moment ago
	started time.Time
	alone   bool // nobody else was there at the start
	usurped bool
	swept   time.Time

	mu     sync.Mutex
	behind string // why the worker does not have what it should, empty when it has
}

// try is the opening of a shard.
type try struct {
	running bool
	failed  int
	next    time.Time
}

// joining is a shard that is about to answer.
type joining struct {
	since   time.Time
	reading bool // it applies what the log holds
}

type joined struct {
	shard *shard
	of    *joining
	err   error
}

type opened struct {
	shard int
	err   error
}

const (
	// lookEvery is the time between two looks at what is under way.
	lookEvery = 100 * time.Millisecond
	// settle is how long the first worker waits for others that are started with it, before it takes all shards.
	settle = time.Second
	// maxOpening bounds the shards that are opened at once: each may read all its files.
	maxOpening = 4
	// sweepEvery is the time between two looks for files that nobody needs.
	sweepEvery = time.Minute
)

func newPlacer(w *Worker) *placer {
	p := &placer{
		w: w, group: w.Group, opened: make(chan opened, w.Topology.Shards), closed: make(chan int, w.Topology.Shards),
		tries: map[int]*try{}, closing: map[int]bool{}, joining: map[int]*joining{}, before: map[int]bool{},
		joined: make(chan joined, w.Topology.Shards), started: time.Now(), swept: time.Now(),
		behind: "the shards are being placed",
	}
	for _, shard := range w.Group.Previous().Serving {
		p.before[shard] = true
	}
	view := w.Group.View()
	p.alone = len(view.Living) == 1 && w.Group.Previous().Name == ""
	p.ctx, p.cancel = context.WithCancel(w.ctx)
	return p
}

func (p *placer) start() { p.done.Go(p.run) }

func (p *placer) run() {
	defer p.tasks.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-tick.C:
			if !p.waiting() {
				continue // nothing is to be done before something changes
			}
		case <-p.group.Changed():
		case o := <-p.opened:
			p.finish(o)
		case shard := <-p.closed:
			delete(p.closing, shard)
		case j := <-p.joined:
			p.reached(j)
		}
		now := time.Now()
		p.step(now)
		if now.Sub(p.swept) > sweepEvery {
			p.swept = now
			p.sweep(now)
		}
	}
}

// waiting tells whether something is under way that no change of the group tells of.
func (p *placer) waiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.behind != "" || len(p.tries) > 0 || len(p.joining) > 0
}

// sweep removes the files of shards that others have taken over long ago.
func (p *placer) sweep(now time.Time) {
	for shard := range p.w.Topology.Shards {
		if p.tries[shard] != nil || p.closing[shard] || p.w.holds(shard) != nil {
			continue
		}
		dir := p.w.shardDir(shard)
		left, err := vecstore.LastClosed(dir)
		if err != nil || now.Sub(left) < p.w.Config.Placement.KeepFiles {
			continue // there are none, or they may be of use
		}
		if err := os.RemoveAll(dir); err != nil {
			p.w.Logger.Warn().Err(err).Int("shard", shard).Msg("removing the files of a shard that others have taken over")
			continue
		}
		p.w.Logger.Info().Int("shard", shard).Msg("the files of a shard that others have taken over are removed")
	}
}

// stop has others take the shards, as far as there are others, and ends the placing.
func (p *placer) stop() {
	if p.w.Config.Placement.DrainTimeout > 0 {
		ctx, cancel := context.WithTimeout(p.ctx, p.w.Config.Placement.DrainTimeout)
		p.handOver(ctx)
		cancel()
	}
	p.cancel()
	p.done.Wait()
}

// handOver returns once another worker answers for every shard that this one answers for, when there is nobody who could, or when
// ctx ends.
func (p *placer) handOver(ctx context.Context) {
	p.group.Update(func(m *membership.Member) { m.Stopping = true })
	tick := time.NewTicker(lookEvery / 4)
	defer tick.Stop()
	for {
		view, left := p.group.View(), []int{}
		for _, s := range p.w.held() {
			if s.answers() && !p.elsewhere(view, s.number) {
				left = append(left, s.number)
			}
		}
		if len(left) == 0 || len(takers(view)) == 0 || p.group.Err() != nil || !p.w.Conn.IsConnected() {
			return
		}
		select {
		case <-ctx.Done():
			p.w.Logger.Warn().Ints("shards", left).Msg("no other worker answers for these shards yet, and the time to wait for that is over")
			return
		case <-tick.C:
		}
	}
}

// elsewhere tells whether a worker that stays answers for a shard.
func (p *placer) elsewhere(view membership.View, shard int) bool {
	return slices.ContainsFunc(view.Servers(shard), func(name string) bool {
		return name != p.w.Config.Name && !view.Living[name].Stopping
	})
}

// drain has the worker give up its shards, or take them again.
func (p *placer) drain(cancel bool) {
	p.group.Update(func(m *membership.Member) { m.Draining = !cancel })
}

// ready tells why the worker does not have what it should, nil when it has.
func (p *placer) ready() error {
	if err := p.group.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.behind != "" {
		return fmt.Errorf("worker %s: %s", p.w.Config.Name, p.behind)
	}
	return nil
}

// step does what is to be done now.
func (p *placer) step(now time.Time) {
	view := p.group.View()
	if err := p.group.Err(); err != nil {
		p.yield(err)
		return
	}
	if p.alone && len(view.Living) == 1 && now.Sub(p.started) < settle {
		return
	}
	plan := plan(view, p.w.Topology.Shards, p.w.Config.Placement.Copies)
	var behind []string
	for shard := range plan {
		s := p.w.holds(shard)
		rank := slices.Index(plan[shard], p.w.Config.Name)
		switch {
		case p.closing[shard]:
		case p.opens(shard):
			behind = append(behind, fmt.Sprintf("shard %d is being opened", shard))
		case s == nil && rank >= 0:
			if view.Steady {
				p.begin(shard, now, copyOf(rank, plan[shard]))
			}
			behind = append(behind, fmt.Sprintf("shard %d is not open yet", shard))
		case s == nil:
			p.forget(shard)
		case rank >= 0:
			s.because(copyOf(rank, plan[shard]))
			p.advance(s, view, now)
			if !s.answers() {
				behind = append(behind, fmt.Sprintf("shard %d is catching up", shard))
			}
		case view.Steady && served(view, shard, plan[shard]):
			p.giveUp(s, false)
		default:
			s.because("kept until " + strings.Join(missing(view, shard, plan[shard]), " and ") + " can answer")
			p.advance(s, view, now)
		}
	}
	p.mu.Lock()
	p.behind = strings.Join(behind, ", ")
	p.mu.Unlock()
}

func copyOf(rank int, workers []string) string {
	if len(workers) == 1 {
		return "placed here"
	}
	return fmt.Sprintf("copy %d of %d placed here", rank+1, len(workers))
}

// opens tells whether a shard is being opened.
func (p *placer) opens(shard int) bool { return p.tries[shard] != nil && p.tries[shard].running }

// begin opens a shard, if it is not being opened and its last try was long enough ago.
func (p *placer) begin(shard int, now time.Time, reason string) {
	t := p.tries[shard]
	if t == nil {
		t = &try{}
		p.tries[shard] = t
	}
	running := 0
	for _, other := range p.tries {
		if other.running {
			running++
		}
	}
	if t.running || running >= maxOpening || now.Before(t.next) {
		return
	}
	t.running = true
	if t.failed == 0 {
		p.w.note(shard, reason)
	}
	p.tasks.Go(func() {
		s, err := p.w.open(p.ctx, shard)
		if err == nil {
			s.because(reason)
			s.follows()
		}
		p.opened <- opened{shard, err}
	})
}

func (p *placer) finish(o opened) {
	t := p.tries[o.shard]
	t.running = false
	if o.err == nil {
		delete(p.tries, o.shard)
		p.w.note(o.shard, "")
		return
	}
	if p.ctx.Err() != nil {
		return
	}
	t.failed++
	wait := min(time.Second<<min(t.failed-1, 4), 10*time.Second)
	t.next = time.Now().Add(wait)
	p.w.note(o.shard, "cannot be opened, which is tried again: "+o.err.Error())
	p.w.Logger.Error().Err(o.err).Int("shard", o.shard).Dur("next_try_in", wait).Msg("a shard that is placed here cannot be opened")
}

// forget lets go of tries to open a shard that is not placed here any more.
func (p *placer) forget(shard int) {
	if t := p.tries[shard]; t != nil && !t.running {
		delete(p.tries, shard)
		p.w.note(shard, "")
	}
}

// giveUp gives up a shard in the background.
func (p *placer) giveUp(s *shard, sure bool) {
	p.closing[s.number] = true
	delete(p.joining, s.number)
	delete(p.before, s.number)
	p.tasks.Go(func() {
		defer func() { p.closed <- s.number }()
		if !sure && !p.certain(s) {
			return
		}
		p.w.Logger.Info().Int("shard", s.number).Msg("the shard is given up, which others answer for")
		if err := p.w.release(s); err != nil {
			p.w.Logger.Error().Err(err).Int("shard", s.number).Msg("giving up a shard")
		}
	})
}

// certain tells the others that a shard is given up, while it is still answered for, and looks again when they must have heard it: two
// that each rely on the other would both give it up.
func (p *placer) certain(s *shard) bool {
	s.leaving.Store(true)
	p.w.announce()
	if sleep(p.ctx, p.group.Interval()*3/2) {
		view := p.group.View()
		workers := plan(view, p.w.Topology.Shards, p.w.Config.Placement.Copies)[s.number]
		if view.Steady && !slices.Contains(workers, p.w.Config.Name) && served(view, s.number, workers) {
			return true
		}
	}
	s.leaving.Store(false)
	p.w.announce()
	return false
}

// yield gives up everything to the process that has taken this worker's name, and whose consumers and heartbeats these are now.
func (p *placer) yield(err error) {
	if !p.usurped {
		p.usurped = true
		p.w.Logger.Error().Err(err).Msg("the worker gives up its shards")
	}
	for _, s := range p.w.held() {
		if !p.closing[s.number] {
			p.giveUp(s, true)
		}
	}
}

// advance moves a copy towards answering.
//
// It is to be as fresh as a copy that answers already, and what was forgotten before must not be found in it: a forget that is
// acknowledged as searchable has been applied by all copies that the gateways hear of. So it says first that it is about to answer,
// and the gateways wait for it from then on; what stands in the log when all of them must have heard it, it applies before it answers.
func (p *placer) advance(s *shard, view membership.View, now time.Time) {
	others := slices.DeleteFunc(view.Servers(s.number), func(name string) bool { return name == p.w.Config.Name })
	alone := len(others) == 0
	switch api.CopyState(s.state.Load()) {
	case api.CopyState_COPY_STATE_CATCHING_UP:
		switch {
		case !p.w.Conn.IsConnected():
		case alone && s.own.Load() && p.before[s.number]:
			// The process before this one answered until a moment ago, from these files. They say how stale they are, and there is
			// nothing better.
			p.answer(s, api.CopyState_COPY_STATE_CATCHING_UP)
		case p.w.consumerOf(s.number) == nil:
		case s.staleness(now) <= p.w.Config.Placement.MaxStaleness || alone && s.mark.read().applied >= s.goal.Load():
			s.state.Store(int32(api.CopyState_COPY_STATE_JOINING))
			p.joining[s.number] = &joining{since: now}
			p.w.beatSoon()
		}
	case api.CopyState_COPY_STATE_JOINING:
		j := p.joining[s.number]
		if j == nil || j.reading || now.Sub(j.since) < 2*p.w.Config.Heartbeat+lookEvery {
			return
		}
		j.reading = true
		p.tasks.Go(func() { p.joined <- joined{s, j, s.reachEnd(p.ctx)} })
	}
}

// joinLimit is for how long a copy that was fresh tries to reach the end of the log.
const joinLimit = 5 * time.Second

// reachEnd returns when the copy has applied what the log holds now.
func (s *shard) reachEnd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, joinLimit)
	defer cancel()
	_, last, _, err := bus.StreamIdentity(ctx, s.w.JetStream, s.number)
	if err != nil {
		return err
	}
	return s.mark.await(ctx, last)
}

// reached has a copy answer that is at the end of the log, or catch up again.
func (p *placer) reached(j joined) {
	s := j.shard
	if p.joining[s.number] != j.of {
		return // it was given up, or was suspected and joins anew
	}
	if j.err != nil {
		delete(p.joining, s.number)
		s.suspect()
		return
	}
	p.answer(s, api.CopyState_COPY_STATE_JOINING)
}

func (p *placer) answer(s *shard, from api.CopyState) {
	delete(p.joining, s.number)
	delete(p.before, s.number)
	if err := s.answer(from); err != nil {
		p.w.Logger.Error().Err(err).Int("shard", s.number).Msg("the copy cannot answer, which is tried again")
		return
	}
	if !s.answers() {
		return // it was suspected meanwhile
	}
	m := s.mark.read()
	p.w.Logger.Info().Int("shard", s.number).Uint64("applied", m.applied).Uint64("last", m.last).Str("why", *s.reason.Load()).Msg("the copy answers recalls")
}
