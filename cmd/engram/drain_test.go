package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/worker"
)

// startWorkers starts workers that share two shards, with a NATS server of their own.
func startWorkers(t *testing.T, names ...string) {
	t.Helper()
	s := bustest.Start(t)
	t.Setenv(envServer, s.URL())
	if _, _, err := bus.EnsureTopology(t.Context(), s.Connect().JS, bus.TopologyConfig{Shards: 2}); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		conn := s.Connect()
		env, _, stop, err := daemon.NewEnv(conn, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		env.Shared = true
		cfg := daemon.WorkerConfig{Worker: worker.DefaultConfig()}
		cfg.Worker.Name, cfg.Worker.Dir = name, t.TempDir()
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		w, err := daemon.StartWorker(ctx, cfg, env)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(30 * time.Second); w.Ready() != nil; <-tick.C {
			if time.Now().After(end) {
				t.Fatal(w.Ready())
			}
		}
	}
}

func TestDrain(t *testing.T) {
	startWorkers(t, "w1", "w2")
	o := engramIn(t.Context(), strings.NewReader(""), "drain", "w1")
	if o.code != 0 || o.stdout != "w1 holds nothing\n" {
		t.Errorf("drain: exit code %d, stdout %q, stderr %q", o.code, o.stdout, o.stderr)
	}
	o = engramIn(t.Context(), strings.NewReader(""), "status")
	contains(t, o.stdout, "w1 gives up its shards", "0      w2", "1      w2", "serving", "placed here")
	if out := engram(t, "drain", "w1", "--cancel"); out != "w1 takes shards again\n" {
		t.Errorf("drain --cancel printed %q", out)
	}
	contains(t, fails(t, exitFailure, "drain", "w3"), `worker "w3" does not answer`)
	contains(t, fails(t, exitUsage, "drain", "w.3"), "no name of a worker")
}
