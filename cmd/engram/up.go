package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/config"
	"github.com/engram-memory/engram/pkg/logging"
	"github.com/engram-memory/engram/pkg/node"
	"github.com/engram-memory/engram/pkg/version"
)

const upLong = `Run a whole Engram in this process until Ctrl-C: a NATS server with JetStream on disk, the gateway, the worker and the
recall API. The addresses are printed on stdout when it is ready; the log goes to stderr.

Every setting can stand in a YAML file (--config), in the environment, or in a flag, each overruling the one before it;
--print-config prints what comes out. An address with port 0 takes any free port, an empty one is not listened on.`

const upExample = `  engram up --data ./engram-data
  engram up --http 127.0.0.1:0 --nats 127.0.0.1:0 --metrics ""
  engram up --worker.profile low-latency --print-config`

// upCommand runs the node. The error is a mistake in the declaration of the configuration.
func upCommand() (*cobra.Command, error) {
	cmd := &cobra.Command{Use: "up", Short: "Run a whole Engram in this process", Long: upLong, Example: upExample, Args: cobra.NoArgs}
	var cfg node.Config
	binding, err := config.Bind(cmd.Flags(), &cfg, envServer)
	if err != nil {
		return nil, fmt.Errorf("the flags of up: %w", err)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch err := binding.Resolve(os.Environ(), cmd.OutOrStdout()); {
		case errors.Is(err, config.ErrPrinted):
			return nil
		case err != nil:
			return &usageError{cmd.CommandPath(), err}
		}
		return up(cmd, cfg)
	}
	return cmd, nil
}

// up is done, without an error, when it has stopped cleanly.
func up(cmd *cobra.Command, cfg node.Config) error {
	ctx := cmd.Context()
	log, err := logging.New(cfg.Log, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	n, err := node.Start(ctx, cfg, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped while it started
		}
		return err
	}
	if err := printAddresses(cmd.OutOrStdout(), n, cfg.Data, cfg.Listen.TLS.Enabled()); err != nil {
		return errors.Join(err, n.Close())
	}
	<-ctx.Done()
	log.Info().Msg("stopping")
	return n.Close()
}

func printAddresses(w io.Writer, n *node.Node, data string, tls bool) error {
	scheme := "http://"
	if tls {
		scheme = "https://"
	}
	if abs, err := filepath.Abs(data); err == nil {
		data = abs
	}
	var b strings.Builder
	fmt.Fprintf(&b, "engram %s is ready; Ctrl-C stops it\n", version.String())
	for _, part := range []struct{ name, before, addr, after string }{
		{"nats", "", n.NATSURL(), ""}, {"http", scheme, n.HTTPAddr(), ""}, {"metrics", scheme, n.MetricsAddr(), "/metrics"},
		{"data", "", data, ""},
	} {
		if part.addr != "" {
			fmt.Fprintf(&b, "  %-8s %s\n", part.name, part.before+part.addr+part.after)
		}
	}
	return printed(io.WriteString(w, b.String()))
}
