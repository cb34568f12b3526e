package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// MaxAtomicBatch is how many messages the server takes in one atomic batch.
const MaxAtomicBatch = 1000

// Server error codes that a publisher decides by.
const (
	errBatchDuplicate   jetstream.ErrorCode = 10201 // the batch holds a message id that the stream has seen
	errBatchIncomplete  jetstream.ErrorCode = 10176 // messages of the batch went missing, or it was abandoned
	errBatchesInFlight  jetstream.ErrorCode = 10210 // too many batches at once
	errIDInFlight       jetstream.ErrorCode = 10158 // a message with this id is being written just now
	errStoreFailed      jetstream.ErrorCode = 10077
	errNoResources      jetstream.ErrorCode = 10023
	errStorageResources jetstream.ErrorCode = 10047
)

// ErrStorageFull is wrapped when the stream takes no more bytes or messages.
var ErrStorageFull = errors.New("the log's storage is full")

// ErrBusy is wrapped when the server refused a write for as long as there was time: the log does not have it.
var ErrBusy = errors.New("the log was busy")

// ErrUnknownOutcome is wrapped when the deadline passed before the server said whether it has the message. A retry
// with the same id resolves it.
var ErrUnknownOutcome = errors.New("outcome unknown")

// Entry is one message for a log.
type Entry struct {
	Subject string
	// ID is the write id, sent as Nats-Msg-Id: the stream keeps one message of an id within its duplicate window.
	ID   string
	Data []byte
}

// Outcome is what became of an Entry.
type Outcome struct {
	// Sequence is the message's stream sequence; when Duplicate, that of the first try.
	Sequence  uint64
	Duplicate bool
	Err       error
}

// PublishAll appends entries to their stream, in order, and returns when each is durable there or has failed. Up to
// MaxAtomicBatch entries cost the server one commit.
//
// Where the server refuses a batch for write ids that it has seen, these get their first positions, and the rest is sent
// again as a batch (on a cluster: as several). Where the outcome of a batch stays unknown, its entries are sent one by one under the same ids, until
// ctx ends.
func PublishAll(ctx context.Context, js jetstream.JetStream, entries []Entry) []Outcome {
	out := make([]Outcome, len(entries))
	for start := 0; start < len(entries); start += MaxAtomicBatch {
		end := min(start+MaxAtomicBatch, len(entries))
		publishBatch(ctx, js, entries[start:end], out[start:end])
	}
	return out
}

func publishBatch(ctx context.Context, js jetstream.JetStream, entries []Entry, out []Outcome) {
	if len(entries) == 1 {
		out[0] = publishOne(ctx, js, entries[0])
		return
	}
	for {
		err := tryBatch(ctx, js, entries, out)
		if err == nil {
			return
		}
		var refused *jetstream.APIError
		switch {
		case !errors.As(err, &refused):
			// Nobody knows whether the server has it: ask with each message by itself.
			for i := range entries {
				out[i] = publishOne(ctx, js, entries[i])
			}
			return
		case refused.ErrorCode == errBatchDuplicate && js.Conn().ConnectedClusterName() == "":
			resolve(ctx, js, entries, out)
			return
		case refused.ErrorCode == errBatchDuplicate:
			// A replicated stream would remember the ids that resolve asks about: half by half the duplicates are found, too.
			half := len(entries) / 2
			publishBatch(ctx, js, entries[:half], out[:half])
			publishBatch(ctx, js, entries[half:], out[half:])
			return
		case refused.ErrorCode == errBatchesInFlight, refused.ErrorCode == errBatchIncomplete, refused.ErrorCode == errIDInFlight:
			if !pause(ctx, 5*time.Millisecond) {
				fail(out, fmt.Errorf("%w: %w", ErrBusy, err))
				return
			}
		default:
			fail(out, refusal(err))
			return
		}
	}
}

// batchTimeout bounds the wait for one commit, so that a lost reply is asked for again within a client's deadline.
const batchTimeout = 2 * time.Second

func tryBatch(ctx context.Context, js jetstream.JetStream, entries []Entry, out []Outcome) error {
	msgs := make([]*nats.Msg, len(entries))
	for i, e := range entries {
		msgs[i] = &nats.Msg{Subject: e.Subject, Data: e.Data, Header: nats.Header{nats.MsgIdHdr: {e.ID}}}
	}
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	ack, err := jetstreamext.PublishMsgBatch(ctx, js, msgs, jetstreamext.BatchFlowControl{AckFirst: false})
	if err != nil {
		return err
	}
	first := ack.Sequence - uint64(len(entries)) + 1
	for i := range out {
		out[i] = Outcome{Sequence: first + uint64(i)}
	}
	return nil
}

// publishOne sends one message until its outcome is known or ctx ends.
func publishOne(ctx context.Context, js jetstream.JetStream, e Entry) Outcome {
	for {
		try, cancel := context.WithTimeout(ctx, batchTimeout)
		ack, err := js.PublishMsg(try, &nats.Msg{Subject: e.Subject, Data: e.Data, Header: nats.Header{nats.MsgIdHdr: {e.ID}}})
		cancel()
		if err == nil {
			return Outcome{Sequence: ack.Sequence, Duplicate: ack.Duplicate}
		}
		var refused *jetstream.APIError
		switch {
		case errors.Is(err, nats.ErrMaxPayload):
			return Outcome{Err: err}
		case errors.As(err, &refused) && refused.ErrorCode != errIDInFlight:
			return Outcome{Err: refusal(err)}
		}
		if !pause(ctx, 50*time.Millisecond) {
			return Outcome{Err: fmt.Errorf("%w: the log did not confirm the write in time: %w", ErrUnknownOutcome, err)}
		}
	}
}

// refusal names the refusals that a caller decides by.
func refusal(err error) error {
	var refused *jetstream.APIError
	if errors.As(err, &refused) {
		switch refused.ErrorCode {
		case errStoreFailed, errNoResources, errStorageResources:
			return fmt.Errorf("%w: %w", ErrStorageFull, err)
		}
	}
	return err
}

func fail(out []Outcome, err error) {
	for i := range out {
		out[i] = Outcome{Err: err}
	}
}

// pause waits before another try, and tells whether there is time for one.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
