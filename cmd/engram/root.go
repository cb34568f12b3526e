package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/version"
	"github.com/engram-memory/engram/pkg/wire"
)

const rootLong = `Engram is a streaming vector memory on NATS JetStream. Observations (text, an embedding, metadata) go into spaces; a
recall finds the nearest ones of a space while others are still coming in.

"engram up" runs all of it in one process. The other commands ask a running Engram: the one at --server, by default
nats://127.0.0.1:4222, or at ENGRAM_SERVER.`

const rootExample = `  engram up --data ./engram-data
  engram observe notes "the door code is 4711" --id door
  engram recall notes "how do I get in?"`

// newRoot makes the command with all of its subcommands. The error is a mistake in this program.
func newRoot(stdin io.Reader, stdout, stderr io.Writer) (*cobra.Command, error) {
	root := &cobra.Command{
		Use:     "engram",
		Short:   "A streaming vector memory on NATS JetStream",
		Long:    rootLong,
		Example: rootExample,
		Version: version.String(),
		// Errors are printed by run, in one line.
		SilenceErrors: true, SilenceUsage: true,
	}
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	up, err := upCommand()
	if err != nil {
		return nil, err
	}
	root.AddCommand(demoCommand(), up, createCommand(), observeCommand(), recallCommand(), getCommand(), listCommand(), importCommand(),
		forgetCommand(), compactCommand(), snapshotCommand(), verifyCommand(), restoreCommand(), trimCommand(), statusCommand(), drainCommand(), tokenCommand(), dumpCommand(), benchCommand(), simulateCommand(), versionCommand())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd.CommandPath(), err} })
	root.InitDefaultCompletionCmd() // which remembers stdout as it is now
	markUsage(root)
	return root, nil
}

// markUsage makes errors of arguments, here and below, errors of usage. A command that is only there for those below it
// prints its help, and knows no arguments.
func markUsage(cmd *cobra.Command) {
	if !cmd.Runnable() {
		cmd.Args = unknownCommand
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return &usageError{cmd.CommandPath(), err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		markUsage(sub)
	}
}

func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("there is no command %q", args[0])
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		err = fmt.Errorf("%w; did you mean %s?", err, strings.Join(like, " or "))
	}
	return err
}

// misused is an error about the flags or arguments of a command.
func misused(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
}

// refusedBy is the error for what the contract refuses of the command line without an Engram having been asked; nil for none.
func refusedBy(cmd *cobra.Command, refused *wire.Error) error {
	if refused == nil {
		return nil
	}
	return &usageError{cmd.CommandPath(), refused}
}
