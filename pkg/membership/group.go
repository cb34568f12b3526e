// Package membership tells the workers of a set of logs of each other. Each writes what it does under its name in a bucket, every
// second; who has not done so for some seconds is gone.
package membership

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/bus"
)

// Options are what a Group works with.
type Options struct {
	JetStream jetstream.JetStream
	// Self is this member; its Instance and Started are set.
	Self Member
	// Interval is between two words of a member. Default: a second.
	Interval time.Duration
	// Silence is after how long without a word a member is gone. Default: six intervals.
	Silence time.Duration
	// Grace is for how long a member that is gone is in View.Gone.
	Grace  time.Duration
	Logger zerolog.Logger
}

// ErrUsurped is wrapped by Err when another process has taken this member's name.
var ErrUsurped = errors.New("another worker has taken the name")

// Group is who is known. Its methods may be called concurrently.
type Group struct {
	opt      Options
	follower *bus.Follower
	changed  chan struct{} // one token
	soon     chan struct{} // one token: self is to be written

	mu       sync.Mutex
	self     Member
	others   map[string]*other
	previous Member    // what an earlier process of this name had said last
	wrote    uint64    // revision of what this member has last seen of its own
	echo     time.Time // when that was
	steady   time.Time // since when there has been no pause in it
	asked    time.Time // when the bucket was last read anew for want of it
	usurper  Member
	refused  error // of the last write

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// other is another member.
type other struct {
	Member
	revision uint64 // of its last word: an older one is given again where the bucket is read anew
	heard    time.Time
	gone     time.Time // zero while it lives
}

// Join reads who is there and makes this worker a member until Leave. ctx bounds the start alone.
func Join(ctx context.Context, opt Options) (*Group, error) {
	if opt.Interval == 0 {
		opt.Interval = time.Second
	}
	if opt.Silence == 0 {
		opt.Silence = 6 * opt.Interval
	}
	opt.Self.Instance, opt.Self.Started = rand.Text(), time.Now().UTC()
	g := &Group{opt: opt, self: opt.Self, others: map[string]*other{}, changed: make(chan struct{}, 1), soon: make(chan struct{}, 1)}
	var err error
	if g.follower, err = bus.FollowBucket(ctx, opt.JetStream, bus.MembersBucket, g.apply); err != nil {
		return nil, err
	}
	if err := g.announce(ctx); err != nil {
		g.follower.Close()
		return nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	g.cancel = cancel
	g.done.Go(func() { g.run(running) })
	return g, nil
}

// Previous returns what an earlier process of this name has said a short time ago; the zero Member where there was none.
func (g *Group) Previous() Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.previous
}

// Self returns what this member says of itself.
func (g *Group) Self() Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.self
}

// Changed gets a token when a View may have become another one.
func (g *Group) Changed() <-chan struct{} { return g.changed }

// Update changes what this member says, and says it at once.
func (g *Group) Update(change func(*Member)) {
	g.mu.Lock()
	before := g.self
	change(&g.self)
	same := g.self.equal(before)
	g.mu.Unlock()
	if !same {
		token(g.soon)
		token(g.changed)
	}
}

// Err tells why this member cannot go on as one, nil when it can.
func (g *Group) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.usurper.Name != "" {
		return fmt.Errorf("%w %q: a process that was started at %s uses it, too; give each worker a name of its own, and start this one again",
			ErrUsurped, g.self.Name, g.usurper.Started.Format(time.RFC3339))
	}
	return nil
}

// View returns who is known now.
func (g *Group) View() View {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	v := View{Living: map[string]Member{g.self.Name: g.self}, Gone: map[string]Member{}, Steady: now.Sub(g.echo) < g.opt.Silence/2}
	for name, o := range g.others {
		// Silence counts only while others could have been heard.
		if v.Steady && o.gone.IsZero() && now.Sub(later(o.heard, g.steady)) > g.opt.Silence {
			o.gone = now
			g.opt.Logger.Warn().Str("member", name).Time("heard", o.heard).Msg("a worker has fallen silent")
		}
		switch {
		case o.gone.IsZero():
			v.Living[name] = o.Member
		case now.Sub(o.gone) < g.opt.Grace:
			v.Gone[name] = o.Member
		case now.Sub(o.gone) > forgetAfter:
			delete(g.others, name)
		}
	}
	return v
}

// forgetAfter is longer than the bucket keeps the word of a member that is gone.
const forgetAfter = time.Minute

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// apply takes over an entry of the bucket.
func (g *Group) apply(e jetstream.KeyValueEntry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer token(g.changed)
	now := time.Now()
	known := g.others[e.Key()]
	if known != nil && e.Revision() <= known.revision {
		return
	}
	if e.Operation() != jetstream.KeyValuePut {
		if known != nil {
			known.revision = e.Revision()
			if known.gone.IsZero() {
				known.gone = now
			}
		}
		return
	}
	var m Member
	if json.Unmarshal(e.Value(), &m) != nil || m.Name != e.Key() || m.Epoch != g.self.Epoch {
		return // of another version, or a set of logs that is no more
	}
	if m.First == 0 {
		m.First = e.Revision()
	}
	switch {
	case m.Name != g.self.Name:
		g.others[m.Name] = &other{Member: m, revision: e.Revision(), heard: now}
	case m.Instance == g.self.Instance:
		g.echoed(e.Revision(), now)
	case g.self.First == 0:
		g.previous = m
	case m.First > g.self.First:
		g.usurper = m
	}
}

// echoed notes that this member's own word was seen; mu is held.
func (g *Group) echoed(revision uint64, now time.Time) {
	if revision < g.wrote {
		// The bucket is another one, and begins to count anew.
		for _, o := range g.others {
			o.revision = 0
		}
	}
	if now.Sub(g.echo) > g.opt.Silence/2 {
		g.steady = now
	}
	g.wrote, g.echo = revision, now
}

// run writes this member's word every interval, and earlier when it has changed.
func (g *Group) run(ctx context.Context) {
	tick := time.NewTicker(g.opt.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			token(g.changed) // silence is a change, too
			g.listen(time.Now())
		case <-g.soon:
		}
		if g.Err() != nil {
			continue // the name is another one's
		}
		try, cancel := context.WithTimeout(ctx, g.opt.Silence/2)
		err := g.announce(try)
		cancel()
		g.note(ctx, err)
	}
}

// listen reads the bucket anew where this member's own word has not been seen for a while: the server that watched the bucket for it
// may be gone, which the library finds out late.
func (g *Group) listen(now time.Time) {
	g.mu.Lock()
	deaf := now.Sub(later(g.echo, g.asked)) > g.opt.Silence/3
	if deaf {
		g.asked = now
	}
	g.mu.Unlock()
	if deaf {
		g.follower.Again()
	}
}

// note says so when nothing can be written, and when it can again.
func (g *Group) note(ctx context.Context, err error) {
	g.mu.Lock()
	before := g.refused
	g.refused = err
	g.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err != nil && before == nil:
		g.opt.Logger.Warn().Err(err).Msg("other workers cannot be told that this one lives; it goes on with its shards")
	case err == nil && before != nil:
		g.opt.Logger.Info().Msg("other workers are told again that this one lives")
	}
}

func (g *Group) announce(ctx context.Context) error {
	g.mu.Lock()
	b, err := json.Marshal(g.self)
	name := g.self.Name
	g.mu.Unlock()
	if err != nil {
		return fmt.Errorf("encoding what worker %q says of itself: %w", name, err)
	}
	revision, err := g.follower.KV().Put(ctx, name, b)
	if err != nil {
		return fmt.Errorf("writing what worker %q says of itself to the bucket %s: %w", name, bus.MembersBucket, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.self.First == 0 {
		g.self.First = revision
	}
	return nil
}

// Interval is the time between two words of a member.
func (g *Group) Interval() time.Duration { return g.opt.Interval }

// Leave says that this member is gone, and ends. ctx bounds the saying; others find out by its silence otherwise.
func (g *Group) Leave(ctx context.Context) error {
	g.cancel()
	g.done.Wait()
	defer g.follower.Close()
	if g.Err() != nil {
		return nil
	}
	if err := g.follower.KV().Delete(ctx, g.self.Name); err != nil {
		return fmt.Errorf("saying in the bucket %s that worker %q is gone: %w", bus.MembersBucket, g.self.Name, err)
	}
	return nil
}

func token(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
