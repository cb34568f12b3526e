// Command space-worker makes logs searchable and answers for them.
package main

import (
	"context"

	"github.com/engram-memory/engram/pkg/daemon"
)

func main() {
	daemon.Program[daemon.WorkerConfig]{
		Name:   "space-worker",
		Short:  "space-worker makes the logs of its shards searchable and answers recalls from them.",
		Common: func(c *daemon.WorkerConfig) (daemon.Config, string) { return c.Config, "" },
		Start: func(ctx context.Context, c daemon.WorkerConfig, env daemon.Env) (daemon.Part, error) {
			env.Shared = true
			return daemon.StartWorker(ctx, c, env)
		},
	}.Main()
}
