package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

const recallLong = `Find the observations of a space that are nearest to a text, to an embedding, or to another observation. TEXT "-" is
read from stdin.

The last line says how fresh the answer is: the position up to which everything is in it, the age of the oldest
observation that is not, how many rows were compared, and whether these are the true nearest ones.

With --spaces or --prefix it is from several spaces, and SPACE is left out. --filter is an expression in CEL over metadata,
time, importance, priority, id, session and sequence. --paged prints a cursor where there are more hits, for --cursor.`

const recallExample = `  engram recall notes "how do I get in?" -k 3
  engram recall notes "how do I get in?" --recall exact
  engram recall points --embedding '[0.1, 0.2, 0.3]' --min-score 0.8 --json
  engram recall notes --id door --at-least "$POSITION" --deadline 2s
  engram recall notes "disk full" --filter 'metadata.host == "db-3" && importance > 0.5' --half-life 168h
  engram recall --prefix team- "disk full"`

// recallOptions are the flags of recall.
type recallOptions struct {
	id, embedding, atLeast string
	target, asOf           string
	k, ef                  uint32
	minScore               float32
	deadline               time.Duration
	include                []string
	filter, prefix, cursor string
	spaces                 []string
	halfLife               time.Duration
	paged                  bool
}

// several tells whether the recall is from several spaces.
func (o *recallOptions) several() bool { return len(o.spaces) > 0 || o.prefix != "" }

func recallCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "recall SPACE [TEXT]", Short: "Find the nearest observations of a space", Long: recallLong, Example: recallExample,
	}
	c := connectionFlags(cmd, defaultTimeout)
	var o recallOptions
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if !o.several() {
			return spaceAndText(cmd, args)
		}
		if len(args) > 1 {
			return errors.New("with --spaces or --prefix there is nothing but the text; put it in quotes")
		}
		return nil
	}
	fs := cmd.Flags()
	fs.StringVar(&o.filter, "filter", "", "only those that match this `expression` in CEL")
	fs.StringSliceVar(&o.spaces, "spaces", nil, "recall from these spaces together")
	fs.StringVar(&o.prefix, "prefix", "", "recall from all spaces whose name begins so")
	fs.DurationVar(&o.halfLife, "half-life", 0, "after this time an observation counts half")
	fs.BoolVar(&o.paged, "paged", false, "print the cursor of the next page")
	fs.StringVar(&o.cursor, "cursor", "", "go on behind the page that printed this `cursor`; the rest is to be the same")
	fs.StringVar(&o.id, "id", "", "find the nearest ones of the observation with this id")
	fs.StringVar(&o.embedding, "embedding", "", "a `vector`: JSON array, base64 of little-endian f32, or @FILE with one of them")
	fs.Uint32VarP(&o.k, "k", "k", event.DefaultK, "how many to find, 1 to 1000")
	fs.Float32Var(&o.minScore, "min-score", 0, "leave out hits below this score")
	fs.StringVar(&o.atLeast, "at-least", "", "answer only once this `position` is in the index")
	fs.DurationVar(&o.deadline, "deadline", 0, "how long to wait for --at-least and --as-of")
	fs.StringVar(&o.target, "recall", "", "how hard to look: fast, balanced or exact (default balanced)")
	fs.Uint32Var(&o.ef, "ef", 0, "length of the candidate list, 1 to 10000 (default what --recall stands for)")
	fs.StringVar(&o.asOf, "as-of", "", "answer from what held at this `position`")
	fs.StringSliceVar(&o.include, "include", nil, "what hits carry: embedding, text, metadata, none (default text,metadata)")
	cmd.ValidArgsFunction = c.completeSpace
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req, err := o.request(cmd, args)
		if err != nil {
			return err
		}
		// The server's word on a deadline is worth waiting for.
		c.timeout = max(c.timeout, o.deadline+time.Second)
		return c.with(cmd, func(ctx context.Context, nc *nats.Conn) error {
			var resp *api.RecallResponse
			if o.several() {
				resp, err = client.New(nc).RecallMany(ctx, req)
			} else {
				resp, err = client.New(nc).Recall(ctx, args[0], req)
			}
			if err != nil {
				return err
			}
			if c.json {
				body, err := wire.EncodeRecall(wire.JSON, resp)
				return printJSON(cmd.OutOrStdout(), body, err)
			}
			return printRecalled(cmd, resp)
		})
	}
	return cmd
}

func (o *recallOptions) request(cmd *cobra.Command, args []string) (*api.RecallRequest, error) {
	if o.several() {
		args = append([]string{""}, args...)
	} else if err := spaceArgument(cmd, args[0]); err != nil {
		return nil, err
	}
	if o.halfLife < 0 {
		return nil, misused(cmd, "--half-life is %v, and cannot be below 0", o.halfLife)
	}
	if o.deadline < 0 || o.deadline.Milliseconds() > 1<<31 {
		return nil, misused(cmd, "--deadline is %v, which cannot be waited for", o.deadline)
	}
	queries := 0
	for _, given := range []bool{len(args) == 2, o.id != "", o.embedding != ""} {
		if given {
			queries++
		}
	}
	if queries != 1 {
		return nil, misused(cmd, "a recall has one of TEXT, --id and --embedding; this one has %d", queries)
	}
	target, refused := wire.ParseRecallTarget(o.target)
	if refused != nil {
		return nil, refusedBy(cmd, refused)
	}
	if err := errors.Join(positionFlag(cmd, "at_least", o.atLeast), positionFlag(cmd, "as_of", o.asOf)); err != nil {
		return nil, err
	}
	req := &api.RecallRequest{
		Id: o.id, AtLeast: o.atLeast, DeadlineMs: uint32(o.deadline.Milliseconds()), Include: o.include, Recall: target, AsOf: o.asOf,
		Filter: o.filter, Spaces: o.spaces, Prefix: o.prefix, HalfLifeMs: uint64(o.halfLife.Milliseconds()), Paged: o.paged, Cursor: o.cursor,
	}
	if cmd.Flags().Changed("ef") {
		req.Ef = &o.ef
	}
	if cmd.Flags().Changed("k") {
		req.K = &o.k
	}
	if cmd.Flags().Changed("min-score") {
		req.MinScore = &o.minScore
	}
	var err error
	switch {
	case o.embedding != "":
		if req.Embedding, err = parseEmbedding(cmd, o.embedding); err != nil {
			return nil, err
		}
	case len(args) == 2 && args[1] == "-":
		if req.Text, err = readText(cmd.Context(), cmd.InOrStdin()); err != nil {
			return nil, err
		}
	case len(args) == 2:
		req.Text = args[1]
	}
	refused = wire.CheckRecall(req)
	if refused == nil && o.several() {
		refused = wire.CheckSpaces(req)
	}
	return req, refusedBy(cmd, refused)
}

func printRecalled(cmd *cobra.Command, resp *api.RecallResponse) error {
	w := cmd.OutOrStdout()
	if len(resp.GetHits()) > 0 {
		rows := make([][]string, 0, len(resp.GetHits()))
		for _, h := range resp.GetHits() {
			row := []string{strconv.FormatFloat(float64(h.GetScore()), 'f', 4, 32), printable(h.GetId()), snippet(h.GetText())}
			if len(resp.GetSpaces()) > 0 {
				row = append([]string{h.GetSpace()}, row...)
			}
			rows = append(rows, row)
		}
		heading := []string{"SCORE", "ID", "TEXT"}
		if len(resp.GetSpaces()) > 0 {
			heading = append([]string{"SPACE"}, heading...)
		}
		if err := printTable(w, heading, rows); err != nil {
			return err
		}
	}
	for _, s := range resp.GetSpaces() {
		if e := s.GetError(); e != nil {
			if err := printed(fmt.Fprintf(w, "without space %s: %v\n", s.GetSpace(), wire.FromProto(e))); err != nil {
				return err
			}
		}
	}
	if resp.GetNext() != "" {
		if err := printed(fmt.Fprintf(w, "more: --cursor %s\n", resp.GetNext())); err != nil {
			return err
		}
	}
	applied := "applied " + resp.GetApplied()
	if n := len(resp.GetSpaces()); n > 0 {
		applied = "of " + plural(n, "space")
	}
	exact := "approximate"
	if resp.GetExact() {
		exact = "exact"
	}
	return printed(fmt.Fprintf(w, "%s, %s, staleness %s, searched %s, %s, took %v\n", plural(len(resp.GetHits()), "hit"),
		applied, milliseconds(resp.GetStalenessMs()), grouped(resp.GetSearched()), exact,
		time.Duration(resp.GetTookUs())*time.Microsecond))
}
