package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/wire"
)

// Core is what sessions hand observations to: a gateway.
type Core interface {
	// ObserveInOrder takes the observations of one request to the log of their space, those of one caller in the order of
	// the calls. dropped is asked when they would be sent. done is called once, on any goroutine.
	ObserveInOrder(ctx context.Context, space string, req *api.ObserveRequest, dropped func() bool, done func(*api.ObserveResponse, *wire.Error))
	// AwaitSearchable returns once recall finds what a shard has up to a sequence, with the reasons of those from first on
	// that cannot be found.
	AwaitSearchable(shard int, first, last uint64, deadlineMS uint32) (map[uint64]*api.Error, *wire.Error)
}

// Options are what a Manager works with. All are required but Bodies, Recall, Allow, Principal and Now.
type Options struct {
	Config Config
	Core   Core
	Store  Store
	// Gateway names this gateway in the states of its sessions.
	Gateway string
	// KnownFor is for how long after its first try the log knows a write id again.
	KnownFor time.Duration
	Metrics  *metrics.Sessions
	Logger   zerolog.Logger
	// Bodies is the memory that streams share with requests. Without it they are bounded by their windows alone.
	Bodies Memory
	// Recall answers the recalls of streams; without it they are refused. The space is empty where the request names several.
	Recall func(ctx context.Context, space string, req *api.RecallRequest) (*api.RecallResponse, *wire.Error)
	// Allow tells why who asks may not observe in a space, or may not do so now, nil where they may. Without it all may.
	Allow func(ctx context.Context, spaces ...string) *wire.Error
	// Principal tells who opens a stream, from its context. Without it all are nobody in particular.
	Principal func(ctx context.Context) Principal
	// Now is the clock by which sessions are idle, their principals expire and their states are old. Default: time.Now.
	Now func() time.Time
}

// Principal is who opens a stream.
type Principal struct {
	// Name is empty for nobody in particular.
	Name string
	// Shared tells that it is one of several, who have each a share of the streams.
	Shared bool
	// Expires is when what it was authenticated by ceases to hold, and with it the stream; zero for never.
	Expires time.Time
}

// Manager has the sessions of one gateway. Its methods may be called concurrently.
type Manager struct {
	Options

	mu       sync.Mutex
	streams  map[*stream]struct{}
	sessions map[string]*stream
	shares   map[string]int // streams of each principal that was authenticated
	closing  bool

	running sync.WaitGroup // streams
	loop    sync.WaitGroup
	cancel  context.CancelFunc
	memory  atomic.Int64  // bytes that streams hold
	saves   chan struct{} // a place for each write to the bucket
	opening time.Duration // until the init of a stream

	storable context.Context // until the bucket is not waited for any more
	giveUp   context.CancelFunc
}

// New returns a manager whose sweeps run until Close.
func New(opt Options) *Manager {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Allow == nil {
		opt.Allow = func(context.Context, ...string) *wire.Error { return nil }
	}
	if opt.Principal == nil {
		opt.Principal = func(context.Context) Principal { return Principal{} }
	}
	if opt.Bodies == nil {
		opt.Bodies = unbounded{}
	}
	m := &Manager{
		Options: opt, streams: map[*stream]struct{}{}, sessions: map[string]*stream{}, shares: map[string]int{},
		saves: make(chan struct{}, savers), opening: initTimeout,
	}
	m.storable, m.giveUp = context.WithCancel(context.Background())
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	m.loop.Go(func() { m.run(ctx) })
	return m
}

func (m *Manager) run(ctx context.Context) {
	sweep, save := time.NewTicker(m.Config.CleanupInterval), time.NewTicker(max(m.Config.SaveInterval/4, time.Millisecond))
	defer sweep.Stop()
	defer save.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			m.Sweep()
		case <-save.C:
			m.Save(ctx)
		}
	}
}

// Count returns how many streams are open.
func (m *Manager) Count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.streams)
}

// Memory returns how many bytes the streams hold: of observations that are not acknowledged, and of frames that are not sent.
func (m *Manager) Memory() int64 { return m.memory.Load() }

func (m *Manager) hold(bytes int) { m.Metrics.QueueBytes.Set(float64(m.memory.Add(int64(bytes)))) }

// all returns the streams that are open now.
func (m *Manager) all() []*stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*stream, 0, len(m.streams))
	for s := range m.streams {
		all = append(all, s)
	}
	return all
}

// Sweep ends the streams that have been idle for too long, and those whose principals have expired by a clock that was set.
func (m *Manager) Sweep() {
	now := m.Now()
	for _, s := range m.all() {
		if !s.principal.Expires.IsZero() && !now.Before(s.principal.Expires) {
			s.end(ending{err: expired()})
		}
		if idle := now.Sub(time.Unix(0, s.heard.Load())); idle >= m.Config.IdleTimeout {
			s.end(ending{err: wire.Errorf(wire.CodeDeadline, "", "there was no frame for %v, so the stream was ended; open another one and resume the session by its id",
				idle.Round(time.Second))})
		}
	}
}

// enter counts a stream, or refuses it.
func (m *Manager) enter(s *stream) *wire.Error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closing:
		return stopping()
	case len(m.streams) >= m.Config.MaxSessions:
		return tooMany("this gateway has %d streams, which is as many as session.max_sessions allows", len(m.streams))
	case s.principal.Shared && m.shares[s.principal.Name] >= m.Config.perPrincipal():
		return tooMany("you have %d streams of this gateway, which is as many as session.max_per_principal allows", m.shares[s.principal.Name])
	}
	m.streams[s] = struct{}{}
	if s.principal.Shared {
		m.shares[s.principal.Name]++
	}
	m.running.Add(1)
	return nil
}

func tooMany(format string, n int) *wire.Error {
	err := wire.Errorf(wire.CodeSessionLimit, "", format+"; try another gateway, or this one later", n)
	err.RetryAfter = time.Second
	return err
}

func expired() *wire.Error {
	return wire.Errorf(wire.CodeUnauthenticated, "", "the token or certificate that opened the stream has expired; open another stream with a new one and resume the session by its id")
}

func stopping() *wire.Error {
	return wire.Errorf(wire.CodeUnavailable, "", "this gateway is stopping; open a stream on another one and resume the session by its id")
}

func (m *Manager) leave(s *stream) {
	m.mu.Lock()
	delete(m.streams, s)
	if s.principal.Shared {
		if m.shares[s.principal.Name]--; m.shares[s.principal.Name] == 0 {
			delete(m.shares, s.principal.Name)
		}
	}
	if s.id != "" && m.sessions[s.id] == s {
		delete(m.sessions, s.id)
		m.Metrics.Active.Set(float64(len(m.sessions)))
	}
	m.mu.Unlock()
	close(s.left)
	m.running.Done()
}

// attach makes a stream the one of a session, which is its principal's. The stream that has it on this gateway is ended
// first, and waited for.
func (m *Manager) attach(ctx context.Context, s *stream, id string) *wire.Error {
	for {
		m.mu.Lock()
		old := m.sessions[id]
		if old == nil {
			m.sessions[id] = s
			s.id = id
			m.Metrics.Active.Set(float64(len(m.sessions)))
			m.mu.Unlock()
			return nil
		}
		m.mu.Unlock()
		if old.principal.Name != s.principal.Name {
			return unknownSession(id)
		}
		old.end(ending{err: taken(), gone: true})
		select {
		case <-old.left:
		case <-ctx.Done():
			return wire.Errorf(wire.CodeUnavailable, "session", "the stream that has session %q did not end in time; send init again", id)
		}
	}
}

// detach takes a session from a stream that could not open it.
func (m *Manager) detach(s *stream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sessions[s.id] == s {
		delete(m.sessions, s.id)
		m.Metrics.Active.Set(float64(len(m.sessions)))
	}
	s.id = ""
}

func unknownSession(id string) *wire.Error {
	return wire.Errorf(wire.CodeUnknownSession, "session", "there is no session %q of yours; it was closed, or is too old: open a new one", id)
}

func taken() *wire.Error {
	return wire.Errorf(wire.CodeConflict, "session", "the session was resumed on another stream")
}

// Drain ends all streams and takes no more: what is in flight is settled, the states are saved, and the clients are told
// to go on elsewhere. It returns when they have ended. Where the context ends before, the connections are cut off, what is
// not saved yet is not saved, and the error is the context's.
func (m *Manager) Drain(ctx context.Context) error {
	m.mu.Lock()
	m.closing = true
	m.mu.Unlock()
	for _, s := range m.all() {
		s.end(ending{err: stopping(), draining: true})
	}
	ended := make(chan struct{})
	go func() { m.running.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		m.giveUp()
		for _, s := range m.all() {
			s.conn.Abort()
		}
		<-ended
		return errors.Join(errors.New("draining the streams took too long, so they were cut off"), ctx.Err())
	}
}

// Close ends all streams at once, and the sweeps.
func (m *Manager) Close() error {
	err := m.Drain(context.Background())
	m.giveUp()
	m.cancel()
	m.loop.Wait()
	return err
}
