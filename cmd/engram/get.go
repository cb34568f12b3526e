package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

const getLong = `Print the observations of a space that have these ids. Where one of them is not there, the others are printed all the
same, and the exit code is 1.`

const getExample = `  engram get notes door
  engram get points a b --include embedding --json`

func getCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get SPACE ID...", Short: "Print observations by their ids", Long: getLong, Example: getExample, Args: cobra.MinimumNArgs(2),
	}
	c := connectionFlags(cmd, defaultTimeout)
	include := cmd.Flags().StringSlice("include", nil, "what to print of them: embedding, text, metadata, none (default text,metadata)")
	asOf := cmd.Flags().String("as-of", "", "print what held at this `position`")
	cmd.ValidArgsFunction = c.completeSpace
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := spaceArgument(cmd, args[0]); err != nil {
			return err
		}
		_, refused := wire.ParseInclude(*include)
		for _, id := range args[1:] {
			if refused == nil {
				refused = wire.CheckID(id, "id")
			}
		}
		if err := errors.Join(refusedBy(cmd, refused), positionFlag(cmd, "as_of", *asOf)); err != nil {
			return err
		}
		return c.with(cmd, func(ctx context.Context, nc *nats.Conn) error {
			resp, err := client.New(nc).Get(ctx, args[0], &api.GetRequest{Ids: args[1:], Include: *include, AsOf: *asOf})
			if err != nil {
				return err
			}
			if c.json {
				body, refused := wire.EncodeGet(wire.JSON, resp)
				err = printJSON(cmd.OutOrStdout(), body, refused)
			} else {
				err = printObservations(cmd.OutOrStdout(), resp.GetObservations())
			}
			if err != nil {
				return err
			}
			return missing(args[0], args[1:], resp.GetObservations())
		})
	}
	return cmd
}

// missing is the error for ids that no observation was found for.
func missing(space string, ids []string, found []*api.Hit) error {
	there := map[string]bool{}
	for _, h := range found {
		there[h.GetId()] = true
	}
	var lost []string
	for _, id := range ids {
		if !there[id] {
			lost = append(lost, strconv.Quote(id))
			there[id] = true // named once
		}
	}
	if len(lost) == 0 {
		return nil
	}
	const shown = 5
	more := ""
	if len(lost) > shown {
		more = fmt.Sprintf(" and %d more", len(lost)-shown)
	}
	return wire.Errorf(wire.CodeNotFound, "ids", "space %q has no observation %s%s", space, strings.Join(lost[:min(shown, len(lost))], ", "), more)
}

// printObservations prints all of each, a blank line between two.
func printObservations(w io.Writer, hits []*api.Hit) error {
	var b strings.Builder
	for i, h := range hits {
		if i > 0 {
			b.WriteByte('\n')
		}
		for _, field := range []struct{ name, value string }{
			{"id", printable(h.GetId())}, {"position", h.GetPosition()}, {"observed", moment(h.GetObservedAt())},
			{"expires", moment(h.GetExpiresAt())}, {"priority", priorityText(h.GetPriority())}, {"importance", importanceText(h.GetImportance())},
			{"session", sessionText(h)}, {"metadata", metadataText(h.GetMetadata())}, {"embedding", embeddingText(h.GetEmbedding())},
			{"text", printable(h.GetText())},
		} {
			if field.value != "" {
				fmt.Fprintf(&b, "%-10s %s\n", field.name, field.value)
			}
		}
	}
	return printed(io.WriteString(w, b.String()))
}

func priorityText(p api.Priority) string {
	if p == api.Priority_PRIORITY_HIGH {
		return "high"
	}
	return ""
}

func importanceText(x float32) string {
	if x == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(x), 'g', -1, 32)
}

func sessionText(h *api.Hit) string {
	if h.GetSession() == "" {
		return ""
	}
	return printable(h.GetSession()) + ":" + strconv.FormatUint(h.GetSequence(), 10)
}

func embeddingText(e *api.Embedding) string {
	if e == nil {
		return ""
	}
	var b strings.Builder
	for i, x := range event.DecodeF32(nil, e.GetData()) {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.FormatFloat(float64(x), 'g', -1, 32))
	}
	return "[" + b.String() + "]"
}
