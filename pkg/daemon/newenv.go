package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/version"
)

// NewEnv makes an Env with a registry of its own, and begins to read JetStream's state for it until stop is called.
func NewEnv(conn *bus.Conn, log zerolog.Logger) (env Env, gatherer prometheus.Gatherer, stop func() error, err error) {
	reg := metrics.NewRegistry()
	collector, err := metrics.NewJetStreamCollector(reg, time.Second)
	if err != nil {
		return env, nil, nil, err
	}
	rec, err := metrics.NewRecall(reg)
	if err != nil {
		return env, nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- collector.Run(ctx) }()
	stop = func() error {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	}
	return Env{Conn: conn, Registry: reg, JetStream: collector, Recall: rec, Logger: log, Version: version.Number}, reg, stop, nil
}
