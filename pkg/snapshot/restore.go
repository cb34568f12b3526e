package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// Restore makes a shard's directory of a snapshot: see vecstore.Restore. Errors wrap ErrCorrupt when the snapshot is not
// whole, vecstore.ErrOccupied, and those of the store and of the disk.
func Restore(ctx context.Context, store Store, m *Manifest, fsys vfs.FS, dir string, pace *Pace) error {
	err := vecstore.Restore(fsys, dir, m.image(), func(i int, w io.Writer) error {
		return m.copySegment(ctx, store, i, w, pace)
	})
	if errors.Is(err, vecstore.ErrCorrupt) || errors.Is(err, vecstore.ErrSource) || errors.Is(err, vecstore.ErrVersion) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return fmt.Errorf("the snapshot %v of shard %d: %w", m.ID(), m.Shard, err)
	}
	return nil
}

// copySegment writes the bytes of a segment, a chunk at a time.
func (m *Manifest) copySegment(ctx context.Context, store Store, i int, w io.Writer, pace *Pace) error {
	s := &m.Segments[i]
	for n := range s.Chunks {
		if err := wait(ctx, pace, s.sizeOf(n)); err != nil {
			return err
		}
		b, err := s.chunk(ctx, store, m.Source(), n)
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// chunk returns the bytes of a chunk, which are those that the manifest names.
func (s *Segment) chunk(ctx context.Context, store Store, src vecstore.Source, n int) ([]byte, error) {
	b, err := store.Get(ctx, chunkName(src, s.Chunks[n]))
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != s.sizeOf(n) || Sum(sha256.Sum256(b)) != s.Chunks[n] {
		return nil, fmt.Errorf("%w: chunk %v has %d bytes with another hash", ErrCorrupt, s.Chunks[n], len(b))
	}
	return b, nil
}

// ErrNone is returned when there is no snapshot that can be used.
var ErrNone = errors.New("there is no snapshot that can be used")

// Wanted says which snapshot of a log can be used.
type Wanted struct {
	Source vecstore.Source
	// Above and End bound the position: it has to be above the one and not beyond the other.
	Above, End uint64
	// Skipped is told of each snapshot that cannot be used, and why.
	Skipped func(id ID, err error)
}

// RestoreNewest makes a shard's directory of the newest snapshot that is wanted and whole, and returns its manifest. The
// error is ErrNone when there is none.
func RestoreNewest(ctx context.Context, store Store, want Wanted, fsys vfs.FS, dir string, pace *Pace) (*Manifest, error) {
	all, err := Of(ctx, store, want.Source)
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		if f.ID.Position <= want.Above {
			break
		}
		if f.ID.Position > want.End {
			want.Skipped(f.ID, fmt.Errorf("%w: it is of position %d, and the log ends at %d", ErrIdentity, f.ID.Position, want.End))
			continue
		}
		m, err := Load(ctx, store, f)
		if err == nil {
			err = Restore(ctx, store, m, fsys, dir, pace)
		}
		if err == nil {
			return m, nil
		}
		if !unusable(err) {
			return nil, err
		}
		want.Skipped(f.ID, err)
	}
	return nil, ErrNone
}

// unusable tells errors of one snapshot from those of the store and of the disk, which any other one would meet, too.
func unusable(err error) bool {
	for _, of := range []error{ErrCorrupt, ErrVersion, ErrIdentity, ErrNotFound} {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}
