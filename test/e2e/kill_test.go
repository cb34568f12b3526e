//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
)

const (
	killSpaces   = 8
	perSpace     = 2_500 // ids
	minKills     = 20    // of the worker
	minGateway   = 3     // of the gateway
	minServer    = 2     // of nats-server
	killDeadline = 85 * time.Second
)

// While 20,000 observations come in, the worker is killed at random moments and started again at once, and now and then
// the gateway or nats-server. What was acknowledged is there, once; what was forgotten is not; and a worker that begins
// with nothing comes to the same.
func TestKilled(t *testing.T) {
	start := *seed
	if start == 0 {
		start = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", start)
	ctx, cancel := context.WithTimeout(t.Context(), killDeadline)
	defer cancel()

	nats := startNATS(t)
	dir := filepath.Join(t.TempDir(), "worker")
	worker := newDaemon(t, nats, "space-worker", "space-worker", "--dir", dir)
	gateway := newDaemon(t, nats, "ingest-gateway", "ingest-gateway", "--http", "")
	recall := newDaemon(t, nats, "recall-api", "recall-api", "--http", "")
	recall.run()
	gateway.run()
	worker.run()
	conn := connect(t, nats.url)

	k := &killing{worker: worker.process, gateway: gateway.process, nats: nats.process, random: rand.New(rand.NewPCG(start, 1<<32))}
	group, ingest := errgroup.WithContext(ctx)
	var producers []*producer
	for i := range killSpaces {
		p := newProducer(client.New(conn.NC), i, start, k.acknowledged)
		producers = append(producers, p)
		group.Go(func() error { return p.run(ingest, perSpace, k.pace) })
	}
	finished := make(chan error, 1)
	go func() { finished <- group.Wait() }()
	began := time.Now()
	if err := k.until(finished); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)

	l := newLedger(producers)
	t.Logf("seed %d: %d ids, %d writes and %d forgets acknowledged in %.1f s, with the worker killed %d times (%d while it started), the gateway %d and nats-server %d times",
		start, len(l.live)+len(l.forgotten), l.observed, l.forgets, took.Seconds(), k.kills.Load(), k.early, k.gateways, k.servers)
	t.Logf("%d tries again, %d results of writes that had been taken before; %d recalls answered meanwhile, %d not", l.retried, l.duplicate, l.verified, l.unheard)
	if k.kills.Load() < minKills || k.gateways < minGateway || k.servers < minServer || l.observed < killSpaces*perSpace || l.verified == 0 || len(l.forgotten) == 0 {
		t.Error("that is too little of something")
	}

	worker.ready()
	l.answered(ctx, t, client.New(conn.NC))
	l.verify(ctx, t, client.New(conn.NC))
	noRebuild(t, dir, worker)
	writtenOnce(t, conn.JS, l)

	// The log alone, without anything that the killed worker has left.
	worker.stop()
	worker.args = append(worker.args, "--dir", filepath.Join(t.TempDir(), "fresh"))
	worker.run()
	l.verify(ctx, t, client.New(conn.NC))
	if !t.Failed() {
		t.Logf("the whole test took %.1f s", time.Since(began).Seconds())
	}
}

// killing kills the daemons of a test that goes on meanwhile.
type killing struct {
	worker, gateway, nats *process
	random                *rand.Rand

	kills             atomic.Int64 // of the worker
	written           atomic.Int64 // observations that were acknowledged
	early             int          // of them, before it was ready
	gateways, servers int          // kills of the gateway and of nats-server
	// victim is the process that is to die with the next acknowledgement: an acknowledgement that came too early is then
	// one of something that never happens.
	victim atomic.Pointer[os.Process]
}

// until kills until the producers have finished, and returns their error. The worker is running then.
func (k *killing) until(finished <-chan error) error {
	others := []*process{k.gateway, k.nats, k.gateway}
	for next, turn := 3, 0; ; {
		// Short enough to hit it while it starts, long enough that it gets somewhere.
		moment := time.NewTimer(time.Duration(5+k.random.IntN(700)) * time.Millisecond)
		select {
		case err := <-finished:
			moment.Stop()
			return err
		case <-moment.C:
		}
		if share := float64(k.written.Load()) / (killSpaces * perSpace); float64(k.kills.Load()) > minKills/2+share*minKills {
			continue // enough, until there is more to lose
		}
		if len(k.worker.lines("ready")) == 0 {
			k.early++
		}
		k.worker.kill()
		k.worker.start()
		k.kills.Add(1)
		if next--; next > 0 {
			continue
		}
		next = 2 + k.random.IntN(3)
		other := others[turn%len(others)]
		if turn%2 == 0 {
			other.kill()
		} else {
			k.victim.Store(other.cmd.Process)
			select {
			case err := <-finished:
				if k.victim.Swap(nil) == nil { // the last acknowledgement of all was its end
					other.wait()
					other.start()
				}
				return err
			case <-other.done:
			}
		}
		if code := other.wait(); code != -1 {
			return fmt.Errorf("%s ended by itself with exit code %d", other.name, code)
		}
		other.start()
		turn++
		if other == k.nats {
			k.servers++
		} else {
			k.gateways++
		}
	}
}

// acknowledged is called by the producers at each acknowledgement, of n observations.
func (k *killing) acknowledged(n int) {
	k.written.Add(int64(n))
	if p := k.victim.Swap(nil); p != nil {
		_ = p.Kill() // It fails only when the process has ended, which until then finds out.
	}
}

// pace lets the producers take about as long as the kills: with pauses, so that the stream flows at any moment, and in
// step with the kills, where the machine is slow to restart a process.
func (k *killing) pace(ctx context.Context, random *rand.Rand, done float64) error {
	pause := time.NewTimer(time.Duration(random.ExpFloat64() * float64(20*time.Millisecond)))
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
		if done*(minKills+2) <= float64(k.kills.Load()+2) {
			return nil
		}
		pause.Reset(10 * time.Millisecond)
	}
}

// noRebuild checks that the worker lived from its own files: a killed process leaves nothing to distrust.
func noRebuild(t *testing.T, dir string, worker *daemon) {
	t.Helper()
	aside, err := filepath.Glob(filepath.Join(dir, "*.aside-*"))
	if err != nil || len(aside) > 0 {
		t.Errorf("set aside were %v (%v)", aside, err)
	}
	opened := worker.lines("shard open")
	for _, l := range opened {
		if l.Records == 0 {
			t.Errorf("the last run found nothing of shard %d: %+v", l.Shard, l)
		}
	}
	if len(opened) != shards {
		t.Errorf("the last run opened %d shards", len(opened))
	}
}

// writtenOnce checks that the logs hold exactly what was acknowledged, and that nothing was quarantined.
func writtenOnce(t *testing.T, js jetstream.JetStream, l *ledger) {
	t.Helper()
	want := uint64(l.observed + l.forgets + killSpaces) // and a definition for each space
	if n := logged(t, js); n != want {
		t.Errorf("the logs hold %d events, and %d were acknowledged", n, want)
	}
	if n := streamMessages(t, js, bus.QuarantineStream); n != 0 {
		t.Errorf("%d events are in the quarantine", n)
	}
}
