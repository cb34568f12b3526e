package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Signals returns a context that SIGINT and SIGTERM end, and a function that tells whether it was SIGINT. A second
// signal ends the process at once, but for the removal of what [TempDir] made; a third one does not wait for that.
func Signals(parent context.Context) (ctx context.Context, interrupted func() bool, stop func()) {
	left := &leftovers{dirs: map[string]struct{}{}}
	ctx, cancel := context.WithCancelCause(context.WithValue(parent, leftoversKey{}, left))
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 1; ; n++ {
			s, more := <-signals
			switch {
			case !more:
				return
			case n == 1:
				cancel(signalError{s})
			case n == 2:
				go func() {
					left.remove()
					os.Exit(ExitInterrupt)
				}()
			default:
				os.Exit(ExitInterrupt)
			}
		}
	}()
	return ctx, func() bool {
			var s signalError
			return errors.As(context.Cause(ctx), &s) && s.Signal == syscall.SIGINT
		}, func() {
			signal.Stop(signals)
			close(signals)
			<-done
			cancel(nil)
		}
}

type signalError struct{ os.Signal }

func (e signalError) Error() string { return "stopped by " + e.String() }

// TempDir makes a temporary directory within parent, or where the system has them if that is empty. The caller removes it
// with remove, and a second signal does so before it ends the process, if ctx comes from [Signals].
func TempDir(ctx context.Context, parent, pattern string) (dir string, remove func() error, err error) {
	left, ok := ctx.Value(leftoversKey{}).(*leftovers)
	if !ok {
		left = &leftovers{dirs: map[string]struct{}{}}
	}
	left.mu.Lock()
	defer left.mu.Unlock()
	if dir, err = os.MkdirTemp(parent, pattern); err != nil {
		return "", nil, fmt.Errorf("making a temporary directory: %w", err)
	}
	left.dirs[dir] = struct{}{}
	return dir, func() error {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("removing the temporary directory: %w", err)
		}
		left.mu.Lock()
		defer left.mu.Unlock()
		delete(left.dirs, dir)
		return nil
	}, nil
}

type leftoversKey struct{}

// leftovers are the temporary directories that there are.
type leftovers struct {
	mu   sync.Mutex
	dirs map[string]struct{}
}

// removals is how often the removal of a directory is tried that somebody still writes to.
const removals = 100

// remove removes all of them and, since the process is about to end, lets no other one be made.
func (l *leftovers) remove() {
	l.mu.Lock()
	for dir := range l.dirs {
		for range removals {
			if os.RemoveAll(dir) == nil {
				break
			}
		}
	}
}
