package daemon

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/metrics"
)

type nothing struct{}

func (nothing) Ready() error { return nil }
func (nothing) Close() error { return nil }

// A start that an outage ends is begun again, on metrics of its own; any other failure ends the daemon.
func TestStartSurvivesAnOutage(t *testing.T) {
	server := bustest.Start(t)
	conn := server.Connect()
	broken := errors.New("the disk is on fire")
	for name, c := range map[string]struct {
		failures []error
		tries    int
		want     error
	}{
		"none":       {nil, 1, nil},
		"outage":     {[]error{fmt.Errorf("looking: %w", nats.ErrReconnectBufExceeded), context.DeadlineExceeded}, 3, nil},
		"broken":     {[]error{broken}, 1, broken},
		"both":       {[]error{nats.ErrNoResponders, broken}, 2, broken},
		"wrong logs": {[]error{bus.ErrShards}, 1, bus.ErrShards},
	} {
		tries := 0
		p := Program[struct{}]{Name: "test", Start: func(_ context.Context, _ struct{}, env Env) (Part, error) {
			if _, err := metrics.NewWorker(env.Registry, 1); err != nil {
				t.Error(err)
			}
			if tries++; tries <= len(c.failures) {
				return nil, c.failures[tries-1]
			}
			return nothing{}, nil
		}}
		s, err := p.start(t.Context(), struct{}{}, conn, zerolog.Nop())
		if !errors.Is(err, c.want) || tries != c.tries {
			t.Errorf("%s: %d tries, %v", name, tries, err)
		}
		if err == nil {
			if err := s.stopEnv(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// The interrupt of a start that waits for the end of an outage is no failure of its own.
func TestStartIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	conn := bustest.Start(t).Connect()
	p := Program[struct{}]{Name: "test", Start: func(context.Context, struct{}, Env) (Part, error) {
		cancel()
		return nil, nats.ErrTimeout
	}}
	if _, err := p.start(ctx, struct{}{}, conn, zerolog.Nop()); !errors.Is(err, nats.ErrTimeout) {
		t.Error(err)
	}
}
