package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoTopology is wrapped when there is no set of logs.
var ErrNoTopology = errors.New("there is no Engram in this account of NATS")

// ReadTopology returns the topology of the set of logs that is there, and makes nothing.
func ReadTopology(ctx context.Context, js jetstream.JetStream) (Topology, error) {
	kv, err := js.KeyValue(ctx, MetaBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return Topology{}, fmt.Errorf("%w: the bucket %s is missing", ErrNoTopology, MetaBucket)
	}
	if err != nil {
		return Topology{}, explain(fmt.Errorf("opening the bucket %s: %w", MetaBucket, err))
	}
	rec, err := readRecord(ctx, kv)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Topology{}, fmt.Errorf("%w: %w", ErrNoTopology, err)
	}
	if err != nil {
		return Topology{}, err
	}
	return Topology{Epoch: rec.Epoch, Shards: rec.Shards}, nil
}

// Trim says up to where a log was trimmed, so that whoever comes to read it from its beginning knows that what is missing was
// not deleted for good, but is in a snapshot.
type Trim struct {
	// StreamCreatedAt is the incarnation of the log, Unix time in nanoseconds.
	StreamCreatedAt int64 `json:"stream_created_at"`
	// Through is the last sequence that was trimmed.
	Through uint64    `json:"through"`
	At      time.Time `json:"at"`
}

func trimKey(shard int) string { return "trimmed." + strconv.Itoa(shard) }

// Trimmed returns up to where the log of a shard was trimmed, in whichever of its incarnations; the zero Trim when it never was.
func Trimmed(ctx context.Context, js jetstream.JetStream, shard int) (t Trim, err error) {
	kv, err := js.KeyValue(ctx, MetaBucket)
	if err == nil {
		var entry jetstream.KeyValueEntry
		if entry, err = kv.Get(ctx, trimKey(shard)); err == nil {
			err = json.Unmarshal(entry.Value(), &t)
		}
	}
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Trim{}, nil
	}
	if err != nil {
		return Trim{}, fmt.Errorf("reading how far the log of shard %d was trimmed: %w", shard, err)
	}
	return t, nil
}

// TrimLog notes that the log of a shard is trimmed, and removes what it has up to t.Through. The caller knows that this is
// somewhere else.
func TrimLog(ctx context.Context, js jetstream.JetStream, shard int, t Trim) error {
	if err := noteTrim(ctx, js, shard, t); err != nil {
		return fmt.Errorf("noting that the log of shard %d is trimmed: %w", shard, err)
	}
	stream, err := js.Stream(ctx, LogStream(shard))
	if err == nil && stream.CachedInfo().Created.UnixNano() != t.StreamCreatedAt {
		err = errors.New("it was made anew just now")
	}
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSequence(t.Through+1))
	}
	if err != nil {
		return fmt.Errorf("trimming %s through %d: %w", LogStream(shard), t.Through, err)
	}
	return nil
}

// noteTrim writes the note by compare-and-set, unless one is there that says more: of two who trim at once the one who knows less must
// not have the last word.
func noteTrim(ctx context.Context, js jetstream.JetStream, shard int, t Trim) error {
	b, err := json.Marshal(&t)
	if err != nil {
		return fmt.Errorf("encoding it: %w", err)
	}
	kv, err := js.KeyValue(ctx, MetaBucket)
	if err != nil {
		return err
	}
	for {
		entry, err := kv.Get(ctx, trimKey(shard))
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			_, err = kv.Create(ctx, trimKey(shard), b)
		} else if err == nil {
			var have Trim
			if err := json.Unmarshal(entry.Value(), &have); err != nil {
				return fmt.Errorf("reading the one before: %w", err)
			}
			if have.StreamCreatedAt == t.StreamCreatedAt && have.Through >= t.Through {
				return nil
			}
			_, err = kv.Update(ctx, trimKey(shard), b, entry.Revision())
		}
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return err
		}
	}
}
