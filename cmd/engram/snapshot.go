package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/snapshot"
	"github.com/engram-memory/engram/pkg/wire"
)

const snapshotLong = `Take a snapshot of each shard now, into the store that its worker is configured with (snapshot.store). Workers do so by
themselves every snapshot.interval. Recall and ingest go on meanwhile, and what an earlier snapshot has is not stored again. Where nothing
has happened since the last one there is no new one.

Older snapshots are removed but for the newest --keep. With --keep 1 only what is taken now is left: what was forgotten and erased before
is in no snapshot then.`

const snapshotExample = `  engram snapshot
  engram snapshot --shard 3 --keep 1`

func snapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "snapshot", Short: "Take snapshots of the shards now", Long: snapshotLong, Example: snapshotExample, Args: cobra.NoArgs,
	}
	s := &storeFlags{connection: connectionFlags(cmd, 10*time.Minute)}
	cmd.Flags().IntSliceVar(&s.shards, "shard", nil, "`shards` that are meant (default all)")
	keep := cmd.Flags().Uint32("keep", 0, "snapshots that are kept of each shard, this one included (default the worker's snapshot.keep)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := s.checkShards(cmd); err != nil {
			return err
		}
		if s.timeout <= 0 || s.timeout.Milliseconds() > 1<<31 {
			return misused(cmd, "--timeout is %v, and must be above 0 and below 24 days", s.timeout)
		}
		conn, err := s.connect()
		if err != nil {
			return err
		}
		defer conn.Close()
		return s.take(cmd, conn, *keep)
	}
	cmd.AddCommand(snapshotListCommand())
	return cmd
}

// take asks one copy of each shard after the other, so that a disk that they share has one to read at a time.
func (s *storeFlags) take(cmd *cobra.Command, conn *bus.Conn, keep uint32) error {
	ctx := cmd.Context()
	_, shards, err := s.shardsOf(ctx, conn)
	if err != nil {
		return err
	}
	var rows [][]string
	var failed []error
	for _, n := range shards {
		resp, err := askSnapshot(ctx, conn.NC, n, s.timeout, keep)
		if ctx.Err() != nil {
			return &interruptedError{"; a worker that has begun goes on"}
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("shard %d: %w", n, err))
			continue
		}
		if s.json {
			body, merr := protojson.Marshal(resp)
			if merr != nil {
				return fmt.Errorf("encoding the answer: %w", merr)
			}
			if err := printJSON(cmd.OutOrStdout(), body, nil); err != nil {
				return err
			}
		}
		rows = append(rows, snapshotRow(n, resp))
	}
	if !s.json && len(rows) > 0 {
		if err := printTable(cmd.OutOrStdout(), []string{"SHARD", "WORKER", "SNAPSHOT", "RECORDS", "BYTES", "STORED", "REMOVED", "TOOK"}, rows); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

func snapshotRow(shard int, r *api.SnapshotResponse) []string {
	name := r.GetSnapshot()
	switch {
	case name == "":
		name = "nothing to keep"
	case r.GetUnchanged():
		name += " (unchanged)"
	}
	return []string{
		fmt.Sprint(shard), printable(r.GetWorker()), name, grouped(r.GetRecords()), grouped(r.GetBytes()), grouped(r.GetStoredBytes()),
		grouped(len(r.GetRemoved())), milliseconds(r.GetTookMs()),
	}
}

// askSnapshot asks one copy of a shard for a snapshot.
func askSnapshot(ctx context.Context, nc *nats.Conn, shard int, timeout time.Duration, keep uint32) (*api.SnapshotResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// The other side gives up a little earlier, so that its word on it is heard.
	limit := timeout - min(timeout/10, time.Second)
	body, err := proto.Marshal(&api.SnapshotRequest{DeadlineMs: uint32(max(limit.Milliseconds(), 1)), Keep: keep})
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	msg, err := nc.RequestWithContext(ctx, bus.ShardSubject(shard, bus.VerbSnapshot), body)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, errors.New("no worker answers for it")
	}
	if err != nil {
		return nil, fmt.Errorf("asking for a snapshot: %w", err)
	}
	if msg.Header.Get(micro.ErrorCodeHeader) != "" {
		refusal := new(api.Error)
		if proto.Unmarshal(msg.Data, refusal) != nil {
			return nil, errors.New(msg.Header.Get(micro.ErrorHeader))
		}
		return nil, wire.FromProto(refusal)
	}
	resp := new(api.SnapshotResponse)
	if err := proto.Unmarshal(msg.Data, resp); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return resp, nil
}

const snapshotListLong = `List the snapshots in a store, by shard and log, the newest first. LOG is the incarnation of the log that a snapshot is of: the
epoch of the set of logs, the shard, and when its stream was made. A worker begins with snapshots of its own log alone.

Stores are the object store of NATS (bucket), a directory (dir:/path), or S3 (s3://bucket/prefix?endpoint=host:port, with the keys in
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY); only the bucket needs a NATS server.`

const snapshotListExample = `  engram snapshot list
  engram snapshot list --store dir:/var/backups/engram --shard 3`

func snapshotListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the snapshots in a store", Long: snapshotListLong, Example: snapshotListExample, Args: cobra.NoArgs,
	}
	s := newStoreFlags(cmd, connectionFlags(cmd, defaultTimeout))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := s.check(cmd); err != nil {
			return err
		}
		return s.withStore(cmd, func(ctx context.Context, store snapshot.Store, _ *bus.Conn) error { return s.list(ctx, cmd, store) })
	}
	return cmd
}

// listedSnapshot is a snapshot for programs.
type listedSnapshot struct {
	Shard    uint32    `json:"shard"`
	Log      string    `json:"log"`
	Snapshot string    `json:"snapshot"`
	Position uint64    `json:"position"`
	TakenAt  time.Time `json:"taken_at"`
	Worker   string    `json:"worker,omitempty"`
	Records  int       `json:"records"`
	Bytes    int64     `json:"bytes"`
	Spaces   int       `json:"spaces"`
	Error    string    `json:"error,omitempty"`
}

func (s *storeFlags) list(ctx context.Context, cmd *cobra.Command, store snapshot.Store) error {
	all, err := s.found(ctx, store)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, f := range all {
		l := listedSnapshot{Shard: f.Source.Shard, Log: logName(f), Snapshot: f.ID.String(), Position: f.ID.Position, TakenAt: f.ID.Taken}
		if m, err := snapshot.Load(ctx, store, f); err != nil {
			l.Error = err.Error()
		} else {
			l.Worker, l.Records, l.Bytes, l.Spaces = m.Worker, m.Records, m.Bytes, m.Spaces
		}
		if s.json {
			body, err := json.Marshal(l)
			if err != nil {
				return fmt.Errorf("encoding the answer: %w", err)
			}
			if err := printJSON(cmd.OutOrStdout(), body, nil); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []string{
			fmt.Sprint(l.Shard), l.Log, l.Snapshot, l.TakenAt.Format(time.RFC3339), printable(l.Worker), grouped(l.Records), grouped(l.Bytes), printable(l.Error),
		})
	}
	if s.json {
		return nil
	}
	return printTable(cmd.OutOrStdout(), []string{"SHARD", "LOG", "SNAPSHOT", "TAKEN", "BY", "RECORDS", "BYTES", "PROBLEM"}, rows)
}
