package daemon

import (
	"context"
	"errors"
	"net/http"

	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/registry"
)

// GatewayConfig is the configuration of ingest-gateway.
type GatewayConfig struct {
	Config `yaml:",inline"`
	// HTTP is the address of POST /v1/spaces/{space}/observations.
	HTTP    string         `yaml:"http" default:"127.0.0.1:8080" usage:"address for observations over HTTP; empty for none"`
	Gateway gateway.Config `yaml:",inline"`
}

// Validate tells what of the configuration cannot be.
func (c *GatewayConfig) Validate() error {
	if err := c.Listen.Validate(Address{"http", c.HTTP}, Address{"metrics", c.Metrics}); err != nil {
		return err
	}
	return c.Gateway.Validate()
}

// Gateway is a running gateway.
type Gateway struct {
	core    *gateway.Gateway
	service *gateway.Service
	spaces  *registry.Registry
}

// StartGateway starts one; ctx bounds the start alone.
func StartGateway(ctx context.Context, cfg GatewayConfig, env Env) (*Gateway, error) {
	p, err := prepare(ctx, cfg.Config, env)
	if err != nil {
		return nil, err
	}
	g := &Gateway{spaces: p.spaces}
	m, err := metrics.NewGateway(env.Registry, cfg.Gateway.MaxSpaceLabels)
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	set, err := embedders()
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	if err := followStreams(ctx, env, p.topology); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	g.core, err = gateway.New(ctx, gateway.Options{
		Config: cfg.Gateway, Conn: env.Conn.NC, JetStream: env.Conn.JS, Topology: p.topology, Registry: p.spaces,
		Embedders: set, Metrics: m, Logger: env.Logger.With().Str("part", "gateway").Logger(),
	})
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	if g.service, err = g.core.Serve(env.Version); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Handler returns its HTTP face.
func (g *Gateway) Handler() http.Handler { return g.core.Handler() }

// Ready tells why it cannot take observations, nil when it can.
func (g *Gateway) Ready() error { return g.core.Ready() }

// Close stops taking, answers what was taken, and stops.
func (g *Gateway) Close() error {
	var errs []error
	if g.service != nil {
		errs = append(errs, g.service.Stop())
	}
	if g.core != nil {
		errs = append(errs, g.core.Close())
	}
	return errors.Join(append(errs, g.spaces.Close())...)
}
