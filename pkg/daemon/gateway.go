package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/openapi"
	"github.com/engram-memory/engram/pkg/registry"
	"github.com/engram-memory/engram/pkg/rpc"
	"github.com/engram-memory/engram/pkg/session"
	"github.com/engram-memory/engram/pkg/wire"
)

// GatewayConfig is the configuration of ingest-gateway.
type GatewayConfig struct {
	Config `yaml:",inline"`
	// HTTP is the address of POST /v1/spaces/{space}/observations.
	HTTP    string         `yaml:"http" default:"127.0.0.1:8080" usage:"address for observations over HTTP, gRPC and WebSocket; empty for none"`
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
	core     *gateway.Gateway
	service  *gateway.Service
	sessions *session.Manager
	spaces   *registry.Registry
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
	if g.sessions, err = startSessions(ctx, cfg.Gateway, g.core, env); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	if g.service, err = g.core.Serve(env.Version); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// startSessions starts what has the streams of a gateway. Their recalls go to a recall API by NATS.
func startSessions(ctx context.Context, cfg gateway.Config, core *gateway.Gateway, env Env) (*session.Manager, error) {
	store, err := session.OpenStore(ctx, env.Conn.JS)
	if err != nil {
		return nil, err
	}
	m, err := metrics.NewSessions(env.Registry)
	if err != nil {
		return nil, err
	}
	asks := client.New(env.Conn.NC)
	return session.New(session.Options{
		Config: cfg.Session, Core: core, Store: store, Gateway: env.Conn.NC.Opts.Name + "/" + rand.Text(), Metrics: m, Bodies: core.Bodies(),
		Logger: env.Logger.With().Str("part", "sessions").Logger(), KnownFor: 2*client.MaxUncertainty - cfg.Deadline - knownMargin,
		Principal: func(ctx context.Context) session.Principal {
			p := auth.FromContext(ctx)
			if p == nil {
				return session.Principal{}
			}
			return session.Principal{Name: p.Name, Shared: p != auth.Everyone(), Expires: p.Expires}
		},
		// The request that opened the stream was charged for as one; each frame is another.
		Allow: func(ctx context.Context, spaces ...string) *wire.Error {
			if denied := auth.Require(ctx, auth.Observe, spaces...); denied != nil {
				return denied
			}
			return auth.Charge(ctx, 1)
		},
		Recall: func(ctx context.Context, space string, req *api.RecallRequest) (*api.RecallResponse, *wire.Error) {
			if denied := auth.RequireRecall(ctx, space, req); denied != nil {
				return nil, denied
			}
			if limited := auth.Charge(ctx, 1); limited != nil {
				return nil, limited
			}
			var resp *api.RecallResponse
			var err error
			if space == "" {
				resp, err = asks.RecallMany(ctx, req)
			} else {
				resp, err = asks.Recall(ctx, space, req)
			}
			if err != nil {
				return nil, wire.AsError(err)
			}
			return resp, nil
		},
	}), nil
}

// knownMargin is for clocks that differ.
const knownMargin = 10 * time.Second

// Routes returns those of the gateway, and the WebSocket.
func (g *Gateway) Routes() []openapi.Route {
	return append(g.core.Routes(), rpc.StreamRoute(g.sessions))
}

// Handlers returns that of IngestService.
func (g *Gateway) Handlers() []http.Handler {
	mux := http.NewServeMux()
	rpc.MountIngest(mux, g.core, g.sessions)
	return []http.Handler{mux}
}

// Services returns what its Handlers serve over gRPC, each with what tells whether it can.
func (g *Gateway) Services() map[string]func() error {
	return map[string]func() error{rpc.IngestService: g.Ready}
}

// Drain ends the streams: their clients are told to go on elsewhere. The server of its Handlers is closed after it, since it
// waits for them.
func (g *Gateway) Drain(ctx context.Context) error { return g.sessions.Drain(ctx) }

// Ready tells why it cannot take observations, nil when it can.
func (g *Gateway) Ready() error { return g.core.Ready() }

// Close stops taking, answers what was taken, and stops.
func (g *Gateway) Close() error {
	var errs []error
	if g.service != nil {
		errs = append(errs, g.service.Stop())
	}
	if g.sessions != nil {
		errs = append(errs, g.sessions.Close())
	}
	if g.core != nil {
		errs = append(errs, g.core.Close())
	}
	return errors.Join(append(errs, g.spaces.Close())...)
}
