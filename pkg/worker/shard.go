package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/queue"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// shard is one shard that this process holds.
type shard struct {
	w       *Worker
	number  int
	dir     string
	log     zerolog.Logger
	metrics metrics.WorkerShard

	// store and mark are replaced when the stream turns out to be another one; nothing is in the lanes then.
	store atomic.Pointer[vecstore.Shard]
	mark  *watermark
	clock *clock
	quiet silence
	lanes *queue.Lanes[*task]

	// routing is held by the index worker that moves tasks from the lanes to mailboxes, and guards mailboxes and turns.
	routing   atomic.Bool
	mailboxes map[any]*mailbox
	turns     *turns
	// gone has the sequences of the drops of spaces, whose mailboxes would keep them in memory.
	goneMu sync.Mutex
	gone   map[string]uint64

	quarantined atomic.Uint64
	refused     refusals
	acked       string        // reply subject that was acknowledged last; of the checkpointer
	passed      chan passage  // one place: what the checkpointer found the stream to have no more
	refetch     chan struct{} // one place: a delivery was lost
	unlinked    bool          // rows could not be linked when last looked; of the checkpointer
	maintenance string        // what maintenance last found wrong; of the checkpointer
	missed      uint64        // position + 1 at which a delivery was missed when last looked, 0 for none; of the checkpointer
	broadcast   atomic.Uint64 // events applied since the start, at the last heartbeat
	drain       rate          // of the heartbeat
	drainRate   atomic.Uint64 // its last value, as the bits of a float64

	// ctx is that of the goroutines which running waits for; it ends when the shard is given up.
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	serving atomic.Pointer[service] // nil while it does not answer
	state   atomic.Int32            // an api.CopyState
	reason  atomic.Pointer[string]
	// leaving is set while others are told that it does not answer, though it still does.
	leaving atomic.Bool
	// own tells that its files are those that this worker had, not restored or begun anew.
	own atomic.Bool
	// goal is where the stream ended when the files were opened.
	goal atomic.Uint64
	// snapshotting has one place: who has a value in it takes a snapshot.
	snapshotting chan struct{}
}

// openShard opens the local files of a shard, or begins them anew where they are of another stream or damaged.
// Its errors name the shard.
func (w *Worker) openShard(ctx context.Context, number int) (*shard, error) {
	s, err := w.newShard(number)
	if err != nil {
		return nil, fmt.Errorf("preparing shard %d: %w", number, err)
	}
	store, err := s.openStore(ctx, w.storeOptions())
	if err != nil {
		return nil, err
	}
	s.view(store)
	if err := s.expect(ctx); err != nil {
		return nil, errors.Join(err, store.Abandon())
	}
	s.own.Store(s.own.Load() && store.Appended() > 0)
	s.goal.Store(s.mark.read().last)
	s.state.Store(int32(api.CopyState_COPY_STATE_CATCHING_UP))
	return s, nil
}

func (w *Worker) shardDir(number int) string {
	return filepath.Join(w.Config.Dir, "shard-"+strconv.Itoa(number))
}

func (w *Worker) newShard(number int) (*shard, error) {
	places := w.Config.Queue.Capacity + w.Config.Queue.Capacity/beyond
	lanes, err := queue.New[*task](places)
	if err != nil {
		return nil, err
	}
	s := &shard{
		w: w, number: number, dir: w.shardDir(number),
		log: w.Logger.With().Int("shard", number).Logger(), metrics: w.Metrics.Shard(number),
		mark: newWatermark(places, w.Config.Queue.MaxBytes, 0), lanes: lanes, clock: &clock{wrong: w.Config.ClockOffset},
		mailboxes: map[any]*mailbox{}, turns: newTurns(), gone: map[string]uint64{},
		passed: make(chan passage, 1), refetch: make(chan struct{}, 1), snapshotting: make(chan struct{}, 1),
	}
	s.because("")
	s.own.Store(true) // until it turns out that they are not
	return s, nil
}

// beyond is the part of the capacity that the queue holds beyond it: what gateways admit of spaces with little where others
// fill the shard.
const beyond = 20

// view makes a store the shard's. What is said of how far it is goes back before it is seen.
func (s *shard) view(store *vecstore.Shard) {
	s.mark.restart(store.Appended())
	s.store.Store(store)
}

// openStore opens the row log as the view of the stream that is there now. What is not that is set aside, never
// deleted: the stream has everything that it held.
func (s *shard) openStore(ctx context.Context, opt vecstore.Options) (*vecstore.Shard, error) {
	id, last, first, err := bus.StreamIdentity(ctx, s.w.JetStream, s.number)
	if err != nil {
		return nil, err
	}
	src := vecstore.Source{Epoch: s.w.Topology.Epoch, Shard: uint32(s.number), CreatedAt: id.CreatedAt.UnixNano()}
	log := extent{src: src, first: first, last: last}
	for {
		if err := s.restoreFresh(ctx, log); err != nil {
			return nil, err
		}
		start := time.Now()
		store, found, err := vecstore.Open(s.dir, src, opt)
		if err == nil && store.Appended() > last {
			err = errors.Join(fmt.Errorf("%w: it holds sequence %d of a stream that ends at %d", vecstore.ErrSource, store.Appended(), last),
				store.Abandon())
		}
		if err == nil {
			restored, rerr := s.overtake(ctx, store, log)
			if rerr == nil && !restored {
				rerr = s.complete(ctx, log, store.Appended())
			}
			if rerr != nil {
				return nil, errors.Join(rerr, store.Abandon())
			}
			if restored {
				continue
			}
			s.log.Info().Int("records", found.Records).Int64("bytes", found.Bytes).Int64("torn_bytes", found.Torn).Int("indexes_repaired", found.IndexRepaired).
				Int("graphs", found.Columns).Int("graphs_rebuilt", found.Rebuilt).
				Uint64("position", store.Appended()).Dur("took", time.Since(start)).Msg("shard open")
			for _, wrong := range found.Damaged {
				s.log.Error().Err(wrong).Msg("a graph cannot be used and is built again; its rows are scanned meanwhile")
			}
			for _, wrong := range found.Repaired {
				s.log.Warn().Err(wrong).Msg("a derived file was not what belongs to the row log, and is made anew from it")
			}
			if found.Doubt != nil {
				s.log.Warn().Err(found.Doubt).Msg("the index of the row log could not be trusted, so that all records were read")
			}
			s.reportHole(store.Appended(), first)
			return store, nil
		}
		if !errors.Is(err, vecstore.ErrCorrupt) && !errors.Is(err, vecstore.ErrSource) && !errors.Is(err, vecstore.ErrVersion) {
			return nil, err
		}
		s.log.Error().Err(err).Msg("the local files of the shard cannot be used; they are set aside and built again from a snapshot and the log. If this comes again, look at the disk")
		if aerr := s.setAside(); aerr != nil {
			return nil, errors.Join(err, aerr)
		}
	}
}

// keepAside is how many directories that were set aside are kept of each shard, the newest ones.
const keepAside = 2

// expect makes what the stream has beyond the shard's position count as stale before any of it is delivered.
func (s *shard) expect(ctx context.Context) error {
	_, last, _, err := bus.StreamIdentity(ctx, s.w.JetStream, s.number)
	if err != nil {
		return err
	}
	applied := s.mark.read().applied
	if last <= applied {
		return nil
	}
	stream, err := s.w.JetStream.Stream(ctx, bus.LogStream(s.number))
	if err != nil {
		return fmt.Errorf("looking at what comes behind position %d: %w", applied, err)
	}
	msg, err := stream.GetMsg(ctx, applied+1, jetstream.WithGetMsgSubject(">"))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		s.mark.expect(0, last, time.Time{}) // all of it was deleted, as settle finds out
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at what comes behind position %d: %w", applied, err)
	}
	s.mark.expect(last-msg.Sequence+1, last, msg.Time)
	return nil
}

// reportHole says so when the stream no longer has what comes next here.
func (s *shard) reportHole(position, first uint64) {
	if first > position+1 {
		s.log.Error().Uint64("position", position).Uint64("first_sequence", first).
			Msg("the log begins behind this position: what lies between was removed from the stream and is not searchable here")
	}
}

// queued is how many tasks are in the lanes, or wait there for the turn of their space.
func (s *shard) queued() int { return s.waiting(queue.High) + s.waiting(queue.Normal) }

// waiting is queued of one lane.
func (s *shard) waiting(l queue.Lane) int { return s.lanes.Len(l) + s.turns.waiting(l) }

// entered is how many tasks are in the lanes.
func (s *shard) entered() int { return s.lanes.Len(queue.High) + s.lanes.Len(queue.Normal) }

// mailbox returns the mailbox of an event's space; routing is held.
func (s *shard) mailbox(e *vecstore.Event) *mailbox {
	key := e.SpaceKey()
	if m, ok := s.mailboxes[key]; ok {
		return m
	}
	m := &mailbox{key: key, space: e.Space, home: int(s.w.pool.next.Add(1)) % len(s.w.pool.workers)}
	s.mailboxes[key] = m
	return m
}

// leave notes that a space was dropped.
func (s *shard) leave(space string, sequence uint64) {
	s.goneMu.Lock()
	defer s.goneMu.Unlock()
	s.gone[space] = sequence
}

// sweep lets go of the mailboxes of spaces that were dropped, once nothing can come into them any more; routing is held.
func (s *shard) sweep() {
	s.goneMu.Lock()
	defer s.goneMu.Unlock()
	if len(s.gone) == 0 {
		return
	}
	applied, keep := s.mark.read().applied, map[string]uint64{}
	for space, sequence := range s.gone {
		if sequence > applied {
			keep[space] = sequence // events from before the drop may be in the lanes
		}
	}
	for key, m := range s.mailboxes {
		sequence, gone := s.gone[m.space]
		switch {
		case !gone:
		case m.idle():
			delete(s.mailboxes, key)
		default:
			keep[m.space] = sequence
		}
	}
	s.gone = keep
}

// progressed sends a heartbeat early when so much has become searchable that the gateways' picture is old.
func (s *shard) progressed() {
	if s.mark.read().total-s.broadcast.Load() >= uint64(max(s.w.Config.Queue.Capacity/20, 1)) {
		s.w.beatSoon()
	}
}

// staleness is the age of the oldest event that is not searchable yet, 0 when there is none. Without a connection to
// the log, and while its server is silent, nobody can know of newer ones, so the time since then counts.
func (s *shard) staleness(now time.Time) time.Duration {
	var age time.Duration
	if oldest := s.mark.read().oldest; !oldest.IsZero() {
		age = max(s.clock.server(now).Sub(oldest), 0)
	}
	if lost := s.w.lostAt.Load(); lost != 0 {
		age = max(age, now.Sub(time.Unix(0, lost)))
	}
	return max(age, s.quiet.age(now))
}

// rebuild replaces the store by the view of the stream that is there now. Nothing is outstanding.
func (s *shard) rebuild(ctx context.Context, opt vecstore.Options) error {
	if s.w.placed {
		s.suspect() // what comes in its place may be behind, and others may not be
	}
	old := s.store.Load()
	if err := old.Abandon(); err != nil {
		s.log.Warn().Err(err).Msg("closing the files of the old view of the log")
	}
	store, err := s.openStore(ctx, opt)
	if err != nil {
		return err
	}
	s.view(store)
	if err := s.expect(ctx); err != nil {
		s.log.Warn().Err(err).Msg("looking up what the log has beyond this position")
	}
	s.goal.Store(s.mark.read().last)
	for !s.routing.CompareAndSwap(false, true) {
		runtime.Gosched() // an index worker sees just now that the lanes are empty
	}
	clear(s.mailboxes) // their keys are the spaces of the old store
	s.routing.Store(false)
	return nil
}

// drained waits until nothing is outstanding.
func (s *shard) drained(ctx context.Context) error {
	for {
		last, ok := s.mark.newest()
		if !ok {
			return nil
		}
		if err := s.mark.await(ctx, last); err != nil {
			return err
		}
	}
}

// close takes a last checkpoint, acknowledges, and closes the files.
func (s *shard) close() error {
	s.checkpoint()
	s.cancel()
	s.w.Metrics.DropShard(s.number)
	if err := s.store.Load().Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("closing shard %d: %w", s.number, err)
	}
	return nil
}
