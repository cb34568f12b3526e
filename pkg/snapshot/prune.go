package snapshot

import (
	"context"
	"errors"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// prune removes the snapshots of a log but for the newest ones that can be read, and then the chunks that belong to none.
// The caller holds the lock.
func prune(ctx context.Context, store Store, src vecstore.Source, keep int) (removed []ID, err error) {
	blobs, err := store.List(ctx, prefixOf(src))
	if err != nil {
		return nil, err
	}
	used := map[Sum]bool{}
	later := false // one of a later version of Engram, whose chunks nobody here can tell
	kept := 0
	for _, f := range found(blobs) {
		m, err := Load(ctx, store, f)
		switch {
		case errors.Is(err, ErrVersion):
			later = true
			continue
		case errors.Is(err, ErrNotFound):
			continue
		case errors.Is(err, ErrCorrupt), errors.Is(err, ErrIdentity):
			// Of no use to anybody, it is kept for a look as long as a sound one of its age would be.
		case err != nil:
			return removed, err
		}
		if kept >= max(keep, 1) {
			if err := store.Delete(ctx, manifestName(f.Source, f.ID)); err != nil {
				return removed, err
			}
			removed = append(removed, f.ID)
			continue
		}
		if err == nil {
			kept++
			m.mark(used)
		}
	}
	if later {
		return removed, nil
	}
	for _, b := range blobs {
		if sum, ok := chunkOf(b.Name); ok && !used[sum] {
			if err := store.Delete(ctx, b.Name); err != nil {
				return removed, err
			}
		}
	}
	return removed, nil
}

// mark notes the chunks of a snapshot.
func (m *Manifest) mark(used map[Sum]bool) {
	for _, s := range m.Segments {
		for _, sum := range s.Chunks {
			used[sum] = true
		}
	}
}
