package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/importer"
)

const importLong = `Load a file into a space. The kind of file is told by its name:

  .jsonl  the JSON of an observation on each line, as docs/wire.md has it: id, text, embedding, metadata, ...
  .npy    float32 or float16 of two dimensions; each row is an embedding. Rows of one component need a space of dimension 1
  .txt    the text of an observation on each line

What has no id gets one from the file's name and the number of its line (from 1) or row (from 0), such as "notes.txt:17";
--id-prefix puts another text before the number, for two files of one name. What is there already is not sent again, so a
second run of the same file adds nothing, and a run that was stopped goes on where it was.

Lines that are refused, such as one of a .txt that is not UTF-8 or has over 64 KiB, are reported on stderr, and the rest is
imported; the exit code is then 1. Backpressure is waited out. --timeout is how long an Engram may be silent before the import gives up.`

const importExample = `  engram import notes notes.txt
  engram import points vectors.npy --batch 500 --window 16
  engram import events day1/events.jsonl --id-prefix day1: --json`

func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import SPACE FILE", Short: "Load a file of JSON lines, embeddings or text", Long: importLong, Example: importExample, Args: cobra.ExactArgs(2),
	}
	c := connectionFlags(cmd, importer.DefaultPatience)
	cfg := importer.Config{}
	fs := cmd.Flags()
	fs.IntVar(&cfg.Batch, "batch", importer.DefaultBatch, "observations in one request, 1 to 999")
	fs.IntVar(&cfg.Window, "window", importer.DefaultWindow, "requests under way at once, 1 to 256")
	prefix := fs.String("id-prefix", "", "what ids begin with where the file has none (default the file's name and a colon)")
	cmd.ValidArgsFunction = c.completeSpace
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := spaceArgument(cmd, args[0]); err != nil {
			return err
		}
		if c.timeout <= 0 || cfg.Batch < 1 || cfg.Window < 1 {
			return misused(cmd, "--timeout, --batch and --window must be above 0")
		}
		cfg.Space, cfg.Patience = args[0], c.timeout
		if err := cfg.Validate(); err != nil {
			return misused(cmd, "%w", err)
		}
		src, err := importer.Open(args[1], *prefix)
		if errors.Is(err, importer.ErrName) {
			return misused(cmd, "%w", err)
		}
		if err != nil {
			return err
		}
		defer src.Close() // it was only read
		return c.withoutLimit(cmd, func(ctx context.Context, nc *nats.Conn) error {
			return importFile(ctx, cmd, nc, src, cfg, args[1], c.json)
		})
	}
	return cmd
}

func importFile(ctx context.Context, cmd *cobra.Command, nc *nats.Conn, src importer.Source, cfg importer.Config, path string, asJSON bool) error {
	stderr := cmd.ErrOrStderr()
	cfg.MaxPayload = nc.MaxPayload()
	bar, err := newBar(stderr, src)
	if err != nil {
		return err
	}
	cfg.Progress = bar.add
	cfg.Refused = func(r importer.Refusal) {
		bar.clear()
		fmt.Fprintf(stderr, "%s: %s %d: %v\n", path, src.Unit(), r.Number, r.Err)
	}
	start := time.Now()
	result, err := importer.Run(ctx, client.New(nc), src, cfg)
	bar.finish()
	switch {
	case err != nil && ctx.Err() != nil:
		return &interruptedError{fmt.Sprintf("; %s sent, and the same command goes on from here", grouped(result.Sent))}
	case err != nil && result.Sent > 0:
		return fmt.Errorf("%w; %s sent before that, and the same command goes on from there", err, grouped(result.Sent))
	case err != nil:
		return err
	case result.Records == 0:
		return fmt.Errorf("%s has no %s to import", path, src.Unit())
	}
	if err := printImported(cmd.OutOrStdout(), result, cfg.Space, path, time.Since(start), asJSON); err != nil {
		return err
	}
	if result.Refused > 0 {
		return fmt.Errorf("%s of %s refused; mend them and run the same command again", grouped(result.Refused), plural(result.Records, src.Unit()))
	}
	return nil
}

// importJSON is the result of an import for programs.
type importJSON struct {
	Space        string  `json:"space"`
	File         string  `json:"file"`
	Records      int64   `json:"records"`
	Sent         int64   `json:"sent"`
	Present      int64   `json:"present"`
	Refused      int64   `json:"refused"`
	Backpressure int64   `json:"backpressure"`
	Seconds      float64 `json:"seconds"`
	Position     string  `json:"position,omitempty"`
	Searchable   bool    `json:"searchable"`
}

func printImported(w io.Writer, r importer.Result, space, path string, took time.Duration, asJSON bool) error {
	if asJSON {
		body, err := json.Marshal(importJSON{
			Space: space, File: path, Records: r.Records, Sent: r.Sent, Present: r.Present, Refused: r.Refused,
			Backpressure: r.Backpressure, Seconds: took.Seconds(), Position: r.Position, Searchable: r.Searchable,
		})
		if err != nil {
			return fmt.Errorf("encoding the result: %w", err)
		}
		return printJSON(w, body, nil)
	}
	text := fmt.Sprintf("%s: %s sent to %s, %s there already, %s refused, in %v", filepath.Base(path), grouped(r.Sent), space,
		grouped(r.Present), grouped(r.Refused), took.Round(time.Millisecond))
	if r.Sent > 0 {
		text += fmt.Sprintf(" (%s/s)", grouped(int64(float64(r.Sent)/took.Seconds())))
	}
	if r.Backpressure > 0 {
		text += fmt.Sprintf("; %s held back by backpressure", plural(r.Backpressure, "request"))
	}
	if !r.Searchable {
		text += "; not all of it is searchable yet"
	}
	return printed(fmt.Fprintln(w, text))
}
