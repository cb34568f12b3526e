package session

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// saved is what the bucket holds of a session, as far as this stream knows.
type saved struct {
	revision uint64
	sequence uint64
	exact    bool // it may be exact there: before the session takes anything it has to become inexact
	there    bool // the newest write, an exact one, is known to have succeeded
	at       time.Time
	created  int64
	owner    string
	used     time.Time // when an observation was last handed to the log
	// unsure tells that a gateway before this one may have taken what begins at next; since is when that was saved.
	unsure bool
	since  time.Time
}

// storeTimeout bounds one write to the bucket.
const storeTimeout = 5 * time.Second

// storing bounds what is done with the bucket in time, and ends it when the manager stores nothing any more.
func (m *Manager) storing(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	stop := context.AfterFunc(m.storable, cancel)
	return ctx, func() { stop(); cancel() }
}

// init opens the session of the stream: a new one, or one that was there.
func (s *stream) init(f *api.StreamInit) {
	s.opening.Stop()
	if err := s.tryInit(f); err != nil {
		s.end(ending{err: err})
		return
	}
	s.send(outgoing{frame: &api.ObserveStreamResponse{Frame: &api.ObserveStreamResponse_Opened{Opened: &api.StreamOpened{
		Session: s.id, Next: s.order.next, Window: uint32(s.window), WindowBytes: uint64(s.windowBytes), MaxBatch: event.MaxBatch,
		Acknowledgement: s.level, Resumed: f.GetSession() != "", IdleTimeoutMs: uint32(s.m.Config.IdleTimeout.Milliseconds()),
	}}}})
}

func (s *stream) tryInit(f *api.StreamInit) *wire.Error {
	if s.id != "" {
		return wire.Errorf(wire.CodeInvalidArgument, "", "the stream has a session already; open another stream for another one")
	}
	if err := wire.CheckAck(f.GetAcknowledgement()); err != nil {
		return err
	}
	if f.GetSpace() != "" {
		if err := wire.CheckSpace(f.GetSpace()); err != nil {
			return err
		}
	}
	if len(f.GetSession()) > event.MaxSession {
		return wire.Errorf(wire.CodeInvalidArgument, "session", "session has %d bytes; it can have up to %d", len(f.GetSession()), event.MaxSession)
	}
	s.space, s.level = f.GetSpace(), f.GetAcknowledgement()
	if s.level == api.Acknowledgement_ACKNOWLEDGEMENT_UNSPECIFIED {
		s.level = api.Acknowledgement_ACKNOWLEDGEMENT_ACCEPTED
	}
	s.window, s.windowBytes = s.m.Config.Window, s.m.Config.WindowBytes
	if w := f.GetWindow(); w > 0 && int(min(w, maxWindow)) < s.window {
		s.window = int(w)
	}
	ctx, cancel := s.m.storing(s.ctx, 2*storeTimeout)
	defer cancel()
	id := f.GetSession()
	if id == "" {
		id = rand.Text()
	} else if _, _, err := s.stored(ctx, id); err != nil {
		return err // whoever names a session that is not theirs comes between nobody and it
	}
	if err := s.m.attach(ctx, s, id); err != nil {
		return err
	}
	err := s.load(ctx, f)
	if err != nil {
		s.m.detach(s)
	}
	return err
}

// load makes the numbering that of the session's state, and the state that of this stream.
func (s *stream) load(ctx context.Context, f *api.StreamInit) *wire.Error {
	now := s.m.Now()
	s.order = order{next: 1}
	s.saved = saved{created: now.UnixNano(), owner: s.m.Gateway + "/" + rand.Text(), used: now}
	if f.GetSession() != "" {
		if err := s.loadState(ctx, f, now); err != nil {
			return err
		}
	}
	switch err := s.save(ctx, true); { // it has taken nothing yet
	case errors.Is(err, ErrTaken):
		return wire.Errorf(wire.CodeConflict, "session", "another gateway resumed the session at the same moment; send init again to have it here")
	case err != nil:
		return unavailable(err)
	}
	return nil
}

// stored reads the state of a session of the stream's principal.
func (s *stream) stored(ctx context.Context, id string) (*api.SessionState, uint64, *wire.Error) {
	state, revision, err := s.m.Store.Load(ctx, id)
	switch {
	case errors.Is(err, ErrUnknown), err == nil && state.GetPrincipal() != s.principal.Name:
		return nil, 0, unknownSession(id)
	case err != nil:
		return nil, 0, unavailable(err)
	}
	return state, revision, nil
}

func (s *stream) loadState(ctx context.Context, f *api.StreamInit, now time.Time) *wire.Error {
	// Another stream may have written it since it was looked at.
	state, revision, err := s.stored(ctx, f.GetSession())
	if err != nil {
		return err
	}
	since := time.Unix(0, state.GetSavedAt())
	if !state.GetExact() && now.Sub(since) > s.m.KnownFor {
		return tooOld(f.GetSession())
	}
	s.saved.revision, s.saved.created = revision, state.GetCreatedAt()
	s.saved.unsure, s.saved.since = !state.GetExact(), since
	s.order.durable = state.GetSequence()
	s.order.newest.load(state.GetEpoch(), state.GetShards(), state.GetPositions())
	if seen := f.GetAcknowledged(); seen > s.order.durable {
		if state.GetExact() {
			return wire.Errorf(wire.CodeInvalidArgument, "acknowledged", "the session has accepted observations up to sequence %d, and init says that %d was acknowledged",
				s.order.durable, seen)
		}
		// The gateway that acked it did not live to save it. Where these stand, only the client knows.
		s.order.durable, s.order.newest = seen, positions{}
	}
	s.order.next = s.order.durable + 1
	return nil
}

func tooOld(id string) *wire.Error {
	return wire.Errorf(wire.CodeGone, "session", "the gateway that had session %q did not end it, and that is too long ago to tell what it had taken last; "+
		"look for what was not acknowledged, and open a new session", id)
}

func unavailable(err error) *wire.Error {
	return wire.Errorf(wire.CodeUnavailable, "", "the session's state could not be read or written: %v; try again", err)
}

// unsureTooLong tells that it cannot be known any more what a gateway before this one had taken; mu is held.
func (s *stream) unsureTooLong() bool {
	return s.saved.unsure && s.m.Now().Sub(s.saved.since) > s.m.KnownFor
}

// unsaved is the refusal where the state could not be written; one that another gateway has written ends the stream.
func (s *stream) unsaved(err error) *wire.Error {
	if !errors.Is(err, ErrTaken) {
		return unavailable(err)
	}
	s.end(ending{err: taken(), gone: true})
	return taken()
}

// save writes the state. It is exact where that is asked for and true.
func (s *stream) save(ctx context.Context, exact bool) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	now := s.m.Now()
	state := &api.SessionState{
		Principal: s.principal.Name, CreatedAt: s.saved.created, SavedAt: now.UnixNano(), Sequence: s.order.durable, Owner: s.saved.owner,
		Exact: exact && len(s.order.flight) == 0 && !s.saved.unsure, Epoch: s.order.newest.epoch,
	}
	if s.saved.unsure {
		state.SavedAt = s.saved.since.UnixNano()
	}
	if state.Exact {
		s.saved.exact = true // from now on: what is taken meanwhile makes it inexact first, which waits for this write
	}
	s.saved.there = false
	state.Shards, state.Positions = s.order.newest.list()
	revision := s.saved.revision
	s.mu.Unlock()

	revision, err := s.writeState(ctx, state, revision)
	if err != nil {
		return err // the old state is there, or this one: exact stays true where either may be
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved.revision, s.saved.sequence, s.saved.at = revision, state.GetSequence(), now
	s.saved.exact, s.saved.there = state.GetExact(), state.GetExact()
	return nil
}

// writeState writes the state. Where a write of this stream succeeded and was not heard of, its revision is not known here, so
// the state is looked at.
func (s *stream) writeState(ctx context.Context, state *api.SessionState, revision uint64) (uint64, error) {
	// Many streams may end at once: they wait for their turn, not for each other's writes with the time running.
	select {
	case s.m.saves <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.m.storable.Done():
		return 0, s.m.storable.Err()
	}
	defer func() { <-s.m.saves }()
	ctx, cancel := s.m.storing(ctx, storeTimeout)
	defer cancel()
	written, err := s.m.Store.Save(ctx, s.id, state, revision)
	if !errors.Is(err, ErrTaken) {
		return written, err
	}
	there, revision, lerr := s.m.Store.Load(ctx, s.id)
	if lerr != nil || there.GetOwner() != state.GetOwner() {
		return 0, errors.Join(err, lerr)
	}
	return s.m.Store.Save(ctx, s.id, state, revision)
}

// forget removes the state of a session that was closed.
func (s *stream) forget() {
	s.saving.Lock()
	defer s.saving.Unlock()
	ctx, cancel := s.m.storing(s.ctx, storeTimeout)
	defer cancel()
	if err := s.m.Store.Delete(ctx, s.id, s.saved.revision); err != nil {
		s.m.Logger.Debug().Err(err).Msg("a closed session stays until it is too old")
	}
}

// due tells whether the state is to be written now, and whether as an exact one.
func (s *stream) due(now time.Time, interval time.Duration) (write, exact bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended != nil, s.saved.at.IsZero(), s.saved.exact, s.saved.unsure, now.Sub(s.saved.at) < interval:
		return false, false
	case len(s.order.flight) == 0 && now.Sub(s.saved.used) >= 2*interval:
		return true, true
	}
	return s.order.durable != s.saved.sequence, false
}

// savers is how many states are written at once.
const savers = 64

// upToDate tells that the bucket has the exact state.
func (s *stream) upToDate() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved.exact && s.saved.there
}

// Save writes the states that are due.
func (m *Manager) Save(ctx context.Context) {
	var all errgroup.Group
	all.SetLimit(savers)
	now := m.Now()
	for _, s := range m.all() {
		write, exact := s.due(now, m.Config.SaveInterval)
		if !write {
			continue
		}
		all.Go(func() error {
			if err := s.save(ctx, exact); errors.Is(err, ErrTaken) {
				s.end(ending{err: taken(), gone: true})
			} else if err != nil {
				m.Logger.Warn().Err(err).Msg("the state of a session could not be saved; it is tried again")
			}
			return nil
		})
	}
	_ = all.Wait() // each has said what it had to say
}
