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
	var metric, vectors, cpuProfile, heapProfile string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Measure an index engine on a file of vectors",
		Long: `Insert the rows of a file into a shard of its own, without NATS, and measure how many a second are written to the row
log and linked, how recall and speed depend on ef, and how long it takes to open what a killed process leaves. Files are
.npy (float32 or float16) or IDX (bytes), as fashion-mnist comes in, also compressed by gzip.

With more --rows than the file has its rows are used again, each moved by normal noise whose standard deviation is 0.005
of the row's length in each component. Without a --truth that is of those rows, every query is compared with every row.`,
		Example: `  engram bench index --base base.npy --queries queries.npy --truth truth.npy --json
  engram bench index --engine coder --base base.npy --queries queries.npy --rows 10000
  engram bench index --metric l2 --base train-images-idx3-ubyte.gz --queries t10k-images-idx3-ubyte.gz`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if cfg.Metric, err = metricOf(cmd, metric); err != nil {
				return err
			}
			var ok bool
			if cfg.Vectors, ok = map[string]vecstore.Vectors{"f32": vecstore.VectorsF32, "f16": vecstore.VectorsF16, "none": vecstore.VectorsNone}[vectors]; !ok {
				return misused(cmd, "--vectors is %q; it can be f32, f16 or none", vectors)
			}
			if err := cfg.Validate(); err != nil {
				return misused(cmd, "%w", err)
			}
			stop, err := profileCPU(cpuProfile)
			if err != nil {
				return err
			}
			rep, err := bench.Index(cmd.Context(), cfg, progressOf(cmd, asJSON))
			if serr := stop(); err == nil {
				err = serr
			}
			if err == nil {
				err = profileHeap(heapProfile)
			}
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), rep, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Engine, "engine", vecstore.EngineHNSW, "hnsw, coder or exact")
	f.StringVar(&cfg.Base, "base", "", "`file` of rows to insert")
	f.StringVar(&cfg.Queries, "queries", "", "`file` of rows to look for")
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
	f.StringVar(&heapProfile, "heapprofile", "", "`file` to write a profile of the heap to, as it is at the end")
	f.BoolVar(&asJSON, "json", false, "print the report as one line of JSON, and no phases")
	return cmd
}

func metricOf(cmd *cobra.Command, name string) (vecstore.Metric, error) {
	m, ok := map[string]vecstore.Metric{"cosine": vecstore.Cosine, "dot": vecstore.Dot, "l2": vecstore.L2}[name]
	if !ok {
		return 0, misused(cmd, "--metric is %q; it can be cosine, dot or l2", name)
	}
	return m, nil
}

// progressOf prints the phases of a run, for people.
func progressOf(cmd *cobra.Command, asJSON bool) func(string) {
	return func(phase string) {
		if !asJSON {
			fmt.Fprintln(cmd.ErrOrStderr(), phase)
		}
	}
}
