package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
)

// ErrUnknown is wrapped where there is no session of an id.
var ErrUnknown = errors.New("there is no such session")

// ErrTaken is wrapped where another gateway has written the state since it was read.
var ErrTaken = errors.New("another gateway has the session now")

// Store keeps the states of sessions. Its methods may be called concurrently.
type Store interface {
	// Load returns a state and its revision; the error wraps ErrUnknown where there is none.
	Load(ctx context.Context, id string) (*api.SessionState, uint64, error)
	// Save replaces the state of a revision, 0 for none, and returns the new one; the error wraps ErrTaken where the state
	// has another revision.
	Save(ctx context.Context, id string, state *api.SessionState, revision uint64) (uint64, error)
	// Delete removes the state of a revision.
	Delete(ctx context.Context, id string, revision uint64) error
}

// bucket is the Store in JetStream: bus.SessionsBucket holds the state of each session under its id, in protobuf.
type bucket struct{ kv jetstream.KeyValue }

// OpenStore opens the bucket, which must be there.
func OpenStore(ctx context.Context, js jetstream.JetStream) (Store, error) {
	kv, err := js.KeyValue(ctx, bus.SessionsBucket)
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s: %w", bus.SessionsBucket, err)
	}
	return bucket{kv}, nil
}

func (b bucket) Load(ctx context.Context, id string) (*api.SessionState, uint64, error) {
	e, err := b.kv.Get(ctx, id)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrInvalidKey):
		return nil, 0, fmt.Errorf("reading session %q: %w", id, ErrUnknown)
	case err != nil:
		return nil, 0, fmt.Errorf("reading session %q: %w", id, err)
	}
	state := new(api.SessionState)
	if err := proto.Unmarshal(e.Value(), state); err != nil {
		return nil, 0, fmt.Errorf("reading session %q: the bucket %s holds something else under this key: %w", id, bus.SessionsBucket, err)
	}
	return state, e.Revision(), nil
}

func (b bucket) Save(ctx context.Context, id string, state *api.SessionState, revision uint64) (uint64, error) {
	body, err := proto.Marshal(state)
	if err != nil {
		return 0, fmt.Errorf("encoding session %q: %w", id, err)
	}
	if revision == 0 {
		revision, err = b.kv.Create(ctx, id, body)
	} else {
		revision, err = b.kv.Update(ctx, id, body, revision)
	}
	switch {
	case errors.Is(err, jetstream.ErrKeyExists):
		return 0, fmt.Errorf("saving session %q: %w", id, ErrTaken)
	case err != nil:
		return 0, fmt.Errorf("saving session %q: %w", id, err)
	}
	return revision, nil
}

func (b bucket) Delete(ctx context.Context, id string, revision uint64) error {
	if err := b.kv.Delete(ctx, id, jetstream.LastRevision(revision)); err != nil {
		return fmt.Errorf("removing session %q: %w", id, err)
	}
	return nil
}
