// Command recall-api serves recall over NATS, HTTP and gRPC in front of the workers.
package main

import (
	"context"

	"github.com/engram-memory/engram/pkg/daemon"
)

func main() {
	daemon.Program[daemon.RecallConfig]{
		Name:   "recall-api",
		Short:  "recall-api serves recall over NATS, HTTP and gRPC in front of the space-workers.",
		Common: func(c *daemon.RecallConfig) (daemon.Config, string) { return c.Config, c.HTTP },
		Start: func(ctx context.Context, c daemon.RecallConfig, env daemon.Env) (daemon.Part, error) {
			env.Alone = true
			return daemon.StartRecall(ctx, c, env)
		},
	}.Main()
}
