package daemon

import (
	"context"
	"errors"

	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/membership"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/worker"
)

// WorkerConfig is the configuration of space-worker.
type WorkerConfig struct {
	Config `yaml:",inline"`
	Worker worker.Config `yaml:",inline"`
}

// Validate fills in the profile and tells what of the configuration cannot be.
func (c *WorkerConfig) Validate() error {
	if err := c.Listen.Validate(Address{"metrics", c.Metrics}); err != nil {
		return err
	}
	return c.Worker.Resolve()
}

// StartWorker starts one; ctx bounds the start alone. Its Close ends it.
func StartWorker(ctx context.Context, cfg WorkerConfig, env Env) (*worker.Worker, error) {
	p, err := prepare(ctx, cfg.Config, env)
	if err != nil {
		return nil, err
	}
	// A worker learns definitions from the log.
	if err := p.spaces.Close(); err != nil {
		return nil, err
	}
	m, err := metrics.NewWorker(env.Registry, cfg.Worker.MaxSpaceLabels)
	if err != nil {
		return nil, err
	}
	if err := followStreams(ctx, env, p.topology); err != nil {
		return nil, err
	}
	log := env.Logger.With().Str("part", "worker").Str("worker", cfg.Worker.Name).Logger()
	var group *membership.Group
	if env.Shared {
		if group, err = join(ctx, cfg.Worker, env, p.topology, log); err != nil {
			return nil, err
		}
	}
	return worker.Start(ctx, worker.Options{
		Config: cfg.Worker, Group: group, Conn: env.Conn.NC, JetStream: env.Conn.JS, Topology: p.topology, Metrics: m,
		RecallLatency: env.Recall.Latency, JetStreamMetrics: env.JetStream,
		Logger: log, Version: env.Version,
	})
}

// join makes the worker one of those that share the shards; one with a list of its own tells them what it answers for.
func join(ctx context.Context, cfg worker.Config, env Env, t bus.Topology, log zerolog.Logger) (*membership.Group, error) {
	return membership.Join(ctx, membership.Options{
		JetStream: env.Conn.JS, Grace: cfg.Placement.Grace, Logger: log,
		Self: membership.Member{Name: cfg.Name, Epoch: t.Epoch, Version: env.Version, Pinned: len(cfg.Shards) > 0},
	})
}

// followStreams has the logs and the quarantine read for /metrics.
func followStreams(ctx context.Context, env Env, t bus.Topology) error {
	names := []string{bus.QuarantineStream}
	for shard := range t.Shards {
		names = append(names, bus.LogStream(shard))
	}
	var errs []error
	for _, name := range names {
		s, err := env.Conn.JS.Stream(ctx, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		env.JetStream.AddStream(name, s)
	}
	return errors.Join(errs...)
}
