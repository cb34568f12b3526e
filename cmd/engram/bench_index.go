package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/bench"
	"github.com/engram-memory/engram/pkg/vecstore"
)

func benchIndexCommand() *cobra.Command {
	var cfg bench.IndexConfig
	var metric, vectors, cpuProfile string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Measure an index engine on a file of vectors",
		Long: `Insert the rows of an .npy file into a shard of its own, without NATS, and measure how many a second are written to
the row log and linked, how recall and speed depend on ef, and how long it takes to open what a killed process leaves.`,
		Example: `  engram bench index --base base.npy --queries queries.npy --truth truth.npy --json
  engram bench index --engine coder --base base.npy --queries queries.npy --rows 10000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var ok bool
			if cfg.Metric, ok = map[string]vecstore.Metric{"cosine": vecstore.Cosine, "dot": vecstore.Dot, "l2": vecstore.L2}[metric]; !ok {
				return fmt.Errorf("--metric is %q; it can be cosine, dot or l2", metric)
			}
			if cfg.Vectors, ok = map[string]vecstore.Vectors{"f32": vecstore.VectorsF32, "f16": vecstore.VectorsF16, "none": vecstore.VectorsNone}[vectors]; !ok {
				return fmt.Errorf("--vectors is %q; it can be f32, f16 or none", vectors)
			}
			stop, err := profileCPU(cpuProfile)
			if err != nil {
				return err
			}
			rep, err := bench.Index(cmd.Context(), cfg, func(phase string) {
				if !asJSON {
					fmt.Fprintln(cmd.ErrOrStderr(), phase)
				}
			})
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
	f.StringVar(&cfg.Engine, "engine", vecstore.EngineHNSW, "hnsw, coder or exact")
	f.StringVar(&cfg.Base, "base", "", "`.npy` file of rows to insert")
	f.StringVar(&cfg.Queries, "queries", "", "`.npy` file of rows to look for")
	f.StringVar(&cfg.Truth, "truth", "", "`.npy` file of the exact neighbours of each query (default: found by comparing every row)")
	f.IntVar(&cfg.Rows, "rows", 0, "rows to insert; more than the file has are its rows again with noise (0: those of the file)")
	f.IntVar(&cfg.Threads, "threads", runtime.NumCPU(), "threads that the run may use")
	f.IntVar(&cfg.M, "m", 0, "links a row chooses in each layer (0: the default)")
	f.IntVar(&cfg.EfConstruction, "ef-construction", 0, "candidates while a row is linked (0: the default)")
	f.IntSliceVar(&cfg.Ef, "ef", []int{16, 24, 32, 40, 48, 56, 64, 80, 96, 128, 192}, "candidates while a query is answered, each measured")
	f.IntVar(&cfg.Repeat, "repeat", 3, "times that the queries are asked for each ef")
	f.StringVar(&metric, "metric", "cosine", "cosine, dot or l2")
	f.StringVar(&vectors, "vectors", "f32", "what the row log keeps: f32, f16 or none")
	f.StringVar(&cfg.Data, "data", "", "directory to make the run's temporary directory in")
	f.StringVar(&cpuProfile, "cpuprofile", "", "`file` to write a CPU profile to")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	for _, name := range []string{"base", "queries"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
	return cmd
}
