package simulate_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/worker"
)

// Of the process of a worker, which is this program again: memory of several workers in one process could not be told apart.
const (
	envWorker = "SIMULATE_TEST_WORKER"
	envURL    = "SIMULATE_TEST_URL"
	envDir    = "SIMULATE_TEST_DIR"
	envGraph  = "SIMULATE_TEST_GRAPH_ROWS"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(envWorker); name != "" {
		if err := beWorker(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// beWorker runs a worker until stdin ends, and answers each line of it with the resident memory of the process.
func beWorker(name string) (err error) {
	graph, err := strconv.Atoi(os.Getenv(envGraph))
	if err != nil {
		return err
	}
	conn, err := bus.Connect(bus.Config{URL: os.Getenv(envURL), Name: name, FailFast: true})
	if err != nil {
		return err
	}
	defer conn.Close()
	env, _, stop, err := daemon.NewEnv(conn, zerolog.Nop())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	env.Shared = true
	cfg := daemon.WorkerConfig{Worker: worker.DefaultConfig()}
	cfg.Worker.Name, cfg.Worker.Dir, cfg.Worker.Index.GraphRows, cfg.Worker.Placement.DrainTimeout = name, os.Getenv(envDir), graph, 0
	if err := cfg.Validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w, err := daemon.StartWorker(ctx, cfg, env)
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			return errors.Join(err, w.Close())
		}
		_, rss, _ := strings.Cut(string(status), "VmRSS:")
		fmt.Println(strings.Fields(rss)[0])
	}
	return w.Close()
}
