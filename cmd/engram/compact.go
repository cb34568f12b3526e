package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/wire"
)

const compactLong = `Reclaim now what nobody can read any more in a space: observations that were replaced, forgotten or have expired longer ago
than the worker's index.keep_versions. Workers do so by themselves sooner or later; recall and ingest go on meanwhile.

All copies of the space's shard are compacted, and each has a line: its rows, and the bytes of its row log, which the
spaces of a shard share. Where one of them failed the others are printed all the same, and the exit code is 1.

The workers do it, and go on when this command ends first, by Ctrl-C for instance, until they are done or --timeout has
passed. What is reclaimed by then stays reclaimed.`

const compactExample = `  engram compact notes
  engram compact notes --timeout 1h --json | jq '.copies[].rows_reclaimed'`

func compactCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "compact SPACE", Short: "Reclaim what nobody can read any more in a space", Long: compactLong, Example: compactExample, Args: cobra.ExactArgs(1),
	}
	c := connectionFlags(cmd, wire.DefaultCompactLimit)
	erase := cmd.Flags().Bool("erase", false, "keep nothing for reads of the past, which are \"gone\" from then on")
	cmd.ValidArgsFunction = c.completeSpace
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := spaceArgument(cmd, args[0]); err != nil {
			return err
		}
		if c.timeout.Milliseconds() > 1<<31 {
			return misused(cmd, "--timeout is %v, which cannot be waited for", c.timeout)
		}
		return c.with(cmd, func(ctx context.Context, nc *nats.Conn) error {
			// The other side gives up a little earlier, so that its word on it is heard.
			limit := c.timeout - min(c.timeout/10, time.Second)
			resp, err := askToCompact(ctx, nc, args[0], limit, *erase)
			if err != nil {
				return unfinished(cmd.Context(), args[0], c.timeout, err)
			}
			if c.json {
				body, refused := wire.EncodeCompact(wire.JSON, resp)
				err = printJSON(cmd.OutOrStdout(), body, refused)
			} else {
				err = printCompacted(cmd, resp)
			}
			if err != nil {
				return err
			}
			return failedCopy(resp)
		})
	}
	return cmd
}

// errLost is why nothing more is heard of a compaction.
var errLost = errors.New("the connection to NATS is lost")

// askToCompact also ends when the connection is lost: the client would wait for another server until the end of ctx, and
// what was answered meanwhile has gone nowhere.
func askToCompact(ctx context.Context, nc *nats.Conn, space string, limit time.Duration, erase bool) (*api.CompactResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lost := nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer nc.RemoveStatusListener(lost)
	go func() {
		select {
		case <-lost:
			cancel(errLost)
		case <-ctx.Done():
		}
	}()
	resp, err := client.New(nc).Compact(ctx, space, &api.CompactRequest{DeadlineMs: uint32(max(limit.Milliseconds(), 1)), Erase: erase})
	if err != nil && errors.Is(context.Cause(ctx), errLost) {
		err = errLost
	}
	return resp, err
}

// unfinished says of an error what became of the compaction, where that is not all that there is to say.
func unfinished(ctx context.Context, space string, timeout time.Duration, err error) error {
	var refused *wire.Error
	switch {
	case errors.Is(err, context.Canceled):
		return &interruptedError{}
	case ctx.Err() != nil:
		return &interruptedError{fmt.Sprintf("; the workers go on compacting %s without this command, for up to %v", space, timeout)}
	case errors.Is(err, errLost):
		return fmt.Errorf("%w; whether %s was compacted to the end is not known, and a worker that still runs goes on with it; the same command does what is left", err, space)
	case errors.As(err, &refused) && refused.Code == wire.CodeDeadline:
		return fmt.Errorf("%s was not compacted to the end: %w; what was reclaimed stays so, and the same command does what is left", space, err)
	}
	return err
}

func printCompacted(cmd *cobra.Command, resp *api.CompactResponse) error {
	var rows [][]string
	for _, c := range resp.GetCopies() {
		if c.GetError() == nil {
			rows = append(rows, []string{
				printable(c.GetWorker()), grouped(c.GetRowsBefore()), grouped(c.GetRowsAfter()), grouped(c.GetRowsReclaimed()),
				grouped(c.GetLogBytesBefore()), grouped(c.GetLogBytesAfter()), milliseconds(c.GetTookMs()),
			})
		}
	}
	return printTable(cmd.OutOrStdout(), []string{"WORKER", "ROWS", "ROWS AFTER", "RECLAIMED", "LOG BYTES", "LOG BYTES AFTER", "TOOK"}, rows)
}

// failedCopy is the error of a copy that was not compacted.
func failedCopy(resp *api.CompactResponse) error {
	for _, c := range resp.GetCopies() {
		if err := wire.FromProto(c.GetError()); err != nil {
			return fmt.Errorf("the copy of worker %s: %w", printable(c.GetWorker()), err)
		}
	}
	return nil
}
