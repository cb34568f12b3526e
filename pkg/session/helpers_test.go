package session

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/wire"
)

// fakeLog is a core whose log knows write ids, and takes what it is told to.
type fakeLog struct {
	mu      sync.Mutex
	at      map[string]uint64
	last    uint64
	refuse  map[uint64]*wire.Error // by the first sequence of a request, once
	early   map[uint64]*wire.Error // the same, in the call
	held    bool                   // answers wait for release
	waiting []func()
	applied chan struct{} // closed: everything is searchable
}

func newLog() *fakeLog {
	l := &fakeLog{at: map[string]uint64{}, refuse: map[uint64]*wire.Error{}, early: map[uint64]*wire.Error{}, applied: make(chan struct{})}
	close(l.applied)
	return l
}

func (l *fakeLog) ObserveInOrder(_ context.Context, _ string, req *api.ObserveRequest, dropped func() bool, done func(*api.ObserveResponse, *wire.Error)) {
	l.mu.Lock()
	run := func() { l.commit(req, dropped, done) }
	first := req.GetObservations()[0].GetSequence()
	if e := l.early[first]; e != nil {
		delete(l.early, first)
		run = func() { done(nil, e) }
	} else if l.held {
		l.waiting = append(l.waiting, run)
		run = nil
	}
	l.mu.Unlock()
	if run != nil {
		run()
	}
}

func (l *fakeLog) commit(req *api.ObserveRequest, dropped func() bool, done func(*api.ObserveResponse, *wire.Error)) {
	if dropped() {
		done(nil, wire.Errorf(wire.CodeUnavailable, "", "it was dropped"))
		return
	}
	l.mu.Lock()
	first := req.GetObservations()[0].GetSequence()
	if e := l.refuse[first]; e != nil {
		delete(l.refuse, first)
		l.mu.Unlock()
		done(nil, e)
		return
	}
	resp := &api.ObserveResponse{}
	for _, o := range req.GetObservations() {
		id := o.GetSession() + ":" + strconv.FormatUint(o.GetSequence(), 10)
		at, seen := l.at[id]
		if !seen {
			l.last++
			at = l.last
			l.at[id] = at
		}
		resp.Results = append(resp.Results, &api.ObserveResult{Id: id, Duplicate: seen, Position: event.Position{Epoch: "e", Shard: 1, Sequence: at}.String()})
	}
	l.mu.Unlock()
	done(resp, nil)
}

// hold makes answers wait; release gives all that wait, in order.
func (l *fakeLog) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = true
}

func (l *fakeLog) release() {
	l.mu.Lock()
	all := l.waiting
	l.waiting, l.held = nil, false
	l.mu.Unlock()
	for _, run := range all {
		run()
	}
}

// releaseOne gives the answer of one of those that wait.
func (l *fakeLog) releaseOne(i int) {
	l.mu.Lock()
	run := l.waiting[i]
	l.waiting = slices.Delete(l.waiting, i, i+1)
	l.mu.Unlock()
	run()
}

func (l *fakeLog) AwaitSearchable(int, uint64, uint64, uint32) (map[uint64]*api.Error, *wire.Error) {
	<-l.applied
	return nil, nil
}

// memory is a Store.
type memory struct {
	mu     sync.Mutex
	states map[string][]byte
	revs   map[string]uint64
	writes int
}

func newMemory() *memory { return &memory{states: map[string][]byte{}, revs: map[string]uint64{}} }

func (m *memory) Load(_ context.Context, id string) (*api.SessionState, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.states[id]
	if !ok {
		return nil, 0, ErrUnknown
	}
	s := new(api.SessionState)
	return s, m.revs[id], proto.Unmarshal(b, s)
}

func (m *memory) Save(_ context.Context, id string, s *api.SessionState, revision uint64) (uint64, error) {
	b, err := proto.Marshal(s)
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.revs[id] != revision {
		return 0, ErrTaken
	}
	m.writes++
	m.states[id] = b
	m.revs[id]++
	return m.revs[id], nil
}

func (m *memory) Delete(_ context.Context, id string, revision uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.revs[id] != revision {
		return ErrTaken
	}
	delete(m.states, id)
	delete(m.revs, id)
	return nil
}

// state returns what is kept of a session.
func (m *memory) state(t *testing.T, id string) *api.SessionState {
	t.Helper()
	s, _, err := m.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// clock is one that moves when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// pipe is a connection without a network. Send blocks until the frame is read.
type pipe struct {
	in     chan *api.ObserveStreamRequest
	out    chan *api.ObserveStreamResponse
	gone   chan struct{}
	once   sync.Once
	finish chan *wire.Error
}

func newPipe() *pipe {
	return &pipe{in: make(chan *api.ObserveStreamRequest), out: make(chan *api.ObserveStreamResponse), gone: make(chan struct{}), finish: make(chan *wire.Error, 1)}
}

var errGone = errors.New("the connection is gone")

func (p *pipe) Recv() (*api.ObserveStreamRequest, error) {
	select {
	case f, ok := <-p.in:
		if !ok {
			return nil, io.EOF
		}
		return f, nil
	case <-p.gone:
		return nil, errGone
	}
}

func (p *pipe) Send(f *api.ObserveStreamResponse) error {
	select {
	case p.out <- f:
		return nil
	case <-p.gone:
		return errGone
	}
}

func (p *pipe) Finish(err *wire.Error) { p.finish <- err; p.Abort() }
func (p *pipe) Abort()                 { p.once.Do(func() { close(p.gone) }) }

// wait is reached only when something is broken.
const wait = 10 * time.Second

func (p *pipe) send(t *testing.T, f *api.ObserveStreamRequest) {
	t.Helper()
	select {
	case p.in <- f:
	case <-p.gone:
		t.Fatal("the connection is gone")
	case <-time.After(wait):
		t.Fatal("the frame was not read")
	}
}

func (p *pipe) next(t *testing.T) *api.ObserveStreamResponse {
	t.Helper()
	select {
	case f := <-p.out:
		return f
	case <-time.After(wait):
		t.Fatal("no frame came")
		return nil
	}
}

// ping returns once all frames before it were taken. No answer may be under way.
func (p *pipe) ping(t *testing.T) {
	t.Helper()
	p.send(t, ping(""))
	if out := p.next(t); out.GetPong() == nil {
		t.Fatalf("a ping was answered with %v", out)
	}
}

// refused reads a refusal.
func (p *pipe) refused(t *testing.T, sequence, expected uint64, code wire.Code) {
	t.Helper()
	out := p.next(t)
	if r := out.GetRefused(); r.GetSequence() != sequence || r.GetExpected() != expected || r.GetError().GetCode() != string(code) {
		t.Fatalf("in place of the refusal %s of %d, where %d is expected, came %v", code, sequence, expected, out)
	}
}

// acked reads the acks of what was not there before.
func (p *pipe) acked(t *testing.T, first uint64, n int) {
	t.Helper()
	for n > 0 {
		out := p.next(t)
		a := out.GetAck()
		if a.GetSequence() != first || len(a.GetResults()) == 0 || len(a.GetResults()) > n {
			t.Fatalf("in place of the ack of %d and %d more came %v", first, n-1, out)
		}
		for _, r := range a.GetResults() {
			if r.GetDuplicate() || r.GetPosition() == "" {
				t.Fatalf("sequence %d: %v", first, r)
			}
			first, n = first+1, n-1
		}
	}
}

// open sends init and returns the answer.
func (p *pipe) open(t *testing.T, f *api.StreamInit) *api.StreamOpened {
	t.Helper()
	p.send(t, &api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Init{Init: f}})
	out := p.next(t)
	if out.GetOpened() == nil {
		t.Fatalf("init was answered with %v", out)
	}
	return out.GetOpened()
}

func frame(sequence uint64, n int) *api.ObserveStreamRequest {
	f := &api.StreamObserve{Sequence: sequence, Space: "demo"}
	for range n {
		f.Observations = append(f.Observations, &api.Observation{Text: "a text of some length"})
	}
	return &api.ObserveStreamRequest{Frame: &api.ObserveStreamRequest_Observe{Observe: f}}
}

// fixture is a manager and what it works with.
type fixture struct {
	*Manager
	log   *fakeLog
	store *memory
	clock *clock
}

func start(t *testing.T, store *memory, log *fakeLog, change func(*Options)) *fixture {
	t.Helper()
	ms, err := metrics.NewSessions(metrics.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{log: log, store: store, clock: &clock{now: time.Unix(1_800_000_000, 0)}}
	opt := Options{
		Config: DefaultConfig(), Core: log, Store: store, Gateway: t.Name(), KnownFor: 3 * time.Minute, Metrics: ms, Logger: zerolog.Nop(), Now: f.clock.Now,
	}
	opt.Config.SaveInterval = time.Minute // by hand
	if change != nil {
		change(&opt)
	}
	f.Manager = New(opt)
	t.Cleanup(func() {
		log.release() // where a test failed before it did
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// serve runs a stream and returns its connection and the channel of what Serve returns.
func (f *fixture) serve(t *testing.T) (*pipe, <-chan *wire.Error) { return f.serveIn(t.Context(), t) }

func (f *fixture) serveIn(ctx context.Context, t *testing.T) (*pipe, <-chan *wire.Error) {
	p, ended := newPipe(), make(chan *wire.Error, 1)
	go func() { ended <- f.Serve(ctx, p) }()
	t.Cleanup(p.Abort)
	return p, ended
}
