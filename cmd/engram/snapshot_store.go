package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/snapshot"
)

// storeFlags are where a command finds snapshots, and which of them it means.
type storeFlags struct {
	*connection
	place, log, id string
	shards         []int
}

func newStoreFlags(cmd *cobra.Command, c *connection) *storeFlags {
	s := &storeFlags{connection: c}
	fs := cmd.Flags()
	fs.StringVar(&s.place, "store", snapshot.PlaceBucket, "where the snapshots are: "+snapshot.Usage)
	fs.IntSliceVar(&s.shards, "shard", nil, "`shards` that are meant (default all)")
	return s
}

// choose declares the flags that tell one snapshot of a shard from the others.
func (s *storeFlags) choose(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.log, "log", "", "the log that the snapshots are of, as \"engram snapshot list\" prints it: needed where there are several of one shard")
	cmd.Flags().StringVar(&s.id, "snapshot", "", "the snapshot, by its name (default the newest of each shard)")
}

func (s *storeFlags) check(cmd *cobra.Command) error {
	if err := snapshot.CheckPlace(s.place); err != nil {
		return misused(cmd, "--store: %w", err)
	}
	if err := s.checkShards(cmd); err != nil {
		return err
	}
	if s.id != "" {
		if _, err := snapshot.ParseID(s.id); err != nil {
			return misused(cmd, "--snapshot: %w", err)
		}
	}
	return nil
}

func (s *storeFlags) checkShards(cmd *cobra.Command) error {
	for _, n := range s.shards {
		if n < 0 || n >= event.MaxShards {
			return misused(cmd, "--shard is %d; shards are numbered from 0 to %d", n, event.MaxShards-1)
		}
	}
	return nil
}

func (s *storeFlags) means(shard uint32) bool {
	return len(s.shards) == 0 || slices.Contains(s.shards, int(shard))
}

// withStore opens the store, for the bucket over a connection, and closes it. Without a timeout of its own a command goes on as
// long as it takes.
func (s *storeFlags) withStore(cmd *cobra.Command, use func(ctx context.Context, store snapshot.Store, conn *bus.Conn) error) error {
	var conn *bus.Conn
	if s.place == snapshot.PlaceBucket {
		var err error
		if conn, err = s.connect(); err != nil {
			return err
		}
		defer conn.Close()
	}
	return s.opened(cmd, conn, use)
}

// opened is withStore over a connection that is there, nil for none.
func (s *storeFlags) opened(cmd *cobra.Command, conn *bus.Conn, use func(ctx context.Context, store snapshot.Store, conn *bus.Conn) error) (err error) {
	ctx := cmd.Context()
	var store snapshot.Store
	own := "cli-" + strconv.Itoa(os.Getpid())
	if conn == nil {
		store, err = snapshot.Open(ctx, s.place, own, nil)
	} else {
		store, err = snapshot.Open(ctx, s.place, own, conn.JS)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err = use(ctx, store, conn); err != nil && ctx.Err() != nil {
		return &interruptedError{}
	}
	return err
}

// logName is a log as lists print it and --log takes it.
func logName(f snapshot.Found) string {
	return fmt.Sprintf("%s/%d/%d", f.Source.Epoch, f.Source.Shard, f.Source.CreatedAt)
}

// found lists the snapshots that are meant, the newest of each log first.
func (s *storeFlags) found(ctx context.Context, store snapshot.Store) ([]snapshot.Found, error) {
	all, err := snapshot.List(ctx, store)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(f snapshot.Found) bool {
		return !s.means(f.Source.Shard) || s.log != "" && logName(f) != s.log || s.id != "" && f.ID.String() != s.id
	}), nil
}

// chosen returns one snapshot of each shard that is meant, the newest or the one that is named. Where there are several logs of
// one shard it is not told by time which one is meant: one of them may be that of another Engram.
func (s *storeFlags) chosen(ctx context.Context, store snapshot.Store) ([]snapshot.Found, error) {
	all, err := s.found(ctx, store)
	if err != nil {
		return nil, err
	}
	var one []snapshot.Found
	for _, f := range all {
		i := slices.IndexFunc(one, func(o snapshot.Found) bool { return o.Source.Shard == f.Source.Shard })
		switch {
		case i < 0:
			one = append(one, f)
		case one[i].Source != f.Source:
			return nil, fmt.Errorf("%s has snapshots of two logs of shard %d, %s and %s; name one with --log", store, f.Source.Shard, logName(one[i]), logName(f))
		}
	}
	if len(one) == 0 {
		return nil, fmt.Errorf("%s has no such snapshot; \"engram snapshot list\" shows those that are there", store)
	}
	return one, nil
}

// shardsOf returns the shards that a command asks about: those of its flags, or all of the Engram.
func (s *storeFlags) shardsOf(ctx context.Context, conn *bus.Conn) (bus.Topology, []int, error) {
	t, err := bus.ReadTopology(ctx, conn.JS)
	if err != nil {
		return t, nil, err
	}
	if len(s.shards) == 0 {
		all := make([]int, t.Shards)
		for n := range all {
			all[n] = n
		}
		return t, all, nil
	}
	for _, n := range s.shards {
		if n >= t.Shards {
			return t, nil, fmt.Errorf("there is no shard %d; shards are numbered from 0 to %d", n, t.Shards-1)
		}
	}
	return t, s.shards, nil
}
