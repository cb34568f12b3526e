package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Identity tells one incarnation of a shard's stream from another that was made later under the same name, whose
// sequences mean something else. It is comparable by Equal, and by its text.
type Identity struct {
	// CreatedAt is when the server made the stream, with nanoseconds, in UTC. It is the same from every server of a
	// cluster, after restarts, and after changes of the stream's settings.
	CreatedAt time.Time
}

// Equal says whether both name the same incarnation.
func (i Identity) Equal(other Identity) bool { return i.CreatedAt.Equal(other.CreatedAt) }

// IsZero says whether it names none: that of a checkpoint that was never written.
func (i Identity) IsZero() bool { return i.CreatedAt.IsZero() }

// String returns the time in RFC 3339, in UTC.
func (i Identity) String() string { return i.CreatedAt.UTC().Format(time.RFC3339Nano) }

// StreamIdentity returns the identity of a shard's stream, its last sequence (0 when nothing was ever written), and the
// first sequence that it still has; of an empty stream that is last + 1. The error wraps jetstream.ErrStreamNotFound when
// there is no such stream.
func StreamIdentity(ctx context.Context, js jetstream.JetStream, shard int) (id Identity, last, first uint64, err error) {
	stream, err := js.Stream(ctx, LogStream(shard))
	if err != nil {
		return Identity{}, 0, 0, explain(fmt.Errorf("looking at the stream %s: %w", LogStream(shard), err))
	}
	info := stream.CachedInfo()
	last, first = info.State.LastSeq, info.State.FirstSeq
	if info.State.Msgs == 0 {
		// The server says 0 or last + 1, depending on whether there ever was a message.
		first = last + 1
	}
	return Identity{CreatedAt: info.Created.UTC()}, last, first, nil
}

// ServerTime returns what the clock says on the server that leads a shard's stream, and gives its entries their times.
func ServerTime(ctx context.Context, js jetstream.JetStream, shard int) (time.Time, error) {
	stream, err := js.Stream(ctx, LogStream(shard))
	if err != nil {
		return time.Time{}, explain(fmt.Errorf("asking for the time of the server of %s: %w", LogStream(shard), err))
	}
	return stream.CachedInfo().TimeStamp, nil
}

// Removed says whether a shard's stream has nothing, as its leader knows it, from one sequence to another, both included: all of it
// was deleted, or purged. It is false for what lies beyond the end of the stream. What a consumer says of itself is not enough
// for that: after a reset on a cluster it may say for a while that nothing is pending.
func Removed(ctx context.Context, js jetstream.JetStream, shard int, from, to uint64) (bool, error) {
	stream, err := js.Stream(ctx, LogStream(shard))
	if err != nil {
		return false, explain(fmt.Errorf("looking at the stream %s: %w", LogStream(shard), err))
	}
	info, err := stream.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return false, fmt.Errorf("asking what was deleted from the stream %s: %w", LogStream(shard), err)
	}
	state := info.State
	if to > state.LastSeq {
		return false, nil
	}
	if state.Msgs == 0 {
		return true, nil
	}
	gone := map[uint64]bool{}
	for _, n := range state.Deleted {
		gone[n] = true
	}
	for n := max(from, state.FirstSeq); n <= to; n++ {
		if !gone[n] {
			return false, nil
		}
	}
	return true, nil
}
