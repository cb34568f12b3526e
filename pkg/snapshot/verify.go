package snapshot

import (
	"context"
	"errors"
	"fmt"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// Verified says what was read of a snapshot.
type Verified struct {
	Chunks  int
	Bytes   int64
	Records int
	// Damaged are the chunks that are missing or not what the manifest says, each once.
	Damaged []Sum
}

// Verify reads every chunk of a snapshot and compares it with its hash, every record with its checksum, and how many there are
// with the manifest. An error wraps ErrCorrupt when the snapshot is not whole; what is damaged is all in Verified then.
func Verify(ctx context.Context, store Store, m *Manifest, pace *Pace) (out Verified, err error) {
	var errs []error
	seen := map[Sum]bool{}
	for i := range m.Segments {
		s := &m.Segments[i]
		inspector := vecstore.NewInspector(s.ID, m.Source())
		whole := true
		for n := range s.Chunks {
			if err := wait(ctx, pace, s.sizeOf(n)); err != nil {
				return out, err
			}
			b, err := s.chunk(ctx, store, m.Source(), n)
			if err != nil && !errors.Is(err, ErrCorrupt) {
				return out, err
			}
			if err != nil {
				whole = false
				if !seen[s.Chunks[n]] {
					seen[s.Chunks[n]] = true
					out.Damaged = append(out.Damaged, s.Chunks[n])
					errs = append(errs, err)
				}
				continue
			}
			out.Chunks++
			out.Bytes += int64(len(b))
			if whole {
				if _, err := inspector.Write(b); err != nil {
					whole = false
					errs = append(errs, fmt.Errorf("%w: %w", ErrCorrupt, err))
				}
			}
		}
		out.Records += inspector.Records()
		if whole {
			errs = append(errs, s.counted(inspector))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return out, fmt.Errorf("the snapshot %v of shard %d: %w", m.ID(), m.Shard, err)
	}
	return out, nil
}

// counted compares how much of a segment there was with what the manifest says.
func (s *Segment) counted(inspector *vecstore.Inspector) error {
	if err := inspector.End(vecstore.Segment{ID: s.ID, Length: s.Length, Entries: s.Entries}); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if n := inspector.Records(); n != s.Records {
		return fmt.Errorf("%w: segment %d has %d records, and the manifest says %d", ErrCorrupt, s.ID, n, s.Records)
	}
	return nil
}

// Discard removes a chunk that was found to be damaged, so that the next snapshot stores it anew. Snapshots that have it
// cannot be used without it either way.
func Discard(ctx context.Context, store Store, m *Manifest, sum Sum) error {
	return store.Delete(ctx, chunkName(m.Source(), sum))
}
