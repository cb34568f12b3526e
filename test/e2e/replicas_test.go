//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
)

const (
	replicaSpaces   = 4
	replicaRows     = 200
	replicaKills    = 3
	replicaDeadline = 5 * time.Second
)

// Of two workers that both have every shard one is killed while recalls are made without a pause: none of them fails.
func TestReplicas(t *testing.T) {
	nats := startNATS(t)
	newDaemon(t, nats, "ingest-gateway", "ingest-gateway", "--http", "").run()
	newDaemon(t, nats, "recall-api", "recall-api", "--http", "").run()
	var workers []*daemon
	for i := range 2 {
		name := fmt.Sprint("w", i+1)
		w := newDaemon(t, nats, name, "space-worker", "--name", name, "--dir", t.TempDir(), "--placement.copies", "2")
		w.run()
		workers = append(workers, w)
	}
	c := client.New(connect(t, nats.url).NC)
	positions := make([]string, replicaSpaces)
	for s := range replicaSpaces {
		positions[s] = fillReplica(t, c, fmt.Sprint("replica-", s))
	}
	for _, w := range workers {
		w.ready()
	}

	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	var asked atomic.Int64
	for s := range replicaSpaces {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i = (i + 1) % replicaRows {
				try, done := context.WithTimeout(context.Background(), replicaDeadline)
				start := time.Now()
				resp, err := c.Recall(try, fmt.Sprint("replica-", s), &api.RecallRequest{
					Id: fmt.Sprint(i), K: proto.Uint32(1), AtLeast: positions[s],
				})
				done()
				if err != nil || len(resp.GetHits()) != 1 {
					t.Errorf("space %d, row %d: %v, %v", s, i, resp, err)
				}
				mu.Lock()
				took = append(took, time.Since(start))
				mu.Unlock()
				asked.Add(1)
			}
		})
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	more := func() {
		for want := asked.Load() + 500; asked.Load() < want && !t.Failed(); <-tick.C {
		}
	}
	// Each time both answer before, and the killed one again behind it.
	for i := range replicaKills {
		more()
		w := workers[i%2]
		w.kill()
		more()
		w.run()
		w.ready()
	}
	cancel()
	all.Wait()
	slices.Sort(took)
	t.Logf("%d recalls over %d kills: median %v, p99 %v, longest %v", len(took), replicaKills, took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
}

// fillReplica observes rows that are searchable in one copy at least, and returns the position of the last.
func fillReplica(t *testing.T, c *client.Client, space string) string {
	t.Helper()
	req := &api.ObserveRequest{Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE}
	for i := range replicaRows {
		req.Observations = append(req.Observations, &api.Observation{Id: fmt.Sprint(i), Text: fmt.Sprint("the row with the number ", i)})
	}
	resp, err := c.Observe(t.Context(), space, req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetResults()[replicaRows-1].GetPosition()
}
