package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/node"
)

// Run runs the demonstration to its end. Whatever the outcome, it leaves nothing running, and no temporary directory.
//
// When ctx ends before the summary, the error is the cause of ctx as it is, unless stopping failed too; after it, which is
// how Keep ends, there is none. Without a toolchain to read it
// wraps corpus.ErrNoToolchain. An observation that was accepted and does not become searchable is an error, and so is a
// recall that fails.
func Run(ctx context.Context, cfg Config) error {
	src, err := openSource(ctx, cfg.Source)
	if err != nil {
		return cause(ctx, err)
	}
	return run(ctx, cfg, src)
}

// run is Run for a source that was found.
func run(ctx context.Context, cfg Config, src *source) (err error) {
	dir, remove, err := directory(ctx, cfg.Data)
	if err != nil {
		return err
	}
	defer closing(&err, remove)

	nodeConfig := node.DefaultConfig(dir)
	nodeConfig.NATS, nodeConfig.HTTP, nodeConfig.Metrics = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	n, err := node.Start(ctx, nodeConfig, cfg.Log)
	if err != nil {
		return cause(ctx, fmt.Errorf("starting the node: %w", err))
	}
	defer closing(&err, n.Close)

	return show(ctx, cfg, src, n, dir)
}

// show is the demonstration on a node that runs.
func show(ctx context.Context, cfg Config, src *source, n *node.Node, dir string) error {
	// Producers and readers are different programs in life, so they do not share a connection here either.
	producer, err := n.Connect("engram-demo-producer")
	if err != nil {
		return err
	}
	defer producer.Close()
	reader, err := n.Connect("engram-demo-reader")
	if err != nil {
		return err
	}
	defer reader.Close()

	out := newReport(cfg)
	out.opening(src, n, dir)
	d := &demonstration{
		src: src, loader: &loader{client: client.New(producer.NC)}, reader: client.New(reader.NC), nc: reader.NC,
		progress: newProgress(cfg.Stderr),
	}
	result, err := d.load(ctx)
	if err != nil {
		return cause(ctx, err)
	}
	out.loaded(result, d.loader, src)
	spaces := d.loader.topics.names()
	for _, q := range src.questions(spaces) {
		answer, err := ask(ctx, d.reader, q, spaces)
		if err != nil {
			return cause(ctx, err)
		}
		out.answer(answer)
		result.Questions = append(result.Questions, answer)
	}
	out.summary(result)
	if cfg.JSON {
		if err := json.NewEncoder(cfg.Stdout).Encode(result); err != nil {
			return fmt.Errorf("printing the result: %w", err)
		}
	}
	if cfg.Keep {
		out.keeping(n, dir, spaces)
	}
	if out.err != nil {
		return fmt.Errorf("printing the report: %w", out.err)
	}
	if cfg.Keep {
		<-ctx.Done()
	}
	return nil
}

// cause replaces an error by the reason for which the context ended, where that is what it comes from.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// closing closes something at the end of a function, whose error stays as it is unless closing fails too.
func closing(err *error, close func() error) {
	if failed := close(); failed != nil {
		*err = errors.Join(*err, failed)
	}
}
