package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/bench"
	"github.com/engram-memory/engram/pkg/queue"
)

func benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure the pipeline, the index or the queue on this machine",
		Long: `Measure the pipeline, the index or the queue on this machine. Nothing outside of a temporary directory is touched, but
for the profiles and the files of convert and truth that they are told to write.`,
	}
	cmd.AddCommand(benchPipelineCommand(), benchQueueCommand(), benchIndexCommand(), benchMixedCommand(), benchSpacesCommand(),
		benchKillCommand(), benchSnapshotCommand(), benchOverloadCommand(), benchFairnessCommand(),
		benchTransportsCommand(), benchSessionsCommand(), benchConvertCommand(), benchTruthCommand())
	return cmd
}

func benchPipelineCommand() *cobra.Command {
	cfg := bench.Config{}
	var asJSON, noRaw bool
	cmd := &cobra.Command{
		Use:   "pipeline",
		Short: "Load an all-in-one node and measure it against raw JetStream",
		Long: `Load an all-in-one node through its gateway and measure how many observations a second become durable and
searchable, how stale recall is meanwhile, and how long recalls take. Then the same bytes go through JetStream alone, and
the ratio of the two is printed. What was lost or doubled is counted by asking the index for every observation.`,
		Example: `  engram bench pipeline --observations 50000 --dim 384 --spaces 4
  engram bench pipeline --vectors base.npy --queries queries.npy --observations 100000 --spaces 2 --recall-rate 20 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Raw = !noRaw
			if err := cfg.Validate(); err != nil {
				return misused(cmd, "%w", err)
			}
			log := zerolog.New(cmd.ErrOrStderr()).Level(zerolog.WarnLevel).With().Timestamp().Logger()
			rep, err := bench.Pipeline(cmd.Context(), cfg, log, func(phase string) {
				if !asJSON {
					fmt.Fprintln(cmd.ErrOrStderr(), phase)
				}
			})
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), rep, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Vectors, "vectors", "", "`.npy` file of embeddings, float32 or float16 (default: random ones)")
	f.StringVar(&cfg.Queries, "queries", "", "`.npy` file of recall queries (default: observed rows with noise)")
	f.IntVar(&cfg.Dim, "dim", 768, "dimension of random embeddings")
	f.IntVar(&cfg.Observations, "observations", 20_000, "observations to load")
	f.IntVar(&cfg.Spaces, "spaces", 2, "spaces to spread them over")
	f.Float64Var(&cfg.Rate, "rate", 0, "observations a second; 0 for as many as are taken")
	f.Float64Var(&cfg.RecallRate, "recall-rate", 0, "recalls a second while it loads")
	f.StringVar(&cfg.Load, "load", "steady", "shape of the load: steady, ramp, burst, or zipf (over the spaces)")
	f.IntVar(&cfg.Batch, "batch", 100, "observations a request")
	f.IntVar(&cfg.Producers, "producers", 2, "producers, each with a connection of its own")
	f.IntVar(&cfg.Window, "window", 8, "requests in flight of each producer")
	f.StringVar(&cfg.Profile, "profile", "balanced", "profile of the worker")
	f.IntVar(&cfg.Shards, "shards", 8, "number of logs")
	f.StringVar(&cfg.Data, "data", "", "directory to make the run's temporary directory in")
	f.IntVar(&cfg.Truth, "truth", 200, "queries to compare with an exact scan; 0 for none")
	f.Uint64Var(&cfg.Seed, "seed", 1, "seed of everything random")
	f.DurationVar(&cfg.Timeout, "timeout", 10*time.Minute, "longest time for each phase")
	f.BoolVar(&noRaw, "no-raw", false, "leave raw JetStream out")
	f.BoolVar(&asJSON, "json", false, "print the report as one line of JSON, and no phases")
	return cmd
}

func benchQueueCommand() *cobra.Command {
	var d time.Duration
	var capacity int
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "queue",
		Short:   "Measure the lanes of the in-process queue next to a Go channel",
		Long:    "Measure enqueues and dequeues a second across two threads, both lanes in use, next to a Go channel of the same capacity in the same run.",
		Example: "  engram bench queue --duration 5s --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d < queue.MinMeasure || capacity < 1 || capacity > queue.MaxCapacity {
				return misused(cmd, "--duration is %v and --capacity %d; they can be %v or more, and 1 to %d", d, capacity, queue.MinMeasure, queue.MaxCapacity)
			}
			m, err := queue.Measure(cmd.Context(), d, capacity)
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), m, asJSON)
		},
	}
	cmd.Flags().DurationVar(&d, "duration", 3*time.Second, "how long to measure")
	cmd.Flags().IntVar(&capacity, "capacity", 10_000, "items a lane holds")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as one line of JSON")
	return cmd
}

// printReport prints a report as one line of JSON, or indented for people.
func printReport(w io.Writer, v any, asJSON bool) error {
	e := json.NewEncoder(w)
	if !asJSON {
		e.SetIndent("", "  ")
	}
	return e.Encode(v)
}
