package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
)

const drainLong = `Have a worker give up its shards: other workers open them, catch up with the log, and answer recalls, and only then does the worker
stop answering. The command waits until it holds nothing. It then goes on without shards, until it is restarted or told --cancel.

A worker that is stopped (SIGTERM) does the same for its shards, as far as no other copy answers for them; nothing has to be
drained for a restart.`

const drainExample = `  engram drain worker-2
  engram drain worker-2 --cancel`

func drainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "drain WORKER", Short: "Have a worker give up its shards", Long: drainLong, Example: drainExample, Args: cobra.ExactArgs(1),
	}
	c := connectionFlags(cmd, 10*time.Minute)
	cancelled := cmd.Flags().Bool("cancel", false, "have it take shards again")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		worker := args[0]
		if !bus.ValidWorker(worker) {
			return misused(cmd, "%q is no name of a worker; engram status has them", worker)
		}
		return c.with(cmd, func(ctx context.Context, nc *nats.Conn) error {
			held, err := client.New(nc).Drain(ctx, worker, *cancelled)
			if errors.Is(err, nats.ErrNoResponders) {
				return fmt.Errorf("worker %q does not answer; engram status has those that live, and one whose shards are in its configuration cannot be drained", worker)
			}
			if err != nil {
				return err
			}
			if *cancelled {
				return printed(fmt.Fprintf(cmd.OutOrStdout(), "%s takes shards again\n", worker))
			}
			return awaitDrained(ctx, cmd, nc, worker, held)
		})
	}
	return cmd
}

// awaitDrained follows the heartbeats of a worker until it holds nothing.
func awaitDrained(ctx context.Context, cmd *cobra.Command, nc *nats.Conn, worker string, held int) error {
	for last := -1; held > 0; {
		if held != last {
			if err := printed(fmt.Fprintf(cmd.ErrOrStderr(), "%s holds %s\n", worker, plural(held, "shard"))); err != nil {
				return err
			}
			last = held
		}
		r, err := listen(ctx, nc)
		if err != nil {
			return err
		}
		hb := r.workers[worker]
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%s still holds %s, which it keeps until others can answer for them; engram status tells why each of them is where it is", worker, plural(held, "shard"))
		case hb != nil:
			held = len(hb.GetShards())
		}
	}
	return printed(fmt.Fprintf(cmd.OutOrStdout(), "%s holds nothing\n", worker))
}
