package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/engram-memory/engram/pkg/membership"
	"github.com/engram-memory/engram/pkg/snapshot"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// SnapshotConfig says where snapshots of the shards go and come from.
type SnapshotConfig struct {
	Store    string        `yaml:"store" usage:"where snapshots of the shards go, and where a shard without files begins from: bucket, dir:/path, or s3://bucket/prefix?endpoint=host:port; empty for nowhere"`
	Interval time.Duration `yaml:"interval" default:"15m" usage:"time from one snapshot of a shard to the next; 0 for those alone that somebody asks for"`
	Keep     int           `yaml:"keep" default:"2" usage:"snapshots that are kept of each shard, the newest ones"`
	Rate     int64         `yaml:"rate" default:"67108864" usage:"bytes a second that are read for snapshots, at most, of all shards together; 0 for no bound"`
	Trim     bool          `yaml:"trim" default:"false" usage:"after each snapshot, remove from the log what all snapshots have, as engram trim does"`
	Shared   bool          `yaml:"shared" default:"false" usage:"the directory of a dir: store is the same one for all workers, on storage that they share: without that it is not trimmed for"`
	TrimKeep time.Duration `yaml:"trim_keep" default:"24h" usage:"for how long messages stay in the log, at least, when it is trimmed"`
}

// DefaultSnapshotConfig returns the defaults: no snapshots.
func DefaultSnapshotConfig() SnapshotConfig {
	return SnapshotConfig{Interval: 15 * time.Minute, Keep: 2, Rate: 64 << 20, TrimKeep: 24 * time.Hour}
}

// minSnapshotInterval is far above what it takes to find out that nothing is new.
const minSnapshotInterval = time.Second

func (c *SnapshotConfig) validate(check func(ok bool, format string, args ...any)) {
	if c.Store == "" {
		return
	}
	err := snapshot.CheckPlace(c.Store)
	check(err == nil, "snapshot.store: %v", err)
	check(c.Interval == 0 || c.Interval >= minSnapshotInterval, "snapshot.interval is %v; it can be 0 or at least %v", c.Interval, minSnapshotInterval)
	check(c.Keep >= 1 && c.Keep <= 1000, "snapshot.keep is %d; it can be 1 to 1000", c.Keep)
	check(!c.Trim || c.Shared || !strings.HasPrefix(c.Store, snapshot.SchemeDir), "snapshot.trim is set and snapshot.store is %s: with the disk of this worker all that was trimmed would be lost; "+
		"say snapshot.shared where all workers have that directory, or use a bucket", c.Store)
	check(c.TrimKeep >= 0, "snapshot.trim_keep is %v; it cannot be negative", c.TrimKeep)
	check(c.Rate >= 0, "snapshot.rate is %d; it cannot be negative", c.Rate)
}

// snapshots is what a worker with a store of snapshots has for it.
type snapshots struct {
	store snapshot.Store
	pace  *snapshot.Pace
}

// openSnapshots opens the store, if there is to be one.
func openSnapshots(ctx context.Context, opt *Options) (*snapshots, error) {
	cfg := &opt.Config.Snapshot
	if cfg.Store == "" {
		return nil, nil
	}
	store, err := snapshot.Open(ctx, cfg.Store, opt.Config.Name, opt.JetStream)
	if err != nil {
		return nil, err
	}
	return &snapshots{store: store, pace: snapshot.NewPace(cfg.Rate)}, nil
}

func (s *snapshots) close() error {
	if s == nil {
		return nil
	}
	return s.store.Close()
}

// takeSnapshots takes a snapshot of the shard every interval until ctx ends, if it is this copy's to do so. The shards of a
// process begin at different moments.
func (s *shard) takeSnapshots(ctx context.Context) {
	cfg := &s.w.Config.Snapshot
	if s.w.snapshots == nil || cfg.Interval == 0 {
		return
	}
	wait := cfg.Interval / time.Duration(s.w.Topology.Shards+1) * time.Duration(s.number+1)
	for sleep(ctx, wait) {
		if wait = cfg.Interval; s.w.Group != nil && !takesSnapshots(s.w.Config.Name, s.number, s.w.Group.View()) {
			continue
		}
		_, err := s.snapshot(ctx, cfg.Keep)
		if err == nil && cfg.Trim {
			s.trim(ctx)
		}
		switch {
		case err == nil, errors.Is(err, vecstore.ErrNothing), ctx.Err() != nil:
		case errors.Is(err, snapshot.ErrBusy):
			s.log.Info().Err(err).Msg("no snapshot is taken now")
		default:
			s.log.Error().Err(err).Dur("next_try_in", wait).Msg("no snapshot could be taken")
		}
	}
}

// trim removes from the log what all snapshots have.
func (s *shard) trim(ctx context.Context) {
	t := snapshot.Trimmer{
		Store: s.w.snapshots.store, Conn: s.w.Conn, JetStream: s.w.JetStream, Epoch: s.w.Topology.Epoch, Keep: s.w.Config.Snapshot.TrimKeep,
	}
	plan, err := t.Trim(ctx, s.number)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.log.Warn().Err(err).Msg("the log is not trimmed now")
	case plan.Messages() > 0:
		s.log.Info().Uint64("first", plan.First).Uint64("through", plan.Through).Int("snapshots", plan.Snapshots).Msg("the log was trimmed")
	}
}

// takesSnapshots tells whether of the workers that answer for a shard this one takes its snapshots: one copy is enough. Two that
// see each other differently for a moment are kept apart by a lock.
func takesSnapshots(worker string, shard int, view membership.View) bool {
	servers := view.Servers(shard)
	return len(servers) > 0 && servers[0] == worker
}

// errReplaced: the store was replaced while a snapshot of it was taken.
var errReplaced = errors.New("the shard's files were opened anew meanwhile")

// snapshot takes one, or finds that nothing is new, and keeps so many.
func (s *shard) snapshot(ctx context.Context, keep int) (taken snapshot.Taken, err error) {
	select {
	case s.snapshotting <- struct{}{}:
		defer func() { <-s.snapshotting }()
	case <-ctx.Done():
		return taken, ctx.Err()
	}
	start := time.Now()
	defer func() { s.countSnapshot(&taken, err, time.Since(start)) }()
	store := s.store.Load()
	export, err := store.Export(start)
	if err != nil {
		return taken, fmt.Errorf("taking a snapshot of shard %d: %w", s.number, err)
	}
	defer func() { err = errors.Join(err, export.Close()) }()
	return snapshot.Take(ctx, s.w.snapshots.store, export, snapshot.Options{
		Worker: s.w.Config.Name, Keep: keep, Pace: s.w.snapshots.pace,
		Applied: func(ctx context.Context, position uint64) error {
			if err := s.mark.await(ctx, position); err != nil {
				return err
			}
			if s.store.Load() != store {
				return errReplaced
			}
			return nil
		},
	})
}

// countSnapshot says what came of taking a snapshot.
func (s *shard) countSnapshot(taken *snapshot.Taken, err error, took time.Duration) {
	m := s.w.Metrics
	m.SnapshotBytes.Add(float64(taken.Bytes))
	if taken.Manifest != nil {
		m.Snapshot(s.number, taken.Position, taken.TakenAt)
	}
	switch {
	case errors.Is(err, snapshot.ErrBusy), errors.Is(err, vecstore.ErrNothing), errors.Is(err, context.Canceled):
	case err != nil:
		m.SnapshotFailures.Inc()
	case !taken.Unchanged:
		s.log.Info().Str("snapshot", taken.ID().String()).Uint64("position", taken.Position).Int64("bytes", taken.Manifest.Bytes).
			Int64("stored_bytes", taken.Bytes).Int("stored_chunks", taken.Chunks).Int("known_chunks", taken.Known).
			Int("removed", len(taken.Removed)).Dur("took", took).Msg("a snapshot was taken")
	}
}
