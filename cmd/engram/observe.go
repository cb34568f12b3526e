package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/wire"
)

const observeLong = `Put one observation into a space, which the first one makes. The text is the argument, or stdin when there is neither
TEXT nor --embedding, or when TEXT is "-". Without --embedding the space's embedder makes it from the text.

An observation with the id of an earlier one replaces it. Without --id the gateway makes one, which is printed.`

const observeExample = `  engram observe notes "the door code is 4711" --id door --meta floor=2 --meta 'label="2"'
  uptime | engram observe hosts --expires 24h --ack searchable
  engram observe points --id a --embedding '[0.1, 0.2, 0.3]'`

// defaultTimeout bounds the wait for one answer.
const defaultTimeout = client.DefaultTimeout

// observeOptions are the flags of observe.
type observeOptions struct {
	id, embedding, priority, expires, ack, key string
	meta                                       []string
	importance                                 float32
}

func observeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "observe SPACE [TEXT]", Short: "Put one observation into a space", Long: observeLong, Example: observeExample,
		Args: spaceAndText,
	}
	c := connectionFlags(cmd, defaultTimeout)
	var o observeOptions
	fs := cmd.Flags()
	fs.StringVar(&o.id, "id", "", "id of the observation")
	fs.StringVar(&o.embedding, "embedding", "", "a `vector`: JSON array, base64 of little-endian f32, or @FILE with one of them")
	fs.StringArrayVar(&o.meta, "meta", nil, "metadata `key=value`; numbers and booleans are recognised, '\"2\"' is text")
	fs.StringVar(&o.priority, "priority", "", "normal or high (default normal)")
	fs.Float32Var(&o.importance, "importance", 0, "what it is worth, 0 to 1")
	fs.StringVar(&o.expires, "expires", "", "`when` no recall returns it any more: a duration from now, or an RFC 3339 time")
	fs.StringVar(&o.ack, "ack", "", "what to wait for: accepted or searchable (default accepted)")
	fs.StringVar(&o.key, "idempotency-key", "", "a retry with the same key is taken once")
	cmd.ValidArgsFunction = c.completeSpace
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req, err := o.request(cmd, args)
		if err != nil {
			return err
		}
		return c.with(cmd, func(ctx context.Context, nc *nats.Conn) error {
			// Within the timeout it is sent again under the same key, as refusals say.
			resp, err := client.New(nc).ObserveRetrying(ctx, args[0], req, nil)
			if err != nil {
				return err
			}
			return printObserved(cmd, resp, c.json)
		})
	}
	return cmd
}

// request makes the request, of which it has checked what needs no server.
func (o *observeOptions) request(cmd *cobra.Command, args []string) (*api.ObserveRequest, error) {
	if err := spaceArgument(cmd, args[0]); err != nil {
		return nil, err
	}
	ob := &api.Observation{Id: o.id, Importance: o.importance}
	var err error
	if ob.Metadata, err = parseMetadata(o.meta); err != nil {
		return nil, &usageError{cmd.CommandPath(), err}
	}
	if o.expires != "" {
		if ob.ExpiresAt, err = parseExpiry(o.expires, time.Now()); err != nil {
			return nil, &usageError{cmd.CommandPath(), err}
		}
	}
	var refused *wire.Error
	if ob.Priority, refused = wire.ParsePriority(o.priority); refused != nil {
		return nil, refusedBy(cmd, refused)
	}
	ack, refused := wire.ParseAck(o.ack)
	if refused == nil {
		refused = wire.CheckIdempotencyKey(o.key)
	}
	if refused == nil {
		refused = wire.CheckObservation(ob)
	}
	if refused != nil {
		return nil, refusedBy(cmd, refused)
	}
	if o.embedding != "" {
		if ob.Embedding, err = parseEmbedding(cmd, o.embedding); err != nil {
			return nil, err
		}
	}
	switch {
	case len(args) == 2 && args[1] != "-":
		ob.Text = args[1]
	case len(args) == 2 || o.embedding == "":
		if ob.Text, err = readText(cmd.Context(), cmd.InOrStdin()); err != nil {
			return nil, err
		}
	}
	return &api.ObserveRequest{Observations: []*api.Observation{ob}, Acknowledgement: ack, IdempotencyKey: o.key}, nil
}

func printObserved(cmd *cobra.Command, resp *api.ObserveResponse, asJSON bool) error {
	if len(resp.GetResults()) != 1 {
		return fmt.Errorf("one observation was sent, and the answer has %d results", len(resp.GetResults()))
	}
	result := resp.GetResults()[0]
	if err := wire.FromProto(result.GetError()); err != nil {
		return err
	}
	if asJSON {
		body, err := wire.EncodeObserve(wire.JSON, resp, true)
		return printJSON(cmd.OutOrStdout(), body, err)
	}
	how := "accepted"
	switch {
	case result.GetDuplicate():
		how = "had been accepted before"
	case result.GetSearchable():
		how = "searchable"
	}
	return printed(fmt.Fprintf(cmd.OutOrStdout(), "%s %s at %s\n", printable(result.GetId()), how, result.GetPosition()))
}
