package worker

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/engram-memory/engram/pkg/metrics"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// bench is index workers and shards without a log: tasks are handed over by the test.
type bench struct {
	t *testing.T
	*Worker
}

func newBench(t *testing.T, shards int, change func(*Config)) *bench {
	t.Helper()
	m, err := metrics.NewWorker(prometheus.NewRegistry(), 10)
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.NumWorkers, cfg.IdleSleep = 3, 0
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Resolve(); err != nil {
		t.Fatal(err)
	}
	b := &bench{t, &Worker{Options: Options{Config: cfg, Metrics: m, Logger: zerolog.Nop()}, pool: newPool(cfg, m, zerolog.Nop())}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	for n := range shards {
		b.shards = append(b.shards, b.openBare(n))
		b.pool.attach(b.shards[n])
	}
	var watching sync.WaitGroup
	watching.Go(b.watch)
	t.Cleanup(func() {
		b.cancel()
		watching.Wait()
		b.pool.close()
		for _, s := range b.shards {
			if err := s.store.Load().Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return b
}

// watch ends the context when nothing has become searchable for a long time in which this process ran. A deadline would
// also pass while the machine, or somebody with a signal, keeps it from running; of the ticks that it misses, one is kept.
func (b *bench) watch() {
	const every = 20 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ticks, before := 0, uint64(0); ticks < int(2*patience/every); ticks++ {
		select {
		case <-tick.C:
		case <-b.ctx.Done():
			return
		}
		applied := uint64(0)
		for _, s := range b.shards {
			applied += s.mark.read().applied
		}
		if applied != before {
			ticks, before = 0, applied
		}
	}
	b.cancel()
}

func (b *bench) openBare(n int) *shard {
	b.t.Helper()
	s, err := b.newShard(n)
	if err != nil {
		b.t.Fatal(err)
	}
	store, _, err := vecstore.Open(b.t.TempDir(), vecstore.Source{Epoch: "e"}, vecstore.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	s.view(store)
	return s
}

// byHand stops the index workers, and returns the first one for the test to drive.
func (b *bench) byHand() *indexWorker {
	b.pool.close()
	return b.pool.workers[0]
}

// push hands events to a shard as fetching does; they get the next sequences.
func (b *bench) push(shard int, events ...vecstore.Event) uint64 {
	b.t.Helper()
	s := b.shards[shard]
	app := s.store.Load().Appender()
	var tasks []*task
	for _, e := range events {
		e.Sequence = s.mark.fetched() + 1
		ticket, err := s.mark.begin(b.ctx, slot{sequence: e.Sequence, published: time.Now(), bytes: 1}, 0)
		if err != nil {
			b.t.Fatal(err)
		}
		tk := &task{event: e, ticket: ticket, shard: s, high: e.Kind == vecstore.KindForget}
		if err := app.Add(&tk.event); err != nil {
			b.t.Fatal(err)
		}
		tasks = append(tasks, tk)
	}
	if err := s.hand(b.ctx, app, tasks); err != nil {
		b.t.Fatal(err)
	}
	return s.mark.fetched()
}

func (b *bench) await(shard int, sequence uint64) {
	b.t.Helper()
	if err := b.shards[shard].mark.await(b.ctx, sequence); err != nil {
		b.t.Fatalf("sequence %d of shard %d did not become searchable, and nothing else did for %v: %v", sequence, shard, 2*patience, err)
	}
}
