package main

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/wire"
)

const forgetLong = `Forget observations of a space by their ids, by an expression with --filter, or with --all --yes the whole space and its
definition. It cannot be undone.
An id that is not there is no error. The position that is printed is the one to give to --at-least of a recall that must
not see them any more.

--prove erases them as well: every copy of the store reclaims them at once, with all that reads of the past would need, the log
overwrites their messages, and then all of it is searched for them. It prints what was looked at, and what was found there; the exit
code is 1 unless all could be looked at and nothing was found. Messages younger than the duplicate window of the log, 4 minutes, are
waited for. Forgetting once more what was forgotten before proves it, too.`

const forgetExample = `  engram forget notes door
  engram forget notes door --prove
  engram forget notes --filter 'metadata.host == "db-3"'
  engram forget notes --all --yes`

func forgetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "forget SPACE [ID...]", Short: "Forget observations, or a space", Long: forgetLong, Example: forgetExample, Args: cobra.MinimumNArgs(1),
	}
	c := connectionFlags(cmd, defaultTimeout)
	all := cmd.Flags().Bool("all", false, "forget the whole space")
	expression := cmd.Flags().String("filter", "", "forget what matches this `expression` in CEL")
	prove := cmd.Flags().Bool("prove", false, "erase it from the log and the store at once, and show that it is gone")
	yes := cmd.Flags().Bool("yes", false, "be sure about --all")
	ack := cmd.Flags().String("ack", "", "what to wait for: accepted or searchable, which is when no recall returns them (default accepted)")
	cmd.ValidArgsFunction = c.completeSpace
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := spaceArgument(cmd, args[0]); err != nil {
			return err
		}
		ids := args[1:]
		switch {
		case *all && len(ids) > 0, *expression != "" && (*all || len(ids) > 0), !*all && len(ids) == 0 && *expression == "":
			return misused(cmd, "give either ids, or --all for the whole space, or a --filter")
		case *all && !*yes:
			return misused(cmd, "--all forgets the whole space %q, which cannot be undone; add --yes if that is meant", args[0])
		}
		level, refused := wire.ParseAck(*ack)
		for _, id := range ids {
			if refused == nil {
				refused = wire.CheckID(id, "id")
			}
		}
		if refused != nil {
			return refusedBy(cmd, refused)
		}
		req := &api.ForgetRequest{Ids: ids, All: *all, Acknowledgement: level, Filter: *expression}
		if *prove {
			if !cmd.Flags().Changed("timeout") {
				c.timeout = wire.DefaultCompactLimit
			}
			return c.with(cmd, func(ctx context.Context, nc *nats.Conn) error { return forgetAndProve(ctx, cmd, c, nc, args[0], req) })
		}
		return c.with(cmd, func(ctx context.Context, nc *nats.Conn) error {
			resp, err := client.New(nc).Forget(ctx, args[0], req)
			if err != nil {
				return err
			}
			if c.json {
				body, err := wire.EncodeForget(wire.JSON, resp)
				return printJSON(cmd.OutOrStdout(), body, err)
			}
			what := "space " + args[0]
			switch {
			case *expression != "":
				what = "what matches in " + args[0]
			case !*all:
				what = plural(len(ids), "id") + " of " + args[0]
			}
			return printed(fmt.Fprintf(cmd.OutOrStdout(), "forgot %s as of %s\n", what, resp.GetPosition()))
		})
	}
	return cmd
}
