package daemon

import (
	"context"
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/engram-memory/engram/pkg/openapi"
	"github.com/engram-memory/engram/pkg/recall"
	"github.com/engram-memory/engram/pkg/registry"
	"github.com/engram-memory/engram/pkg/rpc"
)

// RecallConfig is the configuration of recall-api.
type RecallConfig struct {
	Config `yaml:",inline"`
	// HTTP is the address of the HTTP face.
	HTTP string `yaml:"http" default:"127.0.0.1:8080" usage:"address for recall over HTTP and gRPC; empty for none"`
}

// Validate tells what of the configuration cannot be.
func (c *RecallConfig) Validate() error {
	return c.Listen.Validate(Address{"http", c.HTTP}, Address{"metrics", c.Metrics})
}

// Recall is a running recall API.
type Recall struct {
	router  *recall.Router
	service *recall.Service
	spaces  *registry.Registry
}

// StartRecall starts one; ctx bounds the start alone.
func StartRecall(ctx context.Context, cfg RecallConfig, env Env) (*Recall, error) {
	p, err := prepare(ctx, cfg.Config, env)
	if err != nil {
		return nil, err
	}
	r := &Recall{spaces: p.spaces}
	set, err := embedders()
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := followStreams(ctx, env, p.topology); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	var latency prometheus.Observer
	if env.Alone {
		latency = env.Recall.Latency
	}
	r.router = recall.New(recall.Options{
		Latency: latency,
		Conn:    env.Conn.NC, Topology: p.topology, Registry: p.spaces, Embedders: set,
		Logger: env.Logger.With().Str("part", "recall").Logger(), Version: env.Version,
	})
	if r.service, err = r.router.Serve(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Routes returns those of the router.
func (r *Recall) Routes() []openapi.Route { return r.router.Routes() }

// Handlers returns that of RecallService.
func (r *Recall) Handlers() []http.Handler {
	mux := http.NewServeMux()
	rpc.MountRecall(mux, r.router, r.router.Latency)
	return []http.Handler{mux}
}

// Services returns what its Handlers serve over gRPC, each with what tells whether it can.
func (r *Recall) Services() map[string]func() error {
	return map[string]func() error{rpc.RecallService: r.Ready}
}

// Ready tells why it cannot answer, nil when it can.
func (r *Recall) Ready() error { return r.router.Ready() }

// Close stops taking requests and waits for those that run.
func (r *Recall) Close() error {
	var errs []error
	if r.service != nil {
		errs = append(errs, r.service.Stop())
	}
	return errors.Join(append(errs, r.spaces.Close())...)
}
