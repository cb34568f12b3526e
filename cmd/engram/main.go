// Command engram is Engram at a shell: the all-in-one node, and what one asks a running Engram for.
//
// Its exit code is 0, 1 after a failure, 2 when the command line is not understood, and 130 after Ctrl-C. A failure is
// one line on stderr.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/wire"
)

// Exit codes beside 0 and daemon.ExitInterrupt. What an Engram refuses is a failure; what needs none to be refused is usage.
const (
	exitFailure = 1
	exitUsage   = daemon.ExitUsage
)

func main() {
	leaveRoomForSyncs(os.Getenv)
	ctx, interrupted, stop := daemon.Signals(context.Background())
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if code == 0 && interrupted() {
		code = daemon.ExitInterrupt
	}
	os.Exit(code)
}

// leaveRoomForSyncs doubles GOMAXPROCS where nobody has set it. The embedded server syncs every commit, and a goroutine
// in a system call keeps its processor until the scheduler takes it away, up to 10 ms later: with one for each core all
// can be asleep in a sync while others could run (docs/BENCHMARKS.md has the comparison).
func leaveRoomForSyncs(env func(string) string) {
	if env("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	}
}

// run runs one command line and returns its exit code. When ctx ends, the command stops cleanly; one that was not done
// then has the code of an interrupt.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root, err := newRoot(stdin, stdout, stderr)
	if err == nil {
		root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		return 0
	}
	interrupted := ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx)))
	if interrupted && nothingBut(err, context.Cause(ctx)) {
		err = &interruptedError{}
	}
	fmt.Fprintf(stderr, "engram: %s\n", line(err))
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case interrupted:
		return daemon.ExitInterrupt
	}
	return exitFailure
}

// nothingBut tells whether an error, and each of those that it joins, says nothing but that it was stopped, in whatever
// words: they are no news to who pressed Ctrl-C.
func nothingBut(err, cause error) bool {
	switch e := err.(type) {
	case *interruptedError: // which knows more
		return false
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !nothingBut(err, cause) })
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return nothingBut(inner, cause)
		}
	}
	return err == context.Canceled || err == cause
}

// line is an error as one line.
func line(err error) string {
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	var e *wire.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		text += fmt.Sprintf("; try again in %v", e.RetryAfter)
	}
	return text
}

// usageError is about the command line itself.
type usageError struct {
	command string
	err     error
}

func (e *usageError) Error() string { return fmt.Sprintf("%v; see %s --help", e.err, e.command) }
func (e *usageError) Unwrap() error { return e.err }

// interruptedError says that a command was stopped before it was done. It is a context.Canceled.
type interruptedError struct{ what string }

func (e *interruptedError) Error() string        { return "interrupted" + e.what }
func (e *interruptedError) Is(target error) bool { return target == context.Canceled }
