package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/bench"
)

func benchTransportsCommand() *cobra.Command {
	var cfg bench.TransportsConfig
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "transports",
		Short: "Measure gRPC streams and WebSockets against the NATS path",
		Long: `Send the same load to an all-in-one node by NATS requests, a gRPC stream, and WebSockets with protobuf and JSON, in turns, and
print how many observations a second were accepted by each, and the ratio to NATS. A turn is small enough for no
backpressure, and the next one begins when everything is searchable.`,
		Example: `  engram bench transports --observations 6000 --rounds 5 --json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Validate(); err != nil {
				return misused(cmd, "%w", err)
			}
			log := zerolog.New(cmd.ErrOrStderr()).Level(zerolog.WarnLevel).With().Timestamp().Logger()
			rep, err := bench.Transports(cmd.Context(), cfg, log, progressOf(cmd, asJSON))
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), rep, asJSON)
		},
	}
	f := cmd.Flags()
	f.IntVar(&cfg.Observations, "observations", 6000, "observations of one turn")
	f.IntVar(&cfg.Rounds, "rounds", 5, "turns of each transport, after one that warms up")
	f.IntVar(&cfg.Dim, "dim", 768, "dimension of the random embeddings")
	f.IntVar(&cfg.Batch, "batch", 100, "observations a request or frame")
	f.IntVar(&cfg.Producers, "producers", 2, "producers, each with a stream of its own")
	f.IntVar(&cfg.Window, "window", 8, "requests or frames in flight of each producer")
	f.StringVar(&cfg.Data, "data", "", "directory to make the run's temporary directory in")
	f.DurationVar(&cfg.Timeout, "timeout", 2*time.Minute, "longest time for each turn")
	f.BoolVar(&asJSON, "json", false, "print the report as one line of JSON, and no phases")
	return cmd
}

func benchSessionsCommand() *cobra.Command {
	var cfg bench.SessionsConfig
	var asJSON bool
	var connect string
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "Hold open sessions and print the memory of one",
		Long: `Open many sessions on an all-in-one node, from a process of their own, and print what memory the node needs for one that is
idle. gRPC sessions share connections, 500 on one; WebSockets have one each, which takes as many open files.`,
		Example: `  engram bench sessions --sessions 10000 --json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Validate(); err != nil {
				return misused(cmd, "%w", err)
			}
			if connect != "" {
				return bench.SessionClients(cmd.Context(), cfg, connect, os.Stdin, cmd.OutOrStdout())
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding this program, which the clients are: %w", err)
			}
			cfg.Client = []string{self, "bench", "sessions", "--sessions", strconv.Itoa(cfg.Sessions), "--transport", cfg.Transport}
			log := zerolog.New(cmd.ErrOrStderr()).Level(zerolog.WarnLevel).With().Timestamp().Logger()
			rep, err := bench.Sessions(cmd.Context(), cfg, log, progressOf(cmd, asJSON))
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), rep, asJSON)
		},
	}
	f := cmd.Flags()
	f.IntVar(&cfg.Sessions, "sessions", 10_000, "number of sessions")
	f.StringVar(&cfg.Transport, "transport", "grpc", "grpc or websocket")
	f.StringVar(&cfg.Data, "data", "", "directory to make the run's temporary directory in")
	f.StringVar(&connect, "connect", "", "`address` of a node to open the sessions at, instead of starting one; ends with the standard input")
	f.BoolVar(&asJSON, "json", false, "print the report as one line of JSON, and no phases")
	return cmd
}
