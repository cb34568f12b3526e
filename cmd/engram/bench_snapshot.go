package main

import (
	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/bench"
)

func benchSnapshotCommand() *cobra.Command {
	var cfg bench.SnapshotConfig
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Measure taking and restoring snapshots",
		Long: `Fill a shard with generated rows, without NATS, take a snapshot of it into a directory, and another one after one row more. Then make a
shard of the last one, open it, and link its rows into a graph.`,
		Example: `  engram bench snapshot --rows 100000 --json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Validate(); err != nil {
				return misused(cmd, "%w", err)
			}
			rep, err := bench.Snapshot(cmd.Context(), cfg, progressOf(cmd, asJSON))
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), rep, asJSON)
		},
	}
	f := cmd.Flags()
	f.IntVar(&cfg.Rows, "rows", 100_000, "number of rows")
	f.IntVar(&cfg.Dim, "dim", 768, "dimension of the rows")
	f.StringVar(&cfg.Data, "data", "", "directory to make the run's temporary directory in")
	f.BoolVar(&asJSON, "json", false, "print the report as one line of JSON, and no phases")
	return cmd
}
