package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/streams"
)

// ErrShards is wrapped by the error of a number of shards that is not the one the set of logs was made with.
var ErrShards = errors.New("the number of shards cannot change")

// TopologyConfig is what the caller wants of the set of logs.
type TopologyConfig struct {
	// Shards is the number of logs, 1 to event.MaxShards. Default, 0: the number that exists, or event.DefaultShards
	// for a new set. Another number than the one that exists is an error.
	Shards int
	// Replicas is the number of servers that have a copy of each stream that is made, 1 to 5. Default, 0: what the
	// definitions have, which is 1, and whatever an existing stream has is right.
	Replicas int
}

// Topology is what can never change for one set of logs.
type Topology struct {
	// Epoch names the incarnation of the set of logs, in every position. 10 of a-z and 2-7.
	Epoch string
	// Shards is the number of logs.
	Shards int
}

// EnsureTopology makes the streams and buckets of Engram exist, and returns the topology they have. It may run at the
// same time in any number of daemons, and again at any time: all get the same topology. What exists with other settings
// than its definition is left as it is and returned as differences; they are no error. An error wraps ErrShards when
// want.Shards is not what exists; nothing has been created then, unless another daemon with another number of shards made
// a new set in the same moment.
func EnsureTopology(ctx context.Context, js jetstream.JetStream, want TopologyConfig) (Topology, []Difference, error) {
	if want.Shards < 0 || want.Shards > event.MaxShards {
		return Topology{}, nil, fmt.Errorf("%d shards are configured, want 1 to %d, or 0 for what exists", want.Shards, event.MaxShards)
	}
	if want.Replicas < 0 || want.Replicas > 5 {
		return Topology{}, nil, fmt.Errorf("%d replicas are configured, want 1 to 5, or 0 for the default", want.Replicas)
	}
	e := ensurer{js: js, replicas: want.Replicas}
	if err := e.ensure(ctx, streams.Meta); err != nil {
		return Topology{}, nil, err
	}
	kv, err := js.KeyValue(ctx, MetaBucket)
	if err != nil {
		return Topology{}, nil, fmt.Errorf("opening the bucket %s: %w", MetaBucket, err)
	}
	rec, err := readRecord(ctx, kv)
	isNew := errors.Is(err, jetstream.ErrKeyNotFound)
	switch {
	case isNew:
		rec.Shards = want.Shards
		if rec.Shards == 0 {
			rec.Shards = event.DefaultShards
		}
	case err != nil:
		return Topology{}, nil, err
	default:
		if err := checkShards(want.Shards, rec); err != nil {
			return Topology{}, nil, err
		}
	}
	// The record is written after the streams: where there is a record and not a stream, the stream has been lost.
	if err := e.ensureAll(ctx, rec); err != nil {
		return Topology{}, nil, err
	}
	if isNew {
		if rec, err = agreeOnRecord(ctx, kv, rec.Shards); err != nil {
			return Topology{}, nil, err
		}
		if err := checkShards(want.Shards, rec); err != nil {
			return Topology{}, nil, err
		}
	}
	return Topology{Epoch: rec.Epoch, Shards: rec.Shards}, e.differences, nil
}

func checkShards(want int, rec record) error {
	if want == 0 || want == rec.Shards {
		return nil
	}
	return fmt.Errorf("%w: %d are configured, and the logs of epoch %s have been made with %d, on which the shard of every space "+
		"depends; configure %d, or 0, or use another NATS account for a new set", ErrShards, want, rec.Epoch, rec.Shards, rec.Shards)
}

// ensurer collects the differences of one run.
type ensurer struct {
	js          jetstream.JetStream
	replicas    int
	differences []Difference
}

func (e *ensurer) ensureAll(ctx context.Context, rec record) error {
	if err := e.ensure(ctx, streams.Spaces); err != nil {
		return err
	}
	if err := e.ensure(ctx, streams.Sessions); err != nil {
		return err
	}
	if err := e.ensure(ctx, streams.Members); err != nil {
		return err
	}
	if err := e.ensure(ctx, streams.Snapshots); err != nil {
		return err
	}
	if err := e.ensure(ctx, streams.Quarantine); err != nil {
		return err
	}
	for shard := range rec.Shards {
		made, err := e.ensureStream(ctx, func() (jetstream.StreamConfig, error) { return streams.Log(shard) })
		if err != nil {
			return err
		}
		if made && rec.Epoch != "" {
			e.differences = append(e.differences, Difference{
				Stream: LogStream(shard), Field: "stream",
				Want: "there since " + rec.CreatedAt.Format(time.RFC3339),
				Have: "gone, and has been made again without its entries",
			})
		}
	}
	return nil
}

func (e *ensurer) ensure(ctx context.Context, definition func() (jetstream.StreamConfig, error)) error {
	_, err := e.ensureStream(ctx, definition)
	return err
}

// ensureStream creates a stream, or compares the one that exists. It says whether the stream was not there when it looked.
func (e *ensurer) ensureStream(ctx context.Context, definition func() (jetstream.StreamConfig, error)) (made bool, err error) {
	want, err := definition()
	if err != nil {
		return false, err
	}
	if e.replicas > 0 {
		want.Replicas = e.replicas
	}
	stream, err := e.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		made = true
		stream, err = e.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			// Someone else made it since we looked, with other settings.
			stream, err = e.js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return made, explain(fmt.Errorf("making the stream %s exist: %w", want.Name, err))
	}
	found, err := compare(want, stream.CachedInfo().Config, e.replicas > 0)
	e.differences = append(e.differences, found...)
	return made, err
}

// explain adds to an error of the JetStream API what to do about it, where that is known.
func explain(err error) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled),
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w; start the server with JetStream (nats-server -js), or use an account that has it", err)
	case errors.As(err, &api) && api.ErrorCode == errCodeInsufficientResources:
		return fmt.Errorf("%w; the server must have room for the max_bytes of every stream, 1 GiB for the quarantine: within its max_file_store, or, "+
			"where that is not set, within three quarters of what its disk has free at its start", err)
	}
	return err
}

// errCodeInsufficientResources is JSStorageResourcesExceededErr of the server.
const errCodeInsufficientResources jetstream.ErrorCode = 10047
