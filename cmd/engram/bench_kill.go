package main

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/bench"
)

func benchKillCommand() *cobra.Command {
	var cfg bench.KillConfig
	var asJSON, victim bool
	cmd := &cobra.Command{
		Use:   "kill",
		Short: "Kill a process while it inserts, and check what it leaves",
		Long: `Start a process that inserts rows into a shard, links them and takes checkpoints, and kill it at a random moment. Then
open the shard, measure the time to the first answer, check that every row that the process had said to be written is
there as it was given, and that recall is that of a shard that was not killed, within --tolerance. Then the next process
goes on from there. It fails at the first thing that is wrong.`,
		Example: `  engram bench kill --rounds 20 --rows 20000 --dim 128 --json
  engram bench kill --rounds 1 --rows 1000000 --base base.npy --queries queries.npy`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	tolerance := f.Float64("tolerance", 0.01, "largest difference of recall@10 to a shard that was not killed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if victim {
			return bench.KillChild(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		}
		if err := cfg.Validate(); err != nil {
			return misused(cmd, "%w", err)
		}
		program, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding the program to start: %w", err)
		}
		cfg.Child = []string{program, "bench", "kill", "--victim"}
		rep, err := bench.Kill(cmd.Context(), cfg, progressOf(cmd, asJSON))
		if err != nil {
			return err
		}
		if err := printReport(cmd.OutOrStdout(), rep, asJSON); err != nil {
			return err
		}
		if rep.RecallDifference > *tolerance {
			return fmt.Errorf("recall@10 differs by %.4f from that of a shard that was not killed", rep.RecallDifference)
		}
		return nil
	}
	f.IntVar(&cfg.Rounds, "rounds", 3, "times that a process is killed")
	f.IntVar(&cfg.Rows, "rows", 20_000, "rows that there must be before it is killed")
	f.DurationVar(&cfg.Within, "within", time.Second, "longest time from there to its death")
	f.StringVar(&cfg.Base, "base", "", "`file` of rows to insert, .npy or IDX (default: generated ones)")
	f.StringVar(&cfg.Queries, "queries", "", "`file` of rows to look for (default: further rows)")
	f.IntVar(&cfg.Dim, "dim", 128, "dimension of generated rows")
	f.IntVar(&cfg.Threads, "threads", runtime.NumCPU(), "threads that each process may use")
	f.Uint32Var(&cfg.GraphRows, "graph-rows", 0, "rows from which on the space has a graph (0: the default)")
	f.IntVar(&cfg.Ef, "ef", 16, "candidates while a query is answered")
	f.DurationVar(&cfg.Checkpoint, "checkpoint", time.Second, "time between two checkpoints; 0 for none")
	f.BoolVar(&cfg.CompareEach, "compare-each", false, "compare recall after each round, not only after the last")
	f.Uint64Var(&cfg.Seed, "seed", 1, "seed of the moments")
	f.StringVar(&cfg.Data, "data", "", "directory to make the run's temporary directory in")
	f.BoolVar(&asJSON, "json", false, "print the report as one line of JSON, and no phases")
	f.BoolVar(&victim, "victim", false, "be the process that is killed")
	f.Lookup("victim").Hidden = true
	return cmd
}
