package main

import (
	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/bench"
)

func benchSpacesCommand() *cobra.Command {
	var cfg bench.SpacesConfig
	var heapProfile string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "spaces",
		Short: "Measure what many small spaces need, and the first recall of a cold one",
		Long: `Fill many small spaces with generated rows, without NATS, and measure the resident memory and the open files. Then open
the shards again, as after the death of the process, and ask spaces for the first time: their codes are in no memory yet.
Each must answer with the row that the query was made from.`,
		Example: `  engram bench spaces --spaces 10000 --rows 100 --json
  engram bench spaces --spaces 10000 --rows 100 --shards 8 --drop-cache`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Validate(); err != nil {
				return misused(cmd, "%w", err)
			}
			cfg.Filled = func() error { return profileHeap(heapProfile) }
			rep, err := bench.Spaces(cmd.Context(), cfg, progressOf(cmd, asJSON))
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), rep, asJSON)
		},
	}
	f := cmd.Flags()
	f.IntVar(&cfg.Spaces, "spaces", 10_000, "number of spaces")
	f.IntVar(&cfg.Rows, "rows", 100, "rows of each space")
	f.IntVar(&cfg.Dim, "dim", 768, "dimension of the rows")
	f.IntVar(&cfg.Batch, "batch", 10, "rows that a space is given at a time, before the next one")
	f.IntVar(&cfg.Shards, "shards", 1, "shards to spread the spaces over")
	f.IntVar(&cfg.Sample, "sample", 1000, "spaces to ask after the reopening; 0 for all")
	f.Int64Var(&cfg.TailBytes, "tail-bytes", 40<<20, "bytes of codes in memory, of all shards together")
	f.BoolVar(&cfg.Clean, "clean", false, "close the shards before they are opened again")
	f.BoolVar(&cfg.DropCache, "drop-cache", false, "have the kernel drop the files' pages before the reopening")
	f.StringVar(&cfg.Data, "data", "", "directory to make the run's temporary directory in")
	f.StringVar(&heapProfile, "heapprofile", "", "`file` to write a profile of the heap to, when all rows are in")
	f.BoolVar(&asJSON, "json", false, "print the report as one line of JSON, and no phases")
	return cmd
}
