package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/demo"
	"github.com/engram-memory/engram/pkg/logging"
)

// demoCommand shows Engram at work.
func demoCommand() *cobra.Command {
	var cfg demo.Config
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Load real text into a node of its own, ask it questions, and say how it went",
		Long: `Start an all-in-one node in a temporary directory, read real text, publish it over NATS while recalls run beside, wait
until all of it is searchable, ask five questions, and print the answers and a summary.

The text is the documentation comments of the installed Go toolchain, a space for each top-level directory of its source,
or with --source any folder of text (.txt), Markdown (.md), reStructuredText (.rst) or Go; the questions are then
phrases out of the documents. Text is embedded by the gateway's built-in embedder, which compares spelling, not meaning.

What the figures are:
  observations    accepted: in the log, and synced to the disk, before they were acknowledged
  searchable      counted by asking the index for what its spaces hold
  seconds         from the first request to the last observation searchable, reading and embedding included
  staleness_p99   over every heartbeat of the worker in that time, of each the shard that is furthest behind
  recall_p99      over a steady 50 recalls a second in that time, for the opening words of documents in spaces that
                  exist by then, as a client sees them
A short load has few samples; the counts are printed beside the figures.`,
		Example: `  engram demo
  engram demo --source ~/notes
  engram demo --keep
  engram demo --json | jq .recall_p99_ms`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Stdout, cfg.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
			var err error
			if cfg.Log, err = logging.New(logging.Config{Level: "warn"}, cfg.Stderr); err != nil {
				return err
			}
			ctx := cmd.Context()
			if err = demo.Run(ctx, cfg); err != nil && err == context.Cause(ctx) {
				return &interruptedError{"; the node is stopped" + kept(cfg.Data)}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Source, "source", "", "`folder` of text, Markdown or Go to read (default: the Go toolchain's documentation)")
	f.StringVar(&cfg.Data, "data", "", "`directory` to keep the node's data in, empty or new (default: a temporary one, removed at the end)")
	f.BoolVar(&cfg.Keep, "keep", false, "stay up after the summary, and print the addresses, until Ctrl-C")
	f.BoolVar(&cfg.JSON, "json", false, "print one JSON object on stdout; the report goes to stderr")
	return cmd
}

func kept(data string) string {
	if data == "" {
		return " and its directory removed"
	}
	return ", and " + data + " has what it kept"
}
