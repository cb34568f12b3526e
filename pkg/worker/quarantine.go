package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// quarantineTimeout bounds one try to reach the quarantine.
const quarantineTimeout = 5 * time.Second

// quarantineHeadroom is what a message of the quarantine needs beside the event.
const quarantineHeadroom = 16 << 10

// quarantine publishes an event that cannot be applied to the stream ENGRAM_QUARANTINE. Its position is the message id,
// so that other copies of the shard, and replays, do not make a second one of it.
func (w *Worker) quarantine(ctx context.Context, shard int, sequence uint64, subject string, data []byte, reason *wire.Error) error {
	// The event has to fit beside its reason; one that does not is cut, and its position tells where it stands whole.
	if room := max(int(w.Conn.MaxPayload())-quarantineHeadroom, 0); len(data) > room {
		data = data[:room]
	}
	position := event.Position{Epoch: w.Topology.Epoch, Shard: shard, Sequence: sequence}.String()
	body, err := proto.Marshal(&api.QuarantineEvent{
		Position: position, Subject: subject, Reason: string(reason.Code), Message: reason.Message, Data: data,
	})
	if err != nil {
		return fmt.Errorf("encoding the event at %s for the quarantine: %w", position, err)
	}
	ctx, cancel := context.WithTimeout(ctx, quarantineTimeout)
	defer cancel()
	_, err = w.JetStream.PublishMsg(ctx, &nats.Msg{
		Subject: bus.QuarantineSubject(shard), Data: body,
		Header: nats.Header{
			bus.HeaderMsgID: {position}, bus.HeaderPosition: {position}, bus.HeaderReason: {string(reason.Code)},
		},
	})
	if err != nil {
		return fmt.Errorf("publishing the event at %s to the quarantine: %w", position, err)
	}
	w.Metrics.Quarantined(string(reason.Code)).Inc()
	return nil
}

// quarantine is for a task that the index refused, whose message is no longer at hand: it is read from the stream.
func (s *shard) quarantine(ctx context.Context, t *task, reason *wire.Error) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		subject, data, err := s.message(ctx, t.event.Sequence, t.event.Space)
		if err == nil {
			return s.quarantineMessage(ctx, t.event.Sequence, subject, data, reason)
		}
		s.log.Error().Err(err).Uint64("sequence", t.event.Sequence).Msg("an event cannot be read for the quarantine; its space stands still until it can")
		if !sleep(ctx, wait) {
			return false
		}
	}
}

func (s *shard) message(ctx context.Context, sequence uint64, space string) (subject string, data []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, quarantineTimeout)
	defer cancel()
	stream, err := s.w.JetStream.Stream(ctx, bus.LogStream(s.number))
	if err != nil {
		return "", nil, err
	}
	msg, err := stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		// It was deleted since it was fetched. That it was refused is kept, under the subject that it must have had.
		return bus.LogSubject(s.number, space), nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	return msg.Subject, msg.Data, nil
}
