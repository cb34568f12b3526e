package main

import (
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/bench"
)

func benchMixedCommand() *cobra.Command {
	var cfg bench.MixedConfig
	var metric, cpuProfile string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "mixed",
		Short: "Measure recalls while rows are inserted at full speed",
		Long: `Insert rows into a shard as fast as it takes them, without NATS, and ask it queries at the same time: one after the
other, or so many a second, each timed from when it was due.`,
		Example: `  engram bench mixed --base base.npy --queries queries.npy --before 50000 --rows 50000 --threads 2 --json
  engram bench mixed --dim 384 --before 20000 --rows 20000 --rate 200`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if cfg.Metric, err = metricOf(cmd, metric); err != nil {
				return err
			}
			if err := cfg.Validate(); err != nil {
				return misused(cmd, "%w", err)
			}
			stop, err := profileCPU(cpuProfile)
			if err != nil {
				return err
			}
			rep, err := bench.Mixed(cmd.Context(), cfg, progressOf(cmd, asJSON))
			if serr := stop(); err == nil {
				err = serr
			}
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), rep, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Base, "base", "", "`file` of rows to insert, .npy or IDX (default: generated ones)")
	f.StringVar(&cfg.Queries, "queries", "", "`file` of rows to look for (default: further rows)")
	f.IntVar(&cfg.Dim, "dim", 768, "dimension of generated rows")
	f.IntVar(&cfg.Before, "before", 50_000, "rows that are there, and linked, before")
	f.IntVar(&cfg.Rows, "rows", 50_000, "rows to insert while it is asked")
	f.IntVar(&cfg.Threads, "threads", runtime.GOMAXPROCS(0), "threads that may run Go code at once, by default as many as \"engram up\" has")
	f.IntVar(&cfg.LinkThreads, "link-threads", 1, "threads that link rows")
	f.Float64Var(&cfg.Rate, "rate", 0, "queries a second; 0 for one after the other")
	f.IntVar(&cfg.Ef, "ef", 0, "candidates while a query is answered (0: those of the balanced effort)")
	f.DurationVar(&cfg.Checkpoint, "checkpoint", time.Second, "time between two checkpoints; 0 for none")
	f.StringVar(&metric, "metric", "cosine", "cosine, dot or l2")
	f.StringVar(&cfg.Data, "data", "", "directory to make the run's temporary directory in")
	f.StringVar(&cpuProfile, "cpuprofile", "", "`file` to write a CPU profile to")
	f.BoolVar(&asJSON, "json", false, "print the report as one line of JSON, and no phases")
	return cmd
}
