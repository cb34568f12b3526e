package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/streams"
)

// ErrAheadOfLog is wrapped by the error of a start beyond the end of the stream: the stream has lost its tail, or is
// another one. What the worker has must be set aside and rebuilt.
var ErrAheadOfLog = errors.New("the position is beyond the end of the log")

// DeleteWorkerConsumer deletes the consumer of a worker that follows a shard no more. The error wraps
// jetstream.ErrConsumerNotFound when there is none.
func DeleteWorkerConsumer(ctx context.Context, js jetstream.JetStream, shard int, worker string) error {
	cfg, err := streams.Worker(worker)
	if err != nil {
		return err
	}
	if err := js.DeleteConsumer(ctx, LogStream(shard), cfg.Durable); err != nil {
		return fmt.Errorf("deleting the consumer %s of stream %s: %w", cfg.Durable, LogStream(shard), err)
	}
	return nil
}

// EnsureWorkerConsumer returns the durable consumer of one worker for one shard, made if need be, which delivers the
// message with sequence start next, or the first one after it that exists; start 0 means 1. What an earlier run of this
// worker was given and did not acknowledge is not waited for, and its acknowledgements are forgotten: the worker's own
// record of its position counts. A consumer of that name with other settings is replaced, since it belongs to the worker.
//
// No other process may use the same worker id at the same time. The error wraps ErrAheadOfLog when start is more than one
// beyond the last sequence, and jetstream.ErrStreamNotFound when there is no such stream.
func EnsureWorkerConsumer(ctx context.Context, js jetstream.JetStream, shard int, worker string, start uint64) (jetstream.Consumer, error) {
	cfg, err := streams.Worker(worker)
	if err != nil {
		return nil, err
	}
	start = max(start, 1)
	stream := LogStream(shard)
	// Without this check such a consumer would be silent until the stream has grown to start, and nobody would ever see
	// the entries that were written before.
	_, last, _, err := StreamIdentity(ctx, js, shard)
	if err != nil {
		return nil, err
	}
	if start > last+1 {
		return nil, fmt.Errorf("%w: worker %s would start at %d of stream %s, which ends at %d", ErrAheadOfLog, worker, start, stream, last)
	}
	consumer, err := js.CreateConsumer(ctx, stream, cfg)
	if errors.Is(err, jetstream.ErrConsumerExists) {
		if err = js.DeleteConsumer(ctx, stream, cfg.Durable); err == nil || errors.Is(err, jetstream.ErrConsumerNotFound) {
			consumer, err = js.CreateConsumer(ctx, stream, cfg)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("making the consumer %s of stream %s exist: %w", cfg.Durable, stream, err)
	}
	_, err = js.ResetConsumerToSequence(ctx, stream, cfg.Durable, start)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, fmt.Errorf("resetting the consumer %s of stream %s: %w; this needs nats-server 2.14 or later", cfg.Durable, stream, err)
	}
	if err != nil {
		return nil, fmt.Errorf("resetting the consumer %s of stream %s to %d: %w", cfg.Durable, stream, start, err)
	}
	return consumer, nil
}
