package snapshot

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/bus"
)

// Bucket is a store in the object store ENGRAM_SNAPSHOTS of JetStream, as far as its definition was applied: see
// streams/OBJ_ENGRAM_SNAPSHOTS.json.
type Bucket struct {
	objects jetstream.ObjectStore
	stream  jetstream.Stream
}

// objectChunk is how much of a blob goes into one message: the fewer, the fewer syncs, within the default max_payload.
const objectChunk = 512 << 10

// NewBucket opens the store; js is the caller's.
func NewBucket(ctx context.Context, js jetstream.JetStream) (*Bucket, error) {
	objects, err := js.ObjectStore(ctx, bus.SnapshotsBucket)
	if err != nil {
		return nil, fmt.Errorf("opening the object store %s: %w", bus.SnapshotsBucket, err)
	}
	stream, err := js.Stream(ctx, bus.SnapshotsStream)
	if err != nil {
		return nil, fmt.Errorf("opening the stream of the object store %s: %w", bus.SnapshotsBucket, err)
	}
	return &Bucket{objects: objects, stream: stream}, nil
}

// String returns "bucket".
func (b *Bucket) String() string { return PlaceBucket }

// Close does nothing: the connection is the caller's.
func (b *Bucket) Close() error { return nil }

// Put stores an object. It is there with its last message.
func (b *Bucket) Put(ctx context.Context, name string, data []byte) error {
	err := CheckName(name)
	if err == nil {
		_, err = b.objects.Put(ctx, jetstream.ObjectMeta{
			Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: objectChunk},
		}, bytes.NewReader(data))
	}
	if err != nil {
		return fmt.Errorf("storing %s in the object store %s: %w", name, bus.SnapshotsBucket, err)
	}
	return nil
}

// Get returns an object, which the client compares with its digest.
func (b *Bucket) Get(ctx context.Context, name string) ([]byte, error) {
	err := CheckName(name)
	var data []byte
	if err == nil {
		data, err = b.objects.GetBytes(ctx, name)
	}
	switch {
	case errors.Is(err, jetstream.ErrObjectNotFound):
		err = ErrNotFound
	case errors.Is(err, jetstream.ErrDigestMismatch):
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s from the object store %s: %w", name, bus.SnapshotsBucket, err)
	}
	return data, nil
}

// List returns objects. It goes through the names of all.
func (b *Bucket) List(ctx context.Context, prefix string) ([]Blob, error) {
	infos, err := b.objects.List(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		return nil, fmt.Errorf("listing the object store %s: %w", bus.SnapshotsBucket, err)
	}
	var all []Blob
	for _, info := range infos {
		if !info.Deleted && strings.HasPrefix(info.Name, prefix) && CheckName(info.Name) == nil {
			all = append(all, Blob{Name: info.Name, Size: int64(info.Size)})
		}
	}
	slices.SortFunc(all, func(a, b Blob) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Delete removes an object, and the note that there was one, which would stay for ever.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	err := CheckName(name)
	if err == nil {
		err = b.objects.Delete(ctx, name)
	}
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil
	}
	if err == nil {
		meta := "$O." + bus.SnapshotsBucket + ".M." + base64.URLEncoding.EncodeToString([]byte(name))
		err = b.stream.Purge(ctx, jetstream.WithPurgeSubject(meta))
	}
	if err != nil {
		return fmt.Errorf("removing %s from the object store %s: %w", name, bus.SnapshotsBucket, err)
	}
	return nil
}
