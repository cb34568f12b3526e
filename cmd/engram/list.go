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
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

const listLong = `List the observations of a space, newest first or in another order. Where there are more than --limit, the last line has the
cursor to go on with: all pages are those of the moment of the first.`

const listExample = `  engram list notes --limit 20
  engram list notes --before "$POSITION" --json
  engram list notes --from 2026-01-02T00:00:00Z --order earliest --filter 'metadata.host == "db-3"'`

func listCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list SPACE", Short: "List the observations of a space", Long: listLong, Example: listExample, Args: cobra.ExactArgs(1),
	}
	c := connectionFlags(cmd, defaultTimeout)
	limit := cmd.Flags().Uint32("limit", event.DefaultList, "how many, 1 to 1000")
	before := cmd.Flags().String("before", "", "only those below this `position`")
	expression := cmd.Flags().String("filter", "", "only those that match this `expression` in CEL")
	from := cmd.Flags().String("from", "", "only what was observed at this `time` or later, as in 2026-01-02T15:04:05Z")
	to := cmd.Flags().String("to", "", "only what was observed before this `time`")
	order := cmd.Flags().String("order", "", "newest or oldest by position, latest or earliest by time (default newest)")
	cursor := cmd.Flags().String("cursor", "", "go on behind the page that printed this `cursor`; the rest is to be the same")
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
		req := &api.ListRequest{Limit: limit, Before: *before, AsOf: *asOf, Filter: *expression, Cursor: *cursor}
		var refused *wire.Error
		if req.Order, refused = wire.ParseListOrder(*order); refused != nil {
			return refusedBy(cmd, refused)
		}
		var err error
		if req.From, err = timeFlag(cmd, "from", *from); err == nil {
			req.To, err = timeFlag(cmd, "to", *to)
		}
		if err != nil {
			return err
		}
		return c.with(cmd, func(ctx context.Context, nc *nats.Conn) error {
			resp, err := client.New(nc).List(ctx, args[0], req)
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

// timeFlag reads a time, nil for none.
func timeFlag(cmd *cobra.Command, name, value string) (*int64, error) {
	if value == "" {
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil || t.Year() < 1678 || t.Year() > 2261 {
		return nil, misused(cmd, "--%s is %q, and not a time of 1678 to 2261 as in 2026-01-02T15:04:05Z", name, value)
	}
	nanos := t.UnixNano()
	return &nanos, nil
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
		return printed(fmt.Fprintf(w, "more: --cursor %s\n", resp.GetNext()))
	}
	return nil
}
