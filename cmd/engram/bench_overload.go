package main

import (
	"errors"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/bench"
)

func benchOverloadCommand() *cobra.Command {
	var cfg bench.OverloadConfig
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "overload",
		Short: "Offer an all-in-one node three times what it sustains",
		Long: `Measure the rate that an all-in-one node sustains, offer it several times as much without heeding refusals, and a little of
high priority beside it. The report says which bounds held: what is accepted is at least 90 % of the sustainable rate, staleness
p99 is below capacity times shards in use over the drain rate, normal observations are taken again within 5 s, nothing that was
accepted is lost, and high priority is searchable within 100 ms, p99. The exit code is 1 where one of them did not.`,
		Example: `  engram bench overload --json
  engram bench overload --duration 5s --calibrate 3s --loose`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Validate(); err != nil {
				return misused(cmd, "%w", err)
			}
			log := zerolog.New(cmd.ErrOrStderr()).Level(zerolog.WarnLevel).With().Timestamp().Logger()
			rep, err := bench.Overload(cmd.Context(), cfg, log, progressOf(cmd, asJSON))
			if err != nil {
				return err
			}
			if err := printReport(cmd.OutOrStdout(), rep, asJSON); err != nil {
				return err
			}
			if !rep.Held.All() {
				return errors.New("not all bounds held; see held in the report")
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVar(&cfg.Dim, "dim", 768, "dimension of the random embeddings")
	f.IntVar(&cfg.Spaces, "spaces", 4, "spaces to spread them over")
	f.IntVar(&cfg.Shards, "shards", 2, "number of logs")
	f.DurationVar(&cfg.Calibrate, "calibrate", 15*time.Second, "how long the sustainable rate is measured, before and after")
	f.DurationVar(&cfg.Duration, "duration", time.Minute, "how long the overload lasts")
	f.Float64Var(&cfg.Factor, "factor", 3, "how many times the sustainable rate is offered")
	f.Float64Var(&cfg.HighRate, "high-rate", 40, "observations of high priority a second; every other one waits to be searchable")
	f.IntVar(&cfg.Batch, "batch", 20, "observations a request")
	f.BoolVar(&cfg.Loose, "loose", false, "judge by limits for a short run on a busy machine")
	f.StringVar(&cfg.Data, "data", "", "directory to make the run's temporary directory in")
	f.Uint64Var(&cfg.Seed, "seed", 1, "seed of everything random")
	f.BoolVar(&asJSON, "json", false, "print the report as one line of JSON, and no phases")
	return cmd
}
