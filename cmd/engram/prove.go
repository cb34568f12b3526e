package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

const (
	// A text leaves a trace that is looked for when it is long enough not to be found by chance, and as much of it as that takes.
	shortestTrace, longestTrace = 16, 256
	// maxTraces is how many texts are looked for, byte by byte.
	maxTraces = 200
)

// forgetAndProve notes what is to be forgotten, has it forgotten, and has it looked for.
func forgetAndProve(ctx context.Context, cmd *cobra.Command, c *connection, nc *nats.Conn, space string, req *api.ForgetRequest) error {
	engram := client.New(nc)
	there, err := doomed(ctx, engram, space, req)
	if err != nil {
		return err
	}
	ask := &api.ProveRequest{Ids: req.GetIds(), All: req.GetAll()}
	for _, o := range there {
		if text := o.GetText(); len(text) >= shortestTrace && len(ask.GetTraces()) < maxTraces {
			ask.Traces = append(ask.Traces, []byte(text[:min(len(text), longestTrace)]))
		}
		if req.GetFilter() != "" {
			ask.Ids = append(ask.Ids, o.GetId())
		}
	}
	req.Acknowledgement = api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE
	forgot, err := engram.Forget(ctx, space, req)
	var refused *wire.Error
	switch {
	case err == nil:
		ask.Position = forgot.GetPosition()
	case errors.As(err, &refused) && refused.Code == wire.CodeUnknownSpace && req.GetAll():
		// It was dropped before.
	default:
		return err
	}
	if !ask.GetAll() && len(ask.GetIds()) == 0 {
		return printed(fmt.Fprintf(cmd.OutOrStdout(), "nothing in %s matches, so that nothing was forgotten\n", space))
	}
	if deadline, ok := ctx.Deadline(); ok {
		ask.DeadlineMs = uint32(max(time.Until(deadline).Milliseconds()-1000, 1))
	}
	if w := cmd.ErrOrStderr(); watched(w) {
		_, err := fmt.Fprintln(w, "forgotten; erasing it, which waits until the log's messages are 4 minutes old. Whoever ends it now can give the same command again.")
		if err != nil {
			return err
		}
	}
	resp, err := engram.Prove(ctx, space, ask)
	if err != nil {
		return err
	}
	if c.json {
		body, refused := wire.EncodeProve(wire.JSON, resp)
		err = printJSON(cmd.OutOrStdout(), body, refused)
	} else {
		err = printProof(cmd, space, ask, resp)
	}
	if err == nil && !resp.GetProven() {
		err = fmt.Errorf("it is not proven that what was forgotten of %s is gone: see what was found, or could not be looked at", space)
	}
	return err
}

// doomed returns what a forget is about: with ids and texts.
func doomed(ctx context.Context, engram *client.Client, space string, req *api.ForgetRequest) (all []*api.Hit, err error) {
	if ids := req.GetIds(); len(ids) > 0 {
		for page := range slices.Chunk(ids, event.MaxList) {
			resp, err := engram.Get(ctx, space, &api.GetRequest{Ids: page, Include: []string{"text"}})
			if err != nil {
				return nil, err
			}
			all = append(all, resp.GetObservations()...)
		}
		return all, nil
	}
	list := &api.ListRequest{Filter: req.GetFilter(), Limit: proto.Uint32(event.MaxList), Include: []string{"text"}}
	if req.GetAll() {
		list.Limit = proto.Uint32(maxTraces)
	}
	for {
		resp, err := engram.List(ctx, space, list)
		var refused *wire.Error
		if req.GetAll() && errors.As(err, &refused) && refused.Code == wire.CodeUnknownSpace {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, resp.GetObservations()...)
		if list.Cursor = resp.GetNext(); list.Cursor == "" || req.GetAll() {
			return all, nil
		}
		if len(all) > event.MaxPaged {
			return nil, fmt.Errorf("more than %s observations match, which is more than one proof can be about; narrow the filter down", grouped(event.MaxPaged))
		}
	}
}

func printProof(cmd *cobra.Command, space string, ask *api.ProveRequest, resp *api.ProveResponse) error {
	rows := make([][]string, 0, len(resp.GetLooked()))
	for _, l := range resp.GetLooked() {
		note := l.GetNote()
		if e := wire.FromProto(l.GetError()); e != nil {
			note = e.Error()
		}
		rows = append(rows, []string{
			printable(l.GetPlace()), printable(l.GetHolder()), grouped(l.GetItems()), grouped(l.GetBytes()), grouped(l.GetFound()), printable(note),
		})
	}
	w := cmd.OutOrStdout()
	if err := printTable(w, []string{"PLACE", "HOLDER", "LOOKED AT", "BYTES", "FOUND", "NOTE"}, rows); err != nil {
		return err
	}
	what := plural(len(ask.GetIds()), "id")
	if ask.GetAll() {
		what = "the whole space"
	}
	verdict := "proven"
	if !resp.GetProven() {
		verdict = "not proven"
	}
	return printed(fmt.Fprintf(w, "%s: %s of %s and %s, %s erased from the log\n", verdict, what, space, plural(len(ask.GetTraces()), "text"),
		plural(int(resp.GetErased()), "message")))
}
