package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/snapshot"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// extent is what a stream has, and of which incarnation it is.
type extent struct {
	src         vecstore.Source
	first, last uint64
}

// restoreFresh makes the directory of a shard that has none of the newest snapshot. Where there is no snapshot, or no store
// of them that answers, the log has everything, unless it was trimmed: see behind.
func (s *shard) restoreFresh(ctx context.Context, log extent) error {
	if s.w.snapshots == nil {
		return nil
	}
	if names, err := os.ReadDir(s.dir); len(names) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // there is something, which Open looks at
	}
	err := s.restore(ctx, s.dir, log, 0)
	switch {
	case errors.Is(err, snapshot.ErrNone):
		return nil
	case err != nil && log.first <= 1 && ctx.Err() == nil:
		s.log.Error().Err(err).Msg("no snapshot can be restored; the shard is built from the log, which has everything")
		return nil
	}
	return err
}

// restore makes a directory of the newest snapshot that can be used and is above a position.
func (s *shard) restore(ctx context.Context, dir string, log extent, above uint64) error {
	start := time.Now()
	m, err := snapshot.RestoreNewest(ctx, s.w.snapshots.store, snapshot.Wanted{
		Source: log.src, Above: above, End: log.last,
		Skipped: func(id snapshot.ID, err error) {
			s.log.Error().Err(err).Str("snapshot", id.String()).Msg("a snapshot cannot be used; an older one is tried")
		},
	}, vfs.OS(), dir, nil)
	if err != nil {
		return fmt.Errorf("restoring shard %d from %s: %w", s.number, s.w.snapshots.store, err)
	}
	s.own.Store(false)
	s.log.Info().Str("snapshot", m.ID().String()).Str("taken_by", m.Worker).Uint64("position", m.Position).Int("records", m.Records).
		Int64("bytes", m.Bytes).Dur("took", time.Since(start)).Msg("the shard's files were restored from a snapshot")
	return nil
}

// newer is behind the name of a directory that is restored to take the place of another one.
const newer = ".newer"

// overtake closes a store that is behind the beginning of its log, and puts the newest snapshot in its place, if that is
// further. It tells whether it did.
func (s *shard) overtake(ctx context.Context, store *vecstore.Shard, log extent) (bool, error) {
	if s.w.snapshots == nil || log.first <= store.Appended()+1 {
		return false, nil
	}
	// What the store has is kept until there is better.
	temp := s.dir + newer
	if err := os.RemoveAll(temp); err != nil {
		return false, fmt.Errorf("removing what an earlier restore has left: %w", err)
	}
	err := s.restore(ctx, temp, log, store.Appended())
	if errors.Is(err, snapshot.ErrNone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s.log.Warn().Uint64("position", store.Appended()).Uint64("first_sequence", log.first).
		Msg("the log begins behind this position; the shard's files are set aside, and the newest snapshot takes their place")
	if err := store.Abandon(); err != nil {
		return false, err
	}
	if err := s.setAside(); err != nil {
		return false, err
	}
	if err := os.Rename(temp, s.dir); err != nil {
		return false, fmt.Errorf("putting a restored directory into place: %w", err)
	}
	return true, vfs.OS().SyncDir(filepath.Dir(s.dir))
}

// ErrCutOff is wrapped when a log was trimmed beyond a copy of its shard, and no snapshot is there that has what is missing: the
// copy would answer without it.
var ErrCutOff = errors.New("this copy of the shard is cut off from its log")

// cutOff tells whether a log was trimmed beyond a position and there is a snapshot that is further; the error is ErrCutOff when it
// was and there is none. What was deleted in other ways is nobody's loss.
func (s *shard) cutOff(ctx context.Context, log extent, position uint64) (bool, error) {
	if log.first <= position+1 {
		return false, nil
	}
	trim, err := bus.Trimmed(ctx, s.w.JetStream, s.number)
	if err != nil || trim.StreamCreatedAt != log.src.CreatedAt || trim.Through <= position {
		return false, err
	}
	if s.w.snapshots == nil {
		return false, fmt.Errorf("%w: the log of shard %d was trimmed through %d, and this copy is at %d; set snapshot.store to where its snapshots are",
			ErrCutOff, s.number, trim.Through, position)
	}
	found, err := snapshot.Of(ctx, s.w.snapshots.store, log.src)
	if err != nil {
		return false, err
	}
	if len(found) == 0 || found[0].ID.Position < trim.Through {
		return false, fmt.Errorf("%w: the log of shard %d was trimmed through %d, this copy is at %d, and %s has no snapshot that has what is missing",
			ErrCutOff, s.number, trim.Through, position, s.w.snapshots.store)
	}
	return true, nil
}

// complete returns ErrCutOff for a position that a log was trimmed beyond, when no snapshot could be restored.
func (s *shard) complete(ctx context.Context, log extent, position uint64) error {
	behind, err := s.cutOff(ctx, log, position)
	if behind {
		err = fmt.Errorf("%w: this copy of shard %d is at %d, which its log was trimmed beyond, and the snapshots in %s that have what is missing cannot be used",
			ErrCutOff, s.number, position, s.w.snapshots.store)
	}
	return err
}

// setAside renames the shard's directory, and removes what was set aside of it long ago.
func (s *shard) setAside() error {
	aside, err := vecstore.SetAside(s.dir, time.Now())
	if err != nil {
		return err
	}
	s.log.Info().Str("set_aside_as", aside).Msg("the local files of the shard are set aside")
	removed, err := vecstore.RemoveAside(s.dir, keepAside)
	if err != nil {
		s.log.Warn().Err(err).Msg("older files that were set aside are still there")
	}
	if len(removed) > 0 {
		s.log.Info().Strs("removed", removed).Msg("files that were set aside earlier are removed")
	}
	return nil
}
