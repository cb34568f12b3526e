// Package node is the whole of Engram in one process: an embedded nats-server with file-backed JetStream, a gateway, a
// worker and the recall API. The parts talk over NATS exactly as the daemons do; only their connections need no socket.
package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/dirlock"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/logging"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/worker"
)

// Config of a node.
type Config struct {
	// Data is the directory of everything that the node keeps; one process at a time may use it.
	Data string `yaml:"data" default:"engram-data" usage:"directory of everything that the node keeps"`
	// NATS, HTTP and Metrics are the addresses to listen on. An empty one is not listened on; port 0 is any free port.
	NATS    string `yaml:"nats" default:"127.0.0.1:4222" usage:"address of the embedded NATS server; empty for none"`
	HTTP    string `yaml:"http" default:"127.0.0.1:8080" usage:"address for observations and recall over HTTP, gRPC and WebSocket; empty for none"`
	Metrics string `yaml:"metrics" default:"127.0.0.1:9090" usage:"address of /metrics, /healthz and /readyz; empty for none"`

	// NATSAuth is a configuration of nats-server, of which the users and their permissions count, and its tls.
	NATSAuth string `yaml:"nats_auth" usage:"nats-server configuration with the accounts and users of the embedded NATS server, such as deployments/nats/accounts.conf"`
	// Listen is for all of these addresses.
	Listen daemon.ListenConfig `yaml:",inline"`

	Topology daemon.TopologyConfig `yaml:"topology"`
	Gateway  gateway.Config        `yaml:"gateway"`
	Worker   worker.Config         `yaml:"worker"`
	Log      logging.Config        `yaml:"log"`
}

// DefaultConfig returns the defaults with a data directory.
func DefaultConfig(data string) Config {
	return Config{
		Data: data, NATS: "127.0.0.1:4222", HTTP: "127.0.0.1:8080", Metrics: "127.0.0.1:9090",
		Gateway: gateway.DefaultConfig(), Worker: worker.DefaultConfig(),
	}
}

// Validate fills in the worker's profile and tells what of the configuration cannot be. The gateway's capacity follows
// the worker's, since they are one number.
func (c *Config) Validate() error {
	if c.Data == "" {
		return errors.New("data is empty; name a directory")
	}
	if err := c.Listen.Validate(daemon.Address{Key: "http", Addr: c.HTTP}, daemon.Address{Key: "metrics", Addr: c.Metrics}); err != nil {
		return err
	}
	if c.NATS != "" && !auth.Loopback(c.NATS) && c.NATSAuth == "" && !c.Listen.Insecure {
		return fmt.Errorf("nats is %s, where others than this machine can connect, and there are no users: set nats_auth "+
			"(deployments/nats/accounts.conf is one), listen on 127.0.0.1, or say --insecure", c.NATS)
	}
	if c.Topology.Replicas > 1 {
		return fmt.Errorf("topology.replicas is %d; this node has one NATS server, so leave it out, or run the daemons with a cluster", c.Topology.Replicas)
	}
	if c.Worker.Placement != worker.DefaultConfig().Placement {
		return errors.New("worker.placement is for space-workers that share the shards; this node holds all of them, so leave it out")
	}
	if c.Worker.Dir == worker.DefaultDir {
		c.Worker.Dir = filepath.Join(c.Data, "worker")
	}
	if err := c.Worker.Resolve(); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	if own := c.Gateway.Admission.Capacity; own != gateway.DefaultConfig().Admission.Capacity && own != c.Worker.Queue.Capacity {
		return fmt.Errorf("gateway.admission.capacity is %d and worker.queue.capacity %d; they are one number, so set the latter alone", own, c.Worker.Queue.Capacity)
	}
	c.Gateway.Admission.Capacity = c.Worker.Queue.Capacity
	if err := c.Gateway.Validate(); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

// Node is a running node.
type Node struct {
	cfg       Config
	nats      *natsServer
	listeners *daemon.Listeners
	gatherer  prometheus.Gatherer
	gateway   *daemon.Gateway
	worker    *worker.Worker
	recall    *daemon.Recall
	http      *daemon.HTTPServer
	metrics   *metrics.Server
	stops     []func() error
}

// stopTimeout bounds the stop of each part.
const stopTimeout = 20 * time.Second

// Start starts a node and returns when it is ready; ctx bounds the start alone. Close ends it.
func Start(ctx context.Context, cfg Config, log zerolog.Logger) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuration of the node: %w", err)
	}
	n := &Node{cfg: cfg}
	if err := n.start(ctx, log); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// start begins the parts in the order in which data goes through them backwards: what is started last is stopped first.
func (n *Node) start(ctx context.Context, log zerolog.Logger) error {
	lock, err := dirlock.Acquire(filepath.Join(n.cfg.Data, "LOCK"))
	if err != nil {
		return err
	}
	n.defers(lock.Release)
	if n.listeners, err = daemon.NewListeners(n.cfg.Listen, log); err != nil {
		return err
	}
	n.defers(n.listeners.Close)
	tlsConfig, err := n.listeners.TLS()
	if err != nil {
		return err
	}
	if n.nats, err = startNATS(n.cfg.NATS, filepath.Join(n.cfg.Data, "nats"), n.cfg.NATSAuth, tlsConfig, log); err != nil {
		return err
	}
	n.defers(func() error { n.nats.stop(); return nil })

	conn, err := n.connect("engram-node", log)
	if err != nil {
		return err
	}
	env, gatherer, stop, err := daemon.NewEnv(conn, log)
	if err != nil {
		return err
	}
	n.gatherer = gatherer
	n.defers(stop)
	if err := n.startParts(ctx, env, log); err != nil {
		return err
	}
	return n.listen()
}

func (n *Node) startParts(ctx context.Context, env daemon.Env, log zerolog.Logger) error {
	common := daemon.Config{Topology: n.cfg.Topology}
	own := func(name string) (daemon.Env, error) {
		e := env
		var err error
		e.Conn, err = n.connect(name, log)
		return e, err
	}
	e, err := own("engram-worker")
	if err != nil {
		return err
	}
	if n.worker, err = daemon.StartWorker(ctx, daemon.WorkerConfig{Config: common, Worker: n.cfg.Worker}, e); err != nil {
		return err
	}
	n.defers(n.worker.Close)
	if e, err = own("engram-recall"); err != nil {
		return err
	}
	if n.recall, err = daemon.StartRecall(ctx, daemon.RecallConfig{Config: common}, e); err != nil {
		return err
	}
	n.defers(n.recall.Close)
	if e, err = own("engram-gateway"); err != nil {
		return err
	}
	if n.gateway, err = daemon.StartGateway(ctx, daemon.GatewayConfig{Config: common, Gateway: n.cfg.Gateway}, e); err != nil {
		return err
	}
	n.defers(n.gateway.Close)
	return nil
}

func (n *Node) listen() (err error) {
	if n.cfg.Metrics != "" {
		n.metrics, err = n.listeners.Metrics(n.cfg.Metrics, n.gatherer, metrics.Checks{
			"gateway": n.gateway.Ready, "worker": n.worker.Ready, "recall": n.recall.Ready,
		})
		if err != nil {
			return err
		}
		n.defers(func() error { return bounded(n.metrics.Shutdown) })
	}
	if n.cfg.HTTP != "" {
		faces, err := daemon.Faces(n.gateway, n.recall)
		if err != nil {
			return err
		}
		if n.http, err = n.listeners.HTTP(n.cfg.HTTP, faces...); err != nil {
			return err
		}
		n.defers(func() error { return bounded(n.http.Close) })
		n.defers(func() error { return bounded(n.gateway.Drain) })
	}
	return nil
}

// connect opens a connection without a socket, closed when the node stops.
func (n *Node) connect(name string, log zerolog.Logger) (*bus.Conn, error) {
	conn, err := bus.Connect(bus.Config{Name: name, InProcess: n.nats.server, Options: n.nats.login, Log: log})
	if err != nil {
		return nil, err
	}
	n.defers(func() error { conn.Close(); return nil })
	return conn, nil
}

// Connect opens a connection of the caller's own to the embedded server, which the caller closes before the node.
func (n *Node) Connect(name string) (*bus.Conn, error) {
	return bus.Connect(bus.Config{Name: name, InProcess: n.nats.server, Options: n.nats.login, Log: zerolog.Nop()})
}

// NATSURL is where the node takes NATS clients, empty where it does not.
func (n *Node) NATSURL() string { return n.nats.url }

// HTTPAddr is the host:port for HTTP, empty for none.
func (n *Node) HTTPAddr() string {
	if n.http == nil {
		return ""
	}
	return n.http.Addr()
}

// MetricsAddr is the host:port of /metrics, empty for none.
func (n *Node) MetricsAddr() string {
	if n.metrics == nil {
		return ""
	}
	return n.metrics.Addr()
}

func (n *Node) defers(stop func() error) { n.stops = append(n.stops, stop) }

func bounded(stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return stop(ctx)
}

// Close stops what was started, in reverse: intake first, the server last.
func (n *Node) Close() error {
	var errs []error
	for _, stop := range slices.Backward(n.stops) {
		errs = append(errs, stop())
	}
	n.stops = nil
	return errors.Join(errs...)
}

// Staleness is the largest staleness of the node's shards.
func (n *Node) Staleness(now time.Time) time.Duration { return n.worker.Staleness(now) }

// Await returns once the node has made searchable everything up to a sequence of each shard, or with the context's
// error.
func (n *Node) Await(ctx context.Context, sequences map[int]uint64) error {
	return n.worker.Await(ctx, sequences)
}

// Capacity is the number of observations of a shard between accepted and searchable.
func (n *Node) Capacity() int { return n.cfg.Worker.Queue.Capacity }

// Applied is the sequence up to which everything of a shard is searchable here.
func (n *Node) Applied(shard int) uint64 { return n.worker.Applied(shard) }

// DrainRate is how many observations a second the node last made searchable while it had a backlog, of all shards.
func (n *Node) DrainRate() float64 { return n.worker.DrainRate() }
