package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

const listLong = `List the observations of a space, newest first. Where there are more than --limit, the last line names the position to
go on --before.`

const listExample = `  engram list notes --limit 20
  engram list notes --before "$POSITION" --json`

func listCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list SPACE", Short: "List the observations of a space, newest first", Long: listLong, Example: listExample, Args: cobra.ExactArgs(1),
	}
	c := connectionFlags(cmd, defaultTimeout)
	limit := cmd.Flags().Uint32("limit", event.DefaultList, "how many, 1 to 1000")
	before := cmd.Flags().String("before", "", "only those below this `position`")
	asOf := cmd.Flags().String("as-of", "", "list what held at this `position`")
	cmd.ValidArgsFunction = c.completeSpace
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := spaceArgument(cmd, args[0]); err != nil {
			return err
		}
		if *limit < 1 || *limit > event.MaxList {
			return misused(cmd, "--limit is %d; it can be 1 to %d", *limit, event.MaxList)
		}
		if err := errors.Join(positionFlag(cmd, "before", *before), positionFlag(cmd, "as_of", *asOf)); err != nil {
			return err
		}
		return c.with(cmd, func(ctx context.Context, nc *nats.Conn) error {
			resp, err := client.New(nc).List(ctx, args[0], &api.ListRequest{Limit: limit, Before: *before, AsOf: *asOf})
			if err != nil {
				return err
			}
			if c.json {
				body, err := wire.EncodeList(wire.JSON, resp)
				return printJSON(cmd.OutOrStdout(), body, err)
			}
			return printList(cmd, resp)
		})
	}
	return cmd
}

func printList(cmd *cobra.Command, resp *api.ListResponse) error {
	w, hits := cmd.OutOrStdout(), resp.GetObservations()
	if len(hits) == 0 {
		return printed(fmt.Fprintln(w, "no observations"))
	}
	rows := make([][]string, 0, len(hits))
	for _, h := range hits {
		rows = append(rows, []string{moment(h.GetObservedAt()), printable(h.GetId()), snippet(h.GetText())})
	}
	if err := printTable(w, []string{"OBSERVED", "ID", "TEXT"}, rows); err != nil {
		return err
	}
	if resp.GetMore() {
		return printed(fmt.Fprintf(w, "more: --before %s\n", hits[len(hits)-1].GetPosition()))
	}
	return nil
}
