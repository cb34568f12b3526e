package worker

import (
	"context"
	"time"

	"github.com/engram-memory/engram/pkg/bus"
)

// checkpoints takes a checkpoint of the shard every interval until ctx ends, and acknowledges what it made durable.
func (s *shard) checkpoints(ctx context.Context) {
	tick := time.NewTicker(s.w.Config.Checkpoint)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.checkpoint()
			s.reportStore()
			s.settle(ctx)
			if s.clock.due(time.Now()) {
				s.setClock(ctx)
			}
		}
	}
}

// checkpoint makes durable what was appended, and acknowledges what is both searchable and durable.
func (s *shard) checkpoint() {
	m := s.mark.read() // before the checkpoint, which then covers it
	s.store.Load().Applied(m.applied)
	if err := s.store.Load().Checkpoint(time.Now()); err != nil {
		s.log.Error().Err(err).Msg("no checkpoint could be taken; nothing is acknowledged until one is")
		return
	}
	if m.reply == s.acked || m.reply == "" {
		return
	}
	// With AckAll this acknowledges everything up to it. A lost acknowledgement costs nothing: a later one covers it, and
	// the worker trusts its own position.
	if err := s.w.Conn.Publish(m.reply, []byte("+ACK")); err == nil {
		s.acked = m.reply
	}
}

// reportStore says so when rows cannot be linked into graphs, and when they can again; they are found all the same. And it
// says what maintenance in the background found wrong.
func (s *shard) reportStore() {
	err := s.store.Load().Linking()
	switch {
	case err != nil && !s.unlinked:
		s.log.Error().Err(err).Msg("rows cannot be linked into their graph; they are scanned until they can")
	case err == nil && s.unlinked:
		s.log.Info().Msg("rows are linked into their graph again")
	}
	s.unlinked = err != nil
	if s.store.Load().Usable() != nil {
		offer(s.refetch, struct{}{}) // the consumer begins anew with a shard that was opened again
	}
	// What is found in the background is found again with each round, until it is mended.
	if err := s.store.Load().Maintenance(); err != nil && err.Error() != s.maintenance {
		s.log.Error().Err(err).Msg("background maintenance of the shard's files")
		s.maintenance = err.Error()
	} else if err == nil {
		s.maintenance = ""
	}
}

// offer puts a value into a channel of one place, if that is free.
func offer[T any](ch chan<- T, v T) {
	select {
	case ch <- v:
	default:
	}
}

// settle asks the server how much is pending when nothing comes although something should: messages that were removed
// from the stream are never delivered, and must not count as staleness for ever; one that was lost on its way here has to
// be asked for again.
func (s *shard) settle(ctx context.Context) {
	m := s.mark.read()
	if m.outstanding > 0 || m.last <= m.applied || !s.w.Conn.IsConnected() {
		return
	}
	consumer := s.w.consumerOf(s.number)
	if consumer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	// The end of the stream first: of what the consumer then says is pending, nothing stands below it.
	id, last, _, err := bus.StreamIdentity(ctx, s.w.JetStream, s.number)
	if err != nil {
		s.log.Debug().Err(err).Msg("asking for the end of the log")
		return
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		s.log.Debug().Err(err).Msg("asking for what is pending")
		return
	}
	missed := info.Delivered.Stream > m.applied // it may be on its way just now
	removed := false
	if !missed && info.NumPending == 0 && last > m.applied {
		if removed, err = bus.Removed(ctx, s.w.JetStream, s.number, m.applied+1, last); err != nil {
			s.log.Debug().Err(err).Msg("asking for what was deleted from the log")
			return
		}
		missed = !removed // the consumer does not know of it, or not yet
	}
	switch {
	case missed && s.missed == m.applied+1:
		// It was on its way when last looked, too. The server would deliver it again only after AckWait.
		offer(s.refetch, struct{}{})
		missed = false
	case missed:
	case removed:
		offer(s.passed, passage{stream: id, applied: m.applied, last: last})
	default:
		s.mark.correct(m.applied, info.NumPending)
	}
	s.missed = 0
	if missed {
		s.missed = m.applied + 1
	}
}
