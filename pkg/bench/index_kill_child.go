package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore"
)

// KillLoad is what the process that is killed does.
type KillLoad struct {
	// Base is a file of rows to insert, .npy or IDX; empty for generated ones of Dim components.
	Base string `json:"base"`
	Dim  int    `json:"dim"`
	// Rows is how many rows there are before it is killed for the first time.
	Rows    int `json:"rows"`
	Threads int `json:"threads"`
	// GraphRows is as in vecstore.Options.
	GraphRows uint32 `json:"graph_rows"`
	// Checkpoint is the time between two checkpoints, 0 for none.
	Checkpoint time.Duration `json:"checkpoint"`
}

// killTask is what the process reads from its stdin, as one line.
type killTask struct {
	KillLoad
	Dir string `json:"dir"`
	// Scratch is for files of its own.
	Scratch string `json:"scratch"`
}

// runAndKill has a process insert from where the last one died, and kills it. It returns how many rows the process has
// said to be flushed.
func (r *killRun) runAndKill(ctx context.Context, after time.Duration) (flushed int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.cfg.Child[0], r.cfg.Child[1:]...)
	var trouble strings.Builder
	cmd.Stderr = &trouble
	// It lives no longer than its stdin, so that it does not go on where this process is killed itself.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, fmt.Errorf("making a pipe to the process: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("making a pipe from the process: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("starting the process that is to be killed: %w", err)
	}
	err = json.NewEncoder(stdin).Encode(killTask{KillLoad: r.cfg.KillLoad, Dir: r.shardDir(), Scratch: r.dir})
	lines := bufio.NewScanner(stdout)
	var kill *time.Timer
	for err == nil && lines.Scan() {
		if flushed, err = strconv.Atoi(lines.Text()); err == nil && kill == nil && flushed >= r.cfg.Rows {
			kill = time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // it is found out below when it was not
		}
	}
	if kill == nil || err != nil {
		stopped := ctx.Err() != nil
		cancel()
		werr := cmd.Wait()
		if stopped { // and the process with it
			return 0, context.Cause(ctx)
		}
		return 0, errors.Join(fmt.Errorf("the process did not get as far as to be killed: %w; %s", werr, trouble.String()), err, lines.Err())
	}
	kill.Stop()
	if werr := cmd.Wait(); cmd.ProcessState.ExitCode() != -1 {
		return 0, fmt.Errorf("the process ended of itself: %w; %s", werr, trouble.String())
	}
	return flushed, nil
}

// KillChild is the process that is killed: it inserts for ever, and writes a line with the number of its rows after each
// write to the row log.
func KillChild(ctx context.Context, stdin io.Reader, stdout io.Writer) (err error) {
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("reading what to do: %w", err)
	}
	var task killTask
	if err := json.Unmarshal(line, &task); err != nil {
		return fmt.Errorf("reading what to do: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, in) // until its parent is gone
		cancel()
	}()
	runtime.GOMAXPROCS(task.Threads)
	return task.work(ctx, stdout)
}

func (t *killTask) work(ctx context.Context, stdout io.Writer) (err error) {
	dir, err := os.MkdirTemp(t.Scratch, "child-")
	if err != nil {
		return fmt.Errorf("making a directory for the process: %w", err)
	}
	rows, err := openRows(t.Base, "", dir, t.Dim, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.close()) }()
	shard, _, err := vecstore.Open(t.Dir, benchSource(0), t.options())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shard.Abandon()) }()
	f := newFiller(shard, rows.src)
	f.flushed = func(rows int) error {
		_, err := fmt.Fprintln(stdout, rows)
		return err
	}
	first := 0
	if n := shard.Appended(); n > 0 {
		first = int(n) - 1
	} else if err := f.define(cosineSpace(rows.src.dim)); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- checkpoints(ctx, shard, t.Checkpoint) }()
	// The last batch of the process before may have lost its end.
	for ctx.Err() == nil {
		if err := f.fill(ctx, first, first+fillBatch); err != nil {
			return err
		}
		first += fillBatch
		select {
		case err := <-failed:
			if err != nil {
				return err
			}
		default:
		}
	}
	return ctx.Err()
}
