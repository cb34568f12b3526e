package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/importer"
	"github.com/engram-memory/engram/pkg/snapshot"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vfs"
)

// spaceRestore observes a space of a snapshot anew.
type spaceRestore struct {
	*storeFlags
	space, as string
	total     int
}

func (r *spaceRestore) run(cmd *cobra.Command) error {
	if r.as == "" {
		r.as = r.space
	}
	for _, name := range []string{r.space, r.as} {
		if err := spaceArgument(cmd, name); err != nil {
			return err
		}
	}
	if r.total < 0 || r.total > event.MaxShards || len(r.shards) > 1 {
		return misused(cmd, "--shards is a number from 1 to %d, and --space is in one shard", event.MaxShards)
	}
	if r.timeout <= 0 {
		return misused(cmd, "--timeout is %v, and must be above 0", r.timeout)
	}
	conn, err := r.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	return r.opened(cmd, conn, func(ctx context.Context, store snapshot.Store, conn *bus.Conn) error {
		return r.from(ctx, cmd, store, conn)
	})
}

// from finds the snapshot, builds the shard of it in a temporary directory, and sends the space.
func (r *spaceRestore) from(ctx context.Context, cmd *cobra.Command, store snapshot.Store, conn *bus.Conn) (err error) {
	if len(r.shards) == 0 {
		if r.total == 0 {
			t, err := bus.ReadTopology(ctx, conn.JS)
			if err != nil {
				return err
			}
			r.total = t.Shards
		}
		r.shards = []int{event.ShardOf(r.space, r.total)}
	}
	all, err := r.chosen(ctx, store)
	if err != nil {
		return fmt.Errorf("looking for shard %d, which %s is in: %w", r.shards[0], r.space, err)
	}
	m, err := snapshot.Load(ctx, store, all[0])
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "engram-restore-")
	if err != nil {
		return fmt.Errorf("making a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	dir := filepath.Join(temp, "shard")
	if err := snapshot.Restore(ctx, store, m, vfs.OS(), dir, nil); err != nil {
		return err
	}
	// Nothing is searched there, so no graph is built.
	shard, _, err := vecstore.Open(dir, m.Source(), vecstore.Options{GraphRows: 1<<32 - 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shard.Abandon()) }()
	def, ok := shard.Definition(r.space)
	if !ok {
		return fmt.Errorf("the snapshot %v of shard %d has no space %q; if it is from an Engram with another number of shards than %d, say so with --shards",
			m.ID(), m.Shard, r.space, r.total)
	}
	return r.send(ctx, cmd, conn.NC, shard, def, m)
}

func (r *spaceRestore) send(ctx context.Context, cmd *cobra.Command, nc *nats.Conn, shard *vecstore.Shard, def vecstore.Definition, m *snapshot.Manifest) error {
	if err := r.define(ctx, nc, def); err != nil {
		return err
	}
	name := fmt.Sprintf("%s of the snapshot %v of shard %d", r.space, m.ID(), m.Shard)
	return importFile(ctx, cmd, nc, &spaceSource{ctx: ctx, shard: shard, space: r.space, def: def}, importer.Config{Space: r.as, Patience: r.timeout}, name, r.json)
}

// define makes the space as it was. One that is there must have a definition that takes the observations, or it is a conflict.
func (r *spaceRestore) define(ctx context.Context, nc *nats.Conn, def vecstore.Definition) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	embedder := def.Embedder
	if embedder == "" {
		embedder = "none"
	}
	_, err := client.New(nc).Define(ctx, r.as, &api.DefineRequest{
		Dimension: &def.Dimension, Metric: api.Metric(def.Metric), Vectors: api.Vectors(def.Vectors) + api.Vectors_VECTORS_F32, Engine: def.Engine, Embedder: embedder,
	})
	if err != nil {
		return fmt.Errorf("making the space %s as the snapshot has it: %w", r.as, err)
	}
	return nil
}

// spaceSource reads the observations of a space that hold, in the order in which they were observed.
type spaceSource struct {
	ctx   context.Context
	shard *vecstore.Shard
	space string
	def   vecstore.Definition
}

// Unit implements importer.Source.
func (s *spaceSource) Unit() string { return "row" }

// Dimension implements importer.Source.
func (s *spaceSource) Dimension() int { return int(s.def.Dimension) }

// Count implements importer.Source.
func (s *spaceSource) Count() (int64, error) {
	st, ok := s.shard.Stats(s.space)
	if !ok {
		return 0, fmt.Errorf("counting the observations of %s: %w", s.space, vecstore.ErrUnknownSpace)
	}
	return int64(st.Observations), nil
}

// Close implements importer.Source.
func (s *spaceSource) Close() error { return nil }

// Records implements importer.Source.
func (s *spaceSource) Records(emit func(importer.Record) error) error {
	n := int64(0)
	return s.shard.Walk(s.ctx, s.space, vecstore.Walk{Ascending: true, At: vecstore.At{Now: time.Now()}}, func(_ *vecstore.Row, load func() (vecstore.Row, error)) (bool, error) {
		row, err := load()
		if err != nil {
			return false, err
		}
		// The record has these, and the body the rest.
		o := new(api.Observation)
		if err := proto.Unmarshal(row.Body, o); err != nil {
			return false, fmt.Errorf("observation %q of %s: %w", row.ID, s.space, err)
		}
		o.Id, o.Embedding = row.ID, &api.Embedding{Data: row.Vector, Encoding: api.Encoding_ENCODING_F32}
		n++
		return true, emit(importer.Record{Number: n - 1, Consumed: n, Observation: o})
	})
}
