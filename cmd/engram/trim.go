package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/snapshot"
)

const trimLong = `Remove from the log of each shard what all snapshots of it have, so that the log does not grow for ever. A worker that loses its
disk begins with a snapshot then, and reads the rest of the log.

A log is trimmed below the oldest snapshot that can be used, and never what was published less than --keep ago, nor less than the log
remembers the ids of writes for (four minutes, and one more). It is not trimmed, and the command says why, when a copy of the shard has not
read as far: one that is heard, or one that left a consumer. A worker that will never come back, or is to begin with a snapshot, is
named with --cut-off.`

const trimExample = `  engram trim --dry-run
  engram trim --store dir:/var/backups/engram --keep 72h --cut-off worker-7`

func trimCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "trim", Short: "Remove from the logs what all snapshots have", Long: trimLong, Example: trimExample, Args: cobra.NoArgs,
	}
	s := newStoreFlags(cmd, connectionFlags(cmd, time.Minute))
	keep := cmd.Flags().Duration("keep", 24*time.Hour, "for how long messages stay in the log, at least")
	cutOff := cmd.Flags().StringSlice("cut-off", nil, "`workers` that may be cut off")
	dry := cmd.Flags().Bool("dry-run", false, "only say what would be removed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := s.check(cmd); err != nil {
			return err
		}
		if *keep < 0 {
			return misused(cmd, "--keep is %v, and cannot be negative", *keep)
		}
		if s.timeout <= 0 {
			return misused(cmd, "--timeout is %v, and must be above 0", s.timeout)
		}
		conn, err := s.connect()
		if err != nil {
			return err
		}
		defer conn.Close()
		return s.opened(cmd, conn, func(ctx context.Context, store snapshot.Store, conn *bus.Conn) error {
			return s.trim(ctx, cmd, conn, snapshot.Trimmer{
				Store: store, Conn: conn.NC, JetStream: conn.JS, Keep: *keep, CutOff: *cutOff, Dry: *dry,
			})
		})
	}
	return cmd
}

func (s *storeFlags) trim(ctx context.Context, cmd *cobra.Command, conn *bus.Conn, t snapshot.Trimmer) error {
	topology, shards, err := s.shardsOf(ctx, conn)
	if err != nil {
		return err
	}
	t.Epoch = topology.Epoch
	done := "removed"
	if t.Dry {
		done = "would be removed"
	}
	var failed []error
	for _, n := range shards {
		one, cancel := context.WithTimeout(ctx, s.timeout)
		plan, err := t.Trim(one, n)
		cancel()
		if err != nil {
			failed = append(failed, err)
			continue
		}
		line := fmt.Sprintf("shard %d: nothing to remove; the log begins at %d", n, plan.First)
		if plan.Messages() > 0 {
			line = fmt.Sprintf("shard %d: %d to %d %s", n, plan.First, plan.Through, done)
		}
		if err := printed(fmt.Fprintf(cmd.OutOrStdout(), "%s (the oldest of %s is of %d; what is kept for its age begins at %d)\n", line,
			plural(plan.Snapshots, "snapshot"), plan.Covered, plan.Kept)); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}
