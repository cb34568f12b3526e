package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/wire"
)

const createLong = `Make a space before its first observation, with what is fixed from then on. What is left out is the gateway's default, and a
space with --dim and without --embedder is one for embeddings of your own: text alone is not embedded there.

Engines: "hnsw" scans the newest rows and searches the others through a graph, "exact" compares a query with every row,
"coder" searches through the graph of github.com/coder/hnsw.
Vectors: "f32" keeps embeddings as they come, "f16" half of their bytes, "none" the int8 codes of the index alone.

A space that is there already is no error if it is such a one; where it differs, nothing is changed and the exit code is 1. Its
quota is not fixed: what is given replaces what it has, and 0 ends a bound. The rates hold for each gateway.`

const createExample = `  engram create notes
  engram create points --dim 768 --metric dot --vectors f16
  engram create small --dim 3 --engine exact --json
  engram create notes --quota-observations 500 --quota-stored 1000000`

func createCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create SPACE", Short: "Make a space before its first observation", Long: createLong, Example: createExample, Args: cobra.ExactArgs(1),
	}
	c := connectionFlags(cmd, defaultTimeout)
	var o createOptions
	fs := cmd.Flags()
	fs.Uint32Var(&o.dim, "dim", 0, "components of every embedding, 1 to 4096 (default the gateway's)")
	fs.StringVar(&o.metric, "metric", "", "cosine, dot or l2 (default the gateway's)")
	fs.StringVar(&o.vectors, "vectors", "", "what is kept of each embedding: f32, f16 or none (default the gateway's)")
	fs.StringVar(&o.engine, "engine", "", strings.Join(wire.Engines(), ", ")+" (default the gateway's)")
	fs.StringVar(&o.embedder, "embedder", "", "who embeds text: lexical, http:<model> or none (default the gateway's, none with --dim)")
	fs.Float64Var(&o.observations, "quota-observations", 0, "observations a second that the space may take; 0 for no bound")
	fs.Float64Var(&o.bytes, "quota-bytes", 0, "bytes a second of them; 0 for no bound")
	fs.Uint64Var(&o.stored, "quota-stored", 0, "observations that the space may hold; 0 for no bound")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req, err := o.request(cmd, args[0])
		if err != nil {
			return err
		}
		return c.with(cmd, func(ctx context.Context, nc *nats.Conn) error {
			resp, err := client.New(nc).Define(ctx, args[0], req)
			if err != nil {
				return err
			}
			if c.json {
				body, err := wire.EncodeDefine(wire.JSON, resp)
				return printJSON(cmd.OutOrStdout(), body, err)
			}
			return printCreated(cmd, resp)
		})
	}
	return cmd
}

// createOptions are the flags of create.
type createOptions struct {
	dim                               uint32
	metric, vectors, engine, embedder string
	observations, bytes               float64
	stored                            uint64
}

func (o *createOptions) request(cmd *cobra.Command, space string) (*api.DefineRequest, error) {
	if err := spaceArgument(cmd, space); err != nil {
		return nil, err
	}
	req := &api.DefineRequest{Engine: o.engine, Embedder: o.embedder}
	if cmd.Flags().Changed("dim") {
		req.Dimension = &o.dim
	}
	changed := cmd.Flags().Changed
	quota := new(api.Quota)
	if changed("quota-observations") {
		quota.ObservationsPerSecond = &o.observations
	}
	if changed("quota-bytes") {
		quota.BytesPerSecond = &o.bytes
	}
	if changed("quota-stored") {
		quota.StoredObservations = &o.stored
	}
	if changed("quota-observations") || changed("quota-bytes") || changed("quota-stored") {
		req.Quota = quota
	}
	var refused *wire.Error
	if req.Metric, refused = wire.ParseMetric(o.metric); refused == nil {
		req.Vectors, refused = wire.ParseVectors(o.vectors)
	}
	if refused == nil {
		refused = wire.CheckDefine(req)
	}
	return req, refusedBy(cmd, refused)
}

func printCreated(cmd *cobra.Command, resp *api.DefineResponse) error {
	how, d := "is there already", resp.GetDefinition()
	if resp.GetCreated() {
		how = "created"
	}
	return printed(fmt.Fprintf(cmd.OutOrStdout(), "%s %s: dimension %d, metric %s, vectors %s, engine %s, embedder %s, quota %s, in shard %d\n", d.GetName(), how,
		d.GetDimension(), wire.MetricName(d.GetMetric()), wire.VectorsName(d.GetVectors()), wire.EngineName(d.GetEngine()), d.GetEmbedder(), quotaText(d.GetQuota()), resp.GetShard()))
}

// quotaText is a quota for people.
func quotaText(q *api.Quota) string {
	var parts []string
	if n := q.GetObservationsPerSecond(); n > 0 {
		parts = append(parts, fmt.Sprintf("%v/s", n))
	}
	if n := q.GetBytesPerSecond(); n > 0 {
		parts = append(parts, fmt.Sprintf("%v B/s", n))
	}
	if n := q.GetStoredObservations(); n > 0 {
		parts = append(parts, grouped(n)+" stored")
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, " and ")
}
