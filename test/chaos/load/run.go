package load

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/test/chaos/history"
)

// Config is how much is done. All that is random follows from Seed, but for what the clients see of each other's timing.
type Config struct {
	Seed   uint64
	Shards int
	// Spaces are small, of about a hundred ids; Large ones take half of all writes.
	Spaces, Large int
	// Writers and Readers are clients, each of which does one thing after the other.
	Writers, Readers int
	// Pause is the mean time between two operations of a client.
	Pause time.Duration
	// Prefix begins the names of the spaces, so that several loads can have one Engram.
	Prefix string
}

// dimension of all vectors.
const dimension = 32

// Load is clients at work. Its methods may be called by any number of goroutines, but for Run and Verify, one after the other.
type Load struct {
	cfg    Config
	ways   *ways
	end    Endpoints
	ledger *history.Ledger
	began  time.Time
	spaces []*space

	number, request atomic.Uint64
	epoch           string
	shards          []*shard

	mu     sync.Mutex
	probes []Probe
	errs   map[string]int // what reads and writes failed with, for the log
}

// shard is what all clients together have seen of one.
type shard struct {
	frontier atomic.Uint64 // highest position that anybody has seen
	probed   string        // name of the space of its probes
}

// space has the ids that its clients know.
type space struct {
	name  string
	shard int
	most  int // ids

	mu       sync.Mutex
	ids      []string
	versions []history.Hit // accepted and not too long ago, for recalls by their vectors
}

// small is how many ids a small space has.
const small = 100

// recent is how many versions of a space are remembered for recalls.
const recent = 256

// New defines the spaces, waits until each shard has taken a write and found it, and returns the clients, not yet at work.
func New(ctx context.Context, cfg Config, end Endpoints, ledger *history.Ledger) (*Load, error) {
	l := &Load{cfg: cfg, ways: newWays(end), end: end, ledger: ledger, began: time.Now(), errs: map[string]int{}}
	for i := range cfg.Spaces + cfg.Large {
		name := cfg.Prefix + "space-" + strconv.Itoa(i)
		s := &space{name: name, shard: event.ShardOf(name, cfg.Shards), most: small}
		if i < cfg.Large {
			s.most = math.MaxInt
		}
		l.spaces = append(l.spaces, s)
	}
	for n := range cfg.Shards {
		s := &shard{}
		for i := 0; s.probed == ""; i++ {
			if name := cfg.Prefix + "probe-" + strconv.Itoa(i); event.ShardOf(name, cfg.Shards) == n {
				s.probed = name
			}
		}
		l.shards = append(l.shards, s)
	}
	return l, l.open(ctx)
}

// setUp bounds how long a new Engram may take to take the first write of each space.
const setUp = time.Minute

// open writes once to each space, and reads once from each shard.
func (l *Load) open(ctx context.Context) error {
	group, all := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, s := range l.spaces {
		group.Go(func() error { return l.writer(-4*i).first(all, s) }) // by NATS request
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("opening the spaces: %w", err)
	}
	for n := range l.shards {
		var last Probe
		for begin := time.Now(); ; {
			if last = l.probe(ctx, n, l.random(0, n), 5*time.Second); last.Err == nil {
				break
			}
			if time.Since(begin) > setUp || ctx.Err() != nil {
				return fmt.Errorf("opening shard %d: %w", n, last.Err)
			}
		}
	}
	return nil
}

// Run lets the clients work until ctx ends. What a client has under way then is given the time that it has.
func (l *Load) Run(ctx context.Context) {
	var all sync.WaitGroup
	for i := range l.cfg.Writers {
		all.Go(func() { l.writer(1 + i).run(ctx) })
	}
	for i := range l.cfg.Readers {
		all.Go(func() { l.reader(1001 + i).run(ctx) })
	}
	for n := range l.shards {
		all.Go(func() { l.probing(ctx, n) })
	}
	all.Wait()
}

// now is the time of the history.
func (l *Load) now() time.Duration { return time.Since(l.began) }

func (l *Load) random(client, stream int) *rand.Rand {
	return rand.New(rand.NewPCG(l.cfg.Seed, uint64(client)<<32|uint64(stream)))
}

// vector is that of a version: it is drawn anew wherever it is needed.
func (l *Load) vector(version uint64) *api.Embedding {
	r := rand.New(rand.NewPCG(l.cfg.Seed^0x9e3779b97f4a7c15, version))
	v := make([]float32, dimension)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return &api.Embedding{Data: event.AppendF32(nil, v), Encoding: api.Encoding_ENCODING_F32}
}

// saw takes a position that somebody was told.
func (l *Load) saw(shard int, sequence uint64) {
	f := &l.shards[shard].frontier
	for {
		now := f.Load()
		if sequence <= now || f.CompareAndSwap(now, sequence) {
			return
		}
	}
}

// position is the token of a sequence, "" for 0.
func (l *Load) position(shard int, sequence uint64) string {
	if sequence == 0 {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return event.Position{Epoch: l.epoch, Shard: shard, Sequence: sequence}.String()
}

// sequence reads a token.
func (l *Load) sequence(position string) (uint64, error) {
	p, err := event.ParsePosition(position)
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch == "" {
		l.epoch = p.Epoch
	}
	if p.Epoch != l.epoch {
		return 0, fmt.Errorf("the position %s is of another epoch than %s", position, l.epoch)
	}
	return p.Sequence, nil
}

// failed counts what operations fail with.
func (l *Load) failed(what string, err error) {
	text := what + ": " + err.Error()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs[text[:min(len(text), 160)]]++
}

// Failures are the messages of all operations that failed, with how often.
func (l *Load) Failures() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string]int, len(l.errs))
	for k, n := range l.errs {
		all[k] = n
	}
	return all
}
