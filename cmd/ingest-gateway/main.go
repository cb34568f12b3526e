// Command ingest-gateway takes observations over NATS, HTTP, gRPC and WebSocket to the durable log.
package main

import (
	"context"

	"github.com/engram-memory/engram/pkg/daemon"
)

func main() {
	daemon.Program[daemon.GatewayConfig]{
		Name:   "ingest-gateway",
		Short:  "ingest-gateway takes observations over NATS, HTTP, gRPC and WebSocket to the durable log of their space.",
		Common: func(c *daemon.GatewayConfig) (daemon.Config, string) { return c.Config, c.HTTP },
		Start: func(ctx context.Context, c daemon.GatewayConfig, env daemon.Env) (daemon.Part, error) {
			return daemon.StartGateway(ctx, c, env)
		},
	}.Main()
}
