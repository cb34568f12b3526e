package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/vecstore/rows"
	"github.com/engram-memory/engram/pkg/wire"
)

// Sought is what was forgotten, and is looked for in snapshots.
type Sought struct {
	// Epoch and Shard name the log in whichever of its incarnations, and CreatedAt the one that Sequence is of.
	Epoch     string
	Shard     uint32
	CreatedAt int64
	Space     string
	// IDs are what is looked for in the space, or All of it.
	IDs []string
	All bool
	// Sequence is that of the forget: what stands behind it in the same log is not meant.
	Sequence uint64
}

// Seen says what was looked at.
type Seen struct {
	Snapshots int
	Records   int
	Bytes     int64
	// Found counts the observations in snapshots that were sought.
	Found uint64
	// Holding are the snapshots that have any.
	Holding []ID
}

// Look reads the snapshots of a shard for what was forgotten. The error is that of a snapshot that cannot be read, in which it
// may be.
func Look(ctx context.Context, store Store, sought Sought, pace *Pace) (Seen, error) {
	var out Seen
	all, err := List(ctx, store)
	if err != nil {
		return out, err
	}
	var errs []error
	for _, f := range all {
		if f.Source.Epoch != sought.Epoch || f.Source.Shard != sought.Shard {
			continue
		}
		m, err := Load(ctx, store, f)
		if errors.Is(err, ErrNotFound) {
			continue // a newer one has taken its place
		}
		before := out.Found
		if err == nil {
			out.Snapshots++
			err = look(ctx, store, m, &sought, &out, pace)
		}
		if out.Found > before {
			out.Holding = append(out.Holding, f.ID)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("looking into the snapshot %v: %w", f.ID, err))
		}
	}
	return out, errors.Join(errs...)
}

func look(ctx context.Context, store Store, m *Manifest, sought *Sought, out *Seen, pace *Pace) error {
	spaces := map[uint32]bool{} // those of the name, by their numbers
	visit := func(rec *rows.Record, _ int64, raw []byte) error {
		switch rec.Kind {
		case rows.KindDefine:
			d, err := rows.ParseDefinition(rec.Body)
			if err != nil {
				return err
			}
			spaces[rec.Space] = d.Name == sought.Space
		case rows.KindObserve:
			if !spaces[rec.Space] {
				return nil
			}
			out.Records++
			out.Bytes += int64(len(raw))
			if m.StreamCreatedAt == sought.CreatedAt && rec.Sequence > sought.Sequence {
				return nil
			}
			if sought.All || slices.Contains(sought.IDs, string(rec.ID)) {
				out.Found++
			}
		}
		return nil
	}
	for i := range m.Segments {
		if err := m.copySegment(ctx, store, i, rows.NewInspector(m.Segments[i].ID, m.Source(), visit), pace); err != nil {
			return err
		}
	}
	return nil
}

// Looked says it in an answer to a request to prove that something is forgotten. holder is where the store is known; err is that of
// Look.
func (s Seen) Looked(holder string, err error) *api.Looked {
	l := &api.Looked{Place: "snapshots", Holder: holder, Items: uint64(s.Records), Bytes: uint64(s.Bytes), Found: s.Found}
	switch {
	case err != nil:
		l.Error = wire.Errorf(wire.CodeUnavailable, "", "not all snapshots could be looked into: %v", err).Proto()
	case s.Found > 0:
		l.Note = fmt.Sprintf("%d of %d snapshots hold it; \"engram snapshot --keep 1\" takes one without it and removes them", len(s.Holding), s.Snapshots)
	case s.Snapshots == 0:
		l.Note = "there are none"
	}
	return l
}
