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

const verifyLong = `Read every chunk of the snapshots in a store, and compare it with its hash, every record with its checksum, and how many there are with
what the manifest says. The exit code is 1 when one of them is not whole, and each that is not is printed with what is wrong.

A damaged chunk stays as it is, and so does every later snapshot that shares it, since what is there is not stored again. With --discard
damaged chunks are removed, and the next snapshot stores them anew.`

const verifyExample = `  engram verify
  engram verify --store dir:/var/backups/engram --shard 3 --rate 33554432`

func verifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify", Short: "Read snapshots and find what is damaged", Long: verifyLong, Example: verifyExample, Args: cobra.NoArgs,
	}
	s := newStoreFlags(cmd, connectionFlags(cmd, defaultTimeout))
	s.choose(cmd)
	rate := cmd.Flags().Int64("rate", 0, "bytes a second that are read, at most; 0 for no bound")
	discard := cmd.Flags().Bool("discard", false, "remove chunks that are damaged, so that the next snapshot stores them anew")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := s.check(cmd); err != nil {
			return err
		}
		if *rate < 0 {
			return misused(cmd, "--rate is %d, and cannot be negative", *rate)
		}
		return s.withStore(cmd, func(ctx context.Context, store snapshot.Store, _ *bus.Conn) error {
			return s.verify(ctx, cmd, store, snapshot.NewPace(*rate), *discard)
		})
	}
	return cmd
}

// errDamaged says that something was found; what it is, was printed.
var errDamaged = errors.New("not all snapshots are whole")

func (s *storeFlags) verify(ctx context.Context, cmd *cobra.Command, store snapshot.Store, pace *snapshot.Pace, discard bool) error {
	all, err := s.found(ctx, store)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("%s has no such snapshot", store)
	}
	bad := false
	for _, f := range all {
		start := time.Now()
		m, err := snapshot.Load(ctx, store, f)
		var v snapshot.Verified
		if err == nil {
			v, err = snapshot.Verify(ctx, store, m, pace)
		}
		if err != nil && gone(ctx, store, f) {
			continue // a newer one has taken its place meanwhile
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !errors.Is(err, snapshot.ErrCorrupt) && !errors.Is(err, snapshot.ErrVersion) && !errors.Is(err, snapshot.ErrIdentity):
			return err
		case err != nil:
			bad = true
			if err := printed(fmt.Fprintf(cmd.OutOrStdout(), "shard %d, %s: %v\n", f.Source.Shard, f.ID, err)); err != nil {
				return err
			}
			if err := discardChunks(ctx, store, m, v, discard); err != nil {
				return err
			}
			continue
		}
		err = printed(fmt.Fprintf(cmd.OutOrStdout(), "shard %d, %s: whole; %s, %s and %s bytes, in %v\n", f.Source.Shard, f.ID,
			plural(v.Chunks, "chunk"), plural(v.Records, "record"), grouped(v.Bytes), time.Since(start).Round(time.Millisecond)))
		if err != nil {
			return err
		}
	}
	if bad {
		return errDamaged
	}
	return nil
}

// gone tells whether there is no such snapshot any more.
func gone(ctx context.Context, store snapshot.Store, f snapshot.Found) bool {
	_, err := snapshot.Load(ctx, store, f)
	return errors.Is(err, snapshot.ErrNotFound)
}

func discardChunks(ctx context.Context, store snapshot.Store, m *snapshot.Manifest, v snapshot.Verified, discard bool) error {
	if !discard {
		return nil
	}
	for _, sum := range v.Damaged {
		if err := snapshot.Discard(ctx, store, m, sum); err != nil {
			return err
		}
	}
	return nil
}
