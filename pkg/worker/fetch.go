package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/queue"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/wire"
)

// follow keeps a shard's view of its stream current until ctx ends, through lost connections, lost consumers and
// another stream of the same name.
func (s *shard) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.consume(ctx)
		if ctx.Err() != nil {
			return
		}
		s.quiet.broke(time.Now())
		s.log.Warn().Err(err).Msg("following the log again")
		if !sleep(ctx, 200*time.Millisecond) {
			return
		}
	}
}

// delivery is what the consumer's callback hands to the fetcher.
type delivery struct {
	msg  jetstream.Msg
	meta *jetstream.MsgMetadata
}

// consume reads the stream from the shard's own position until something is wrong.
func (s *shard) consume(ctx context.Context) error {
	// Tasks of the last round end first: the position below must be behind all of them.
	if err := s.drained(ctx); err != nil {
		return err
	}
	if err := s.current(ctx); err != nil {
		return err
	}
	s.setClock(ctx)
	// The consumer begins anew here, whatever was asked for before.
	drain(s.w.reconnected(s.number))
	drain(s.refetch)
	consumer, err := bus.EnsureWorkerConsumer(ctx, s.w.JetStream, s.number, s.w.Config.Name, s.store.Load().Appended()+1)
	if err != nil {
		return err
	}
	s.w.consuming(s.number, consumer)
	if err := s.expect(ctx); err != nil {
		return err
	}
	s.quiet.over()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	deliveries := make(chan delivery, 64)
	consuming, err := consumer.Consume(func(msg jetstream.Msg) {
		meta, err := msg.Metadata()
		if err != nil {
			return // not a message of the log
		}
		select {
		case deliveries <- delivery{msg, meta}:
		case <-ctx.Done():
		}
	},
		// What is on its way is bounded in bytes, too: an event may have a megabyte.
		jetstream.PullMaxMessagesWithBytesLimit(2*s.w.Config.MaxBatch, maxPulled),
		jetstream.PullExpiry(30*time.Second), jetstream.PullHeartbeat(pullHeartbeat),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			if errors.Is(err, jetstream.ErrNoHeartbeat) {
				silent := s.quiet.missed(time.Now())
				if silent < longSilence {
					return
				}
				if s.w.Conn.IsConnected() {
					s.log.Warn().Dur("for", silent).Msg("the log's server is silent")
				}
			}
			if fatal(err) {
				select {
				case failed <- err:
				default:
				}
			}
		}))
	if err != nil {
		return fmt.Errorf("consuming the log: %w", err)
	}
	defer func() {
		cancel()
		consuming.Stop()
		<-consuming.Closed()
		s.w.consuming(s.number, nil)
	}()
	batch := make([]delivery, 0, s.w.Config.MaxBatch)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case <-s.w.reconnected(s.number):
			return errors.New("the connection to NATS was made anew")
		case <-s.refetch:
			return errors.New("a delivery was lost, or the shard is to be opened again")
		case p := <-s.passed:
			if err := s.pass(ctx, p); err != nil {
				return err
			}
			continue
		case d := <-deliveries:
			batch = append(batch[:0], d)
		}
	more:
		for len(batch) < cap(batch) {
			select {
			case d := <-deliveries:
				batch = append(batch, d)
			default:
				break more
			}
		}
		if err := s.take(ctx, batch); err != nil {
			return err
		}
	}
}

// maxPulled bounds the bytes that the server may have sent ahead.
const maxPulled = 16 << 20

// fatal tells which errors of a consumer end it.
func fatal(err error) bool {
	for _, e := range []error{
		jetstream.ErrConsumerDeleted, jetstream.ErrConsumerNotFound, jetstream.ErrStreamNotFound, jetstream.ErrNoHeartbeat,
		jetstream.ErrConnectionClosed, jetstream.ErrBadRequest,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// current makes sure that the store is a view of the stream that is there now.
func (s *shard) current(ctx context.Context) error {
	id, last, first, err := bus.StreamIdentity(ctx, s.w.JetStream, s.number)
	if err != nil {
		return err
	}
	store := s.store.Load()
	if store.Source().CreatedAt == id.CreatedAt.UnixNano() && store.Appended() <= last && store.Usable() == nil {
		behind, err := s.cutOff(ctx, extent{store.Source(), first, last}, store.Appended())
		if err != nil || !behind {
			return err
		}
		return s.rebuild(ctx, s.w.storeOptions())
	}
	if err := store.Usable(); err != nil {
		s.log.Error().Err(err).Msg("the shard is opened again from its last checkpoint, and what is damaged is built again")
		opt := s.w.storeOptions()
		opt.Distrust = true
		return s.rebuild(ctx, opt)
	}
	s.log.Error().Stringer("had", store.Source()).Stringer("stream_created", id).Uint64("position", store.Appended()).Uint64("last_sequence", last).
		Msg("the stream is not the one that this shard is a view of; the view is set aside and built again")
	return s.rebuild(ctx, s.w.storeOptions())
}

// take writes a batch of deliveries to the row log and hands it to the lanes.
func (s *shard) take(ctx context.Context, batch []delivery) error {
	store := s.store.Load()
	app := store.Appender()
	s.clock.received(batch[len(batch)-1].meta.Timestamp, time.Now())
	tasks := make([]task, len(batch))
	flow := make([]*task, 0, len(batch))
	for i, d := range batch {
		t := &tasks[i]
		sequence := d.meta.Sequence.Stream
		if sequence <= s.mark.fetched() {
			continue // delivered again
		}
		if expected := s.mark.fetched() + 1; sequence > expected {
			if err := s.hole(ctx, expected, sequence); err != nil {
				return errors.Join(err, s.hand(ctx, app, flow))
			}
		}
		if s.mark.waits(len(d.msg.Data())) {
			// Those before it must not wait for places that only they can free.
			if err := s.hand(ctx, app, flow); err != nil {
				return err
			}
			flow = flow[:0]
		}
		before, busy := s.mark.newest()
		t.shard, t.bytes = s, len(d.msg.Data())
		t.event.Sequence, t.event.Published = sequence, d.meta.Timestamp.UnixNano()
		var err error
		t.ticket, err = s.mark.begin(ctx, slot{
			sequence: sequence, published: d.meta.Timestamp, reply: d.msg.Reply(), bytes: len(d.msg.Data()),
		}, d.meta.NumPending)
		if err != nil {
			return err
		}
		high, refused := decode(d.msg.Subject(), d.msg.Data(), store.Definition, &t.event)
		if refused == nil && t.event.Filter != "" {
			// What it means is decided by everything before it, and by nothing behind it.
			err := s.hand(ctx, app, flow)
			flow = flow[:0]
			if err == nil && busy {
				err = s.mark.await(ctx, before)
			}
			if err == nil {
				refused, err = s.match(ctx, store, &t.event)
			}
			if err != nil {
				s.mark.retract(t.ticket) // the stream delivers it again
				return err
			}
		}
		if refused == nil {
			if err := app.Add(&t.event); err != nil {
				refused = storeError(err)
			}
		}
		if refused != nil {
			// Those before it are not to wait for the quarantine.
			if err := s.hand(ctx, app, flow); err != nil {
				s.mark.retract(t.ticket) // the stream delivers it again, too
				return err
			}
			flow = flow[:0]
			app.Skip(sequence)
			if !s.quarantineMessage(ctx, sequence, d.msg.Subject(), d.msg.Data(), refused) {
				s.mark.retract(t.ticket) // who gives up the shard waits for what is outstanding
				return ctx.Err()
			}
			s.mark.complete(t.ticket)
			continue
		}
		if t.high = high; high {
			s.mark.prioritise(t.ticket)
		}
		flow = append(flow, t)
	}
	return s.hand(ctx, app, flow)
}

// hand makes the records of tasks written and puts the tasks into their lanes. A disk that takes nothing is waited for:
// what was fetched stays outstanding, and so the shard's staleness says how long already.
func (s *shard) hand(ctx context.Context, app *vecstore.Appender, tasks []*task) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := app.Flush()
		if err == nil {
			break
		}
		if errors.Is(err, vecstore.ErrFailed) || errors.Is(err, vecstore.ErrClosed) {
			// The stream delivers them again.
			if len(tasks) > 0 {
				s.mark.retract(tasks[0].ticket)
			}
			return err
		}
		s.log.Error().Err(err).Dur("next_try_in", wait).Msg("the row log cannot be written; the shard stands still until it can")
		if !sleep(ctx, wait) {
			if len(tasks) > 0 {
				s.mark.retract(tasks[0].ticket)
			}
			return ctx.Err()
		}
	}
	var lanes [2][]*task
	for _, t := range tasks {
		if t.event.SpaceKey() == nil {
			if t.event.Kind == vecstore.KindDrop || t.event.Kind == vecstore.KindDefine && t.event.Definition.Generation > 1 {
				s.leave(t.event.Space, t.event.Sequence)
			}
			s.mark.complete(t.ticket) // definitions and drops have taken effect
			continue
		}
		lane := queue.Normal
		if t.high {
			lane = queue.High
		}
		lanes[lane] = append(lanes[lane], t)
	}
	for lane, ts := range lanes {
		if n := s.lanes.EnqueueBatch(queue.Lane(lane), ts); n < len(ts) {
			// The watermark's places are the lanes' capacity, so this cannot be.
			return fmt.Errorf("the %v lane of shard %d took %d of %d tasks", queue.Lane(lane), s.number, n, len(ts))
		}
	}
	s.w.pool.notify()
	return nil
}

// hole looks up why sequences from first to below next were not delivered. Where the stream has none of them any more
// they were deleted, and the shard goes on; else the delivery was lost, and the stream must be read again.
func (s *shard) hole(ctx context.Context, first, next uint64) error {
	stream, err := s.w.JetStream.Stream(ctx, bus.LogStream(s.number))
	if err != nil {
		return fmt.Errorf("looking up sequences %d to %d, which were not delivered: %w", first, next-1, err)
	}
	msg, err := stream.GetMsg(ctx, first, jetstream.WithGetMsgSubject(">"))
	if err != nil {
		return fmt.Errorf("looking up sequences %d to %d, which were not delivered: %w", first, next-1, err)
	}
	if msg.Sequence < next {
		return fmt.Errorf("sequence %d was not delivered before %d, though the stream has it", msg.Sequence, next)
	}
	if trim, err := bus.Trimmed(ctx, s.w.JetStream, s.number); err != nil {
		return err
	} else if trim.StreamCreatedAt == s.store.Load().Source().CreatedAt && trim.Through >= first {
		return fmt.Errorf("the log was trimmed through %d before sequence %d was read here", trim.Through, first)
	}
	s.log.Warn().Uint64("first", first).Uint64("last", next-1).Msg("sequences were deleted from the stream; they are not searchable here")
	return nil
}

// passage says that nothing stands in a stream between a position and a later one.
type passage struct {
	stream        bus.Identity
	applied, last uint64
}

// pass moves the position over sequences that were deleted from the end of the stream, if nothing has come since.
func (s *shard) pass(ctx context.Context, p passage) error {
	store := s.store.Load()
	if store.Source().CreatedAt != p.stream.CreatedAt.UnixNano() || s.mark.fetched() != p.applied {
		return nil
	}
	app := store.Appender()
	app.Skip(p.last)
	if err := s.hand(ctx, app, nil); err != nil {
		return err
	}
	s.log.Warn().Uint64("first", p.applied+1).Uint64("last", p.last).Msg("sequences were deleted from the stream; they are not searchable here")
	s.mark.pass(p.last)
	return nil
}

func drain(asked <-chan struct{}) {
	select {
	case <-asked:
	default:
	}
}

// quarantineMessage publishes a poison event to the quarantine and returns once it is there, or false when ctx ended.
func (s *shard) quarantineMessage(ctx context.Context, sequence uint64, subject string, data []byte, reason *wire.Error) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := s.w.quarantine(ctx, s.number, sequence, subject, data, reason)
		if err == nil {
			s.quarantined.Add(1)
			s.refused.add(sequence, reason)
			s.log.Warn().Uint64("sequence", sequence).Str("reason", string(reason.Code)).Msg("an event was quarantined: " + reason.Message)
			return true
		}
		s.log.Error().Err(err).Uint64("sequence", sequence).Msg("an event cannot be quarantined; the shard stands still until it can")
		if !sleep(ctx, wait) {
			return false
		}
	}
}

// sleep waits; false when ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
