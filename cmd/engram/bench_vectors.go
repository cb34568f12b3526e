package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/bench"
)

func benchConvertCommand() *cobra.Command {
	var cfg bench.ConvertConfig
	cmd := &cobra.Command{
		Use:   "convert IN OUT.npy",
		Short: "Write a file of vectors as .npy of float32",
		Long: `Write the rows of an .npy (float32 or float16) or IDX file (bytes, also compressed by gzip) as .npy of float32, for other
programs that are measured on the same rows.`,
		Example: `  engram bench convert t10k-images-idx3-ubyte.gz queries.npy --rows 1000`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cfg.Rows < 0 {
				return misused(cmd, "--rows is %d; it cannot be negative", cfg.Rows)
			}
			cfg.In, cfg.Out = args[0], args[1]
			rows, cols, err := bench.Convert(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d rows of %d components\n", rows, cols)
			return nil
		},
	}
	cmd.Flags().IntVar(&cfg.Rows, "rows", 0, "rows to write, from the first (0: all)")
	return cmd
}

func benchTruthCommand() *cobra.Command {
	var cfg bench.TruthConfig
	var metric string
	cmd := &cobra.Command{
		Use:   "truth",
		Short: "Find the exact neighbours of queries by comparing every row",
		Long: `Compare every query with every row in float32, without an index, and write the row numbers of the nearest, best first, as
.npy of int32: one row for each query.`,
		Example: `  engram bench truth --base base.npy --queries queries.npy --metric cosine --out truth.npy`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if cfg.Metric, err = metricOf(cmd, metric); err != nil {
				return err
			}
			if cfg.Base == "" || cfg.Queries == "" || cfg.Out == "" {
				return misused(cmd, "--base, --queries and --out are needed")
			}
			if err := cfg.Validate(); err != nil {
				return misused(cmd, "%w", err)
			}
			return bench.Truth(cmd.Context(), cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Base, "base", "", "`file` of rows, .npy or IDX")
	f.StringVar(&cfg.Queries, "queries", "", "`file` of rows to look for")
	f.StringVar(&cfg.Out, "out", "", "`.npy` file to write")
	f.StringVar(&metric, "metric", "cosine", "cosine, dot or l2")
	f.IntVarP(&cfg.K, "results", "k", 100, "neighbours of each query")
	f.IntVar(&cfg.Threads, "threads", runtime.NumCPU(), "threads")
	return cmd
}
