package main

import (
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/bench"
)

func benchFairnessCommand() *cobra.Command {
	var cfg bench.FairnessConfig
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "fairness",
		Short: "Measure what a space that floods its shard does to a quiet one",
		Long: `Observe into a quiet space at a steady rate: alone, then while another space floods the only shard with as much as its window
allows and heeds no refusal, then while that one does so with high priority. The report has what was refused to whom, and how
long the quiet space's observations took to be accepted and to be searchable.`,
		Example: `  engram bench fairness --duration 20s --json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Validate(); err != nil {
				return misused(cmd, "%w", err)
			}
			log := zerolog.New(cmd.ErrOrStderr()).Level(zerolog.WarnLevel).With().Timestamp().Logger()
			rep, err := bench.Fairness(cmd.Context(), cfg, log, progressOf(cmd, asJSON))
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), rep, asJSON)
		},
	}
	f := cmd.Flags()
	f.IntVar(&cfg.Dim, "dim", 768, "dimension of the random embeddings")
	f.DurationVar(&cfg.Duration, "duration", 20*time.Second, "how long each part lasts")
	f.Float64Var(&cfg.Rate, "rate", 50, "observations a second of the quiet space")
	f.IntVar(&cfg.Batch, "batch", 20, "observations a request of the flood")
	f.IntVar(&cfg.Window, "window", 512, "requests of the flood under way")
	f.StringVar(&cfg.Data, "data", "", "directory to make the run's temporary directory in")
	f.Uint64Var(&cfg.Seed, "seed", 1, "seed of everything random")
	f.BoolVar(&asJSON, "json", false, "print the report as one line of JSON, and no phases")
	return cmd
}
