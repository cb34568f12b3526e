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

const forgetLong = `Forget observations of a space by their ids, or with --all --yes the whole space and its definition. It cannot be undone.
An id that is not there is no error. The position that is printed is the one to give to --at-least of a recall that must
not see them any more.`

const forgetExample = `  engram forget notes door
  engram forget notes --all --yes`

func forgetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "forget SPACE [ID...]", Short: "Forget observations, or a space", Long: forgetLong, Example: forgetExample, Args: cobra.MinimumNArgs(1),
	}
	c := connectionFlags(cmd, defaultTimeout)
	all := cmd.Flags().Bool("all", false, "forget the whole space")
	yes := cmd.Flags().Bool("yes", false, "be sure about --all")
	ack := cmd.Flags().String("ack", "", "what to wait for: accepted or searchable, which is when no recall returns them (default accepted)")
	cmd.ValidArgsFunction = c.completeSpace
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := spaceArgument(cmd, args[0]); err != nil {
			return err
		}
		ids := args[1:]
		switch {
		case *all && len(ids) > 0, !*all && len(ids) == 0:
			return misused(cmd, "give either ids, or --all for the whole space")
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
		return c.with(cmd, func(ctx context.Context, nc *nats.Conn) error {
			resp, err := client.New(nc).Forget(ctx, args[0], &api.ForgetRequest{Ids: ids, All: *all, Acknowledgement: level})
			if err != nil {
				return err
			}
			if c.json {
				body, err := wire.EncodeForget(wire.JSON, resp)
				return printJSON(cmd.OutOrStdout(), body, err)
			}
			what := "space " + args[0]
			if !*all {
				what = plural(len(ids), "id") + " of " + args[0]
			}
			return printed(fmt.Fprintf(cmd.OutOrStdout(), "forgot %s as of %s\n", what, resp.GetPosition()))
		})
	}
	return cmd
}
