package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/dirlock"
	"github.com/engram-memory/engram/pkg/snapshot"
	"github.com/engram-memory/engram/pkg/vfs"
)

const restoreLong = `Restore from snapshots, in one of two ways.

With --dir, the directories of shards in that of a worker which does not run: shard-<n> for each shard. What is there already is left
alone, and refused. The worker reads the rest of the log when it starts; if the snapshot is of another log than it finds, it sets the
directory aside. A worker with snapshot.store does all this by itself.

With --space, the observations of one space, which are observed anew in the Engram at --server, in a space of the same name or of that
of --as, with their ids, times and metadata. This is how a space comes into another cluster or under another name, and how it is
saved when its log is lost. The space is made with the definition that the snapshot has, if it is not there. What was replaced, forgotten or
had expired when the snapshot was taken is left out, and so are ids that are in the space already, so that the same command goes on
where it was broken off. What was forgotten after the snapshot was taken COMES BACK: forget it again. The shard is built in a temporary
directory (TMPDIR) for it.`

const restoreExample = `  engram restore --store dir:/var/backups/engram --dir engram-data/worker --shard 3
  engram restore --store s3://backups/engram?endpoint=minio:9000 --space notes --as notes-2025`

func restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restore", Short: "Restore shards, or a space, from snapshots", Long: restoreLong, Example: restoreExample, Args: cobra.NoArgs,
	}
	s := newStoreFlags(cmd, connectionFlags(cmd, 30*time.Second))
	s.choose(cmd)
	fs := cmd.Flags()
	dir := fs.String("dir", "", "`directory` of a worker, to restore shards in")
	r := &spaceRestore{storeFlags: s}
	fs.StringVar(&r.space, "space", "", "`name` of the space to restore")
	fs.StringVar(&r.as, "as", "", "`name` of the space to restore it as (default its own)")
	fs.IntVar(&r.total, "shards", 0, "number of shards of the Engram that the snapshot is from (default that of the one at --server)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := s.check(cmd); err != nil {
			return err
		}
		if (*dir == "") == (r.space == "") {
			return misused(cmd, "give either --dir, for shards of a worker, or --space")
		}
		if *dir == "" {
			return r.run(cmd)
		}
		if r.as != "" || r.total != 0 {
			return misused(cmd, "--as and --shards go with --space")
		}
		return s.withStore(cmd, func(ctx context.Context, store snapshot.Store, _ *bus.Conn) error {
			return s.restore(ctx, cmd, store, *dir)
		})
	}
	return cmd
}

// restore makes the directories of shards in that of a worker.
func (s *storeFlags) restore(ctx context.Context, cmd *cobra.Command, store snapshot.Store, dir string) (err error) {
	lock, err := dirlock.Acquire(filepath.Join(dir, "LOCK"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	all, err := s.chosen(ctx, store)
	if err != nil {
		return err
	}
	for _, f := range all {
		start := time.Now()
		m, err := snapshot.Load(ctx, store, f)
		if err == nil {
			err = snapshot.Restore(ctx, store, m, vfs.OS(), filepath.Join(dir, "shard-"+strconv.Itoa(int(m.Shard))), nil)
		}
		if err != nil {
			return err
		}
		err = printed(fmt.Fprintf(cmd.OutOrStdout(), "shard %d: restored at %d of the log %s, %s and %s bytes, in %v\n", m.Shard, m.Position, logName(f),
			plural(m.Records, "record"), grouped(m.Bytes), time.Since(start).Round(time.Millisecond)))
		if err != nil {
			return err
		}
	}
	return nil
}
