package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// Found is a snapshot by its name alone: nothing of it was read.
type Found struct {
	Source vecstore.Source
	ID     ID
}

// List returns the snapshots of all logs in a store, by shard, log and position, the newest first.
func List(ctx context.Context, store Store) ([]Found, error) { return list(ctx, store, "") }

// Of returns the snapshots of one log, the newest first.
func Of(ctx context.Context, store Store, src vecstore.Source) ([]Found, error) {
	return list(ctx, store, prefixOf(src)+manifestPrefix)
}

func list(ctx context.Context, store Store, prefix string) ([]Found, error) {
	blobs, err := store.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	return found(blobs), nil
}

func found(blobs []Blob) (all []Found) {
	for _, b := range blobs {
		if src, id, ok := parseName(b.Name); ok {
			all = append(all, Found{src, id})
		}
	}
	slices.SortFunc(all, func(a, b Found) int {
		if a.Source.Shard != b.Source.Shard {
			return int(a.Source.Shard) - int(b.Source.Shard)
		}
		return strings.Compare(manifestName(b.Source, b.ID), manifestName(a.Source, a.ID))
	})
	return all
}

// Load returns the manifest of a snapshot. Errors wrap ErrNotFound, ErrCorrupt, ErrVersion, and ErrIdentity when what is
// stored there is the snapshot of something else.
func Load(ctx context.Context, store Store, f Found) (*Manifest, error) {
	b, err := store.Get(ctx, manifestName(f.Source, f.ID))
	if err != nil {
		return nil, err
	}
	m, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("the snapshot %v of shard %d: %w", f.ID, f.Source.Shard, err)
	}
	if m.Source() != f.Source || m.ID().String() != f.ID.String() {
		return nil, fmt.Errorf("%w: it says that it is %v of %v, and stands where %v of %v should be", ErrIdentity, m.ID(), m.Source(), f.ID, f.Source)
	}
	return m, nil
}
