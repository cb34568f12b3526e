package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/embed"
	"github.com/engram-memory/engram/pkg/logging"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/registry"
)

// Config is what all daemons have in common.
type Config struct {
	NATS     bus.Config     `yaml:"nats"`
	Topology TopologyConfig `yaml:"topology"`
	// Metrics is the address of /metrics, /healthz and /readyz.
	Metrics string         `yaml:"metrics" default:"127.0.0.1:9090" usage:"address of /metrics, /healthz and /readyz; empty for none"`
	Log     logging.Config `yaml:"log"`
	// Listen is for that address and for the one for HTTP.
	Listen ListenConfig `yaml:",inline"`
}

// TopologyConfig is what the set of logs is created with.
type TopologyConfig struct {
	Shards   int `yaml:"shards" default:"0" min:"0" max:"256" usage:"number of logs of a new set (0: 8); another number than that of an existing set is refused"`
	Replicas int `yaml:"replicas" default:"0" min:"0" max:"5" usage:"servers that have a copy of each stream that is made (0: 1)"`
}

// Env is what a part shares with the process around it.
type Env struct {
	Conn *bus.Conn
	// Registry takes the part's metrics; parts of one process share it.
	Registry prometheus.Registerer
	// JetStream follows streams and consumers for /metrics.
	JetStream *metrics.JetStreamCollector
	// Recall is the latency of recalls, which workers observe, and of those over HTTP the recall API where it is alone.
	Recall *metrics.Recall
	// Alone tells that no worker runs in this process.
	Alone bool
	// Shared tells that a worker here shares the shards with those of other processes.
	Shared  bool
	Logger  zerolog.Logger
	Version string
}

// prepared is what a part has found in NATS.
type prepared struct {
	topology bus.Topology
	spaces   *registry.Registry
}

// prepare waits for NATS, makes the streams exist, and reads the definitions of spaces.
func prepare(ctx context.Context, cfg Config, env Env) (prepared, error) {
	if err := env.Conn.WaitConnected(ctx); err != nil {
		return prepared{}, err
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		p, passes, err := tryPrepare(ctx, cfg, env)
		if err == nil || !passes {
			return p, err
		}
		env.Logger.Warn().Err(err).Msg("JetStream does not answer yet")
		select {
		case <-ctx.Done():
			return p, errors.Join(err, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// tryPrepare says of an error whether it passes: a cluster elects its leaders after its servers answer, and a server may not
// have heard yet of a stream that another one has just made.
func tryPrepare(ctx context.Context, cfg Config, env Env) (p prepared, passes bool, err error) {
	var differences []bus.Difference
	p.topology, differences, err = bus.EnsureTopology(ctx, env.Conn.JS, bus.TopologyConfig(cfg.Topology))
	if err != nil {
		return p, errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, context.DeadlineExceeded), err
	}
	p.spaces, err = registry.Open(ctx, env.Conn.JS)
	if err != nil {
		return p, errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil, err
	}
	for _, d := range differences {
		env.Logger.Warn().Msg(d.String())
	}
	return p, false, nil
}

// embedders returns the built-in embedder, and the HTTP one that the environment describes.
func embedders() (*embed.Set, error) {
	all := []embed.Embedder{embed.NewLexical()}
	if cfg, ok := embed.HTTPConfigFromEnv(); ok {
		h, err := embed.NewHTTP(cfg)
		if err != nil {
			return nil, fmt.Errorf("the embedder of ENGRAM_EMBED_URL: %w", err)
		}
		all = append(all, h)
	}
	return embed.NewSet(all...), nil
}
