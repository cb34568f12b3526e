package simulate_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/bus/bustest"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/gateway"
	"github.com/engram-memory/engram/pkg/simulate"
)

// The size of the check; docs/operating/capacity.md has one with more.
var (
	observations = flag.Int("observations", 6000, "observations of TestAgainstWorkers")
	spaces       = flag.Int("spaces", 30, "their spaces")
	dim          = flag.Int("dim", 128, "their dimension")
	graphRows    = flag.Int("graph-rows", 1000, "rows from which on a space has a graph")
)

const (
	zipf   = 1.0
	shards = 16
	text   = 200
)

// TestAgainstWorkers compares the model with one, two and three workers, each a process of its own, which are given the same
// observations: what is where, and how many bytes that is. Nothing of it is a time.
func TestAgainstWorkers(t *testing.T) {
	t.Logf("%-8s %-9s %17s %23s %23s %23s", "workers", "worker", "rows", "disk, MB", "from NATS, MB", "memory, MB")
	for n := 1; n <= 3; n++ {
		check(t, n)
	}
}

func check(t *testing.T, n int) {
	c, p := simulate.Measured(), simulate.Plan{
		Observations: int64(*observations), Rate: float64(*observations), Spaces: *spaces, Zipf: zipf, Dimension: *dim, Component: 4, Text: text,
		Workers: n, Copies: 1, Shards: shards, Servers: 1, Replicas: 1, Cores: 1, Memory: 1 << 40, Disk: 1e12, Network: 1e12, Use: 1,
	}
	// Nothing is recalled, so no codes are made and no records are mapped.
	c.GraphRows.Value, c.CodesMemory.Value, c.MapMemory.Value = float64(*graphRows), 1, 1
	r, err := simulate.Run(c, p)
	if err != nil {
		t.Fatal(err)
	}
	s := startSite(t, n)
	// Workers hear of each other, too, which has nothing to do with observations.
	before := map[string]float64{}
	for _, w := range r.Workers {
		before[w.Name] = s.sent(w.Name)
	}
	began := time.Now()
	s.load()
	s.settle()
	rows := s.rows()
	// All is read before the first one is stopped: the others would open its shards.
	for i, want := range r.Workers {
		w := s.workers[i]
		memory, network, disk := w.memory(), s.sent(want.Name)-before[want.Name], diskOf(t, w.dir)
		t.Logf("%-8d %-9s %8.0f %8d %11.1f %11.1f %11.1f %11.1f %11.1f %11.1f", n, want.Name, want.Rows, rows[want.Name],
			want.DiskBytes/1e6, disk/1e6, want.Network/1e6, network/1e6, want.Memory/1e6, memory/1e6)
		if math.Abs(want.Rows-float64(rows[want.Name])) > float64(*spaces) {
			t.Errorf("%s of %d has %d rows, not %.0f", want.Name, n, rows[want.Name], want.Rows)
		}
		within(t, want.Name+"'s disk", want.DiskBytes, disk, 0.15, 1e6)
		within(t, want.Name+"'s network", want.Network, network, 0.15, 5e5+aside*time.Since(began).Seconds())
	}
	messages, bytes := s.logs()
	t.Logf("%d messages of %.1f bytes in the log, %.1f predicted", messages, bytes/float64(messages), float64(4**dim+text)+c.Message.Value)
	within(t, "the log", r.ServerDisk, bytes, 0.05, 0)
}

// aside is what a worker hears in a second, at the most, of other workers and of JetStream's state, whatever is observed: a test that
// takes long has much of it.
const aside = 2e4

// within allows a part of what was measured, and some bytes for what there is without any observation.
func within(t *testing.T, what string, predicted, measured, part, bytes float64) {
	t.Helper()
	if math.Abs(predicted-measured) > part*measured+bytes {
		t.Errorf("%s: %.0f bytes predicted, %.0f measured", what, predicted, measured)
	}
}

// site is a NATS server with a gateway and workers.
type site struct {
	t       *testing.T
	server  *bustest.Server
	conn    *bus.Conn
	client  *client.Client
	workers []*process
}

// process is a worker.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	dir   string
	stdin io.WriteCloser
	lines *bufio.Scanner
}

func startSite(t *testing.T, n int) *site {
	s := &site{t: t, server: bustest.Start(t)}
	s.conn = s.server.Connect()
	s.client = client.New(s.conn.NC)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, _, err := bus.EnsureTopology(ctx, s.conn.JS, bus.TopologyConfig{Shards: shards}); err != nil {
		t.Fatal(err)
	}
	env, _, stop, err := daemon.NewEnv(s.server.Connect(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	cfg := daemon.GatewayConfig{Gateway: gateway.DefaultConfig()}
	g, err := daemon.StartGateway(ctx, cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	for i := range n {
		s.workers = append(s.workers, s.start(simulate.WorkerName(i)))
	}
	s.await("the workers have the shards that are placed on them", func(held map[string][]*api.ShardStatus) bool {
		all := 0
		for _, h := range held {
			for _, sh := range h {
				if sh.GetState() != api.CopyState_COPY_STATE_SERVING {
					return false
				}
			}
			all += len(h)
		}
		return len(held) == n && all == shards
	})
	return s
}

func (s *site) start(name string) *process {
	w := &process{t: s.t, cmd: exec.Command(os.Args[0]), dir: s.t.TempDir()}
	w.cmd.Env = append(os.Environ(), envWorker+"="+name, envURL+"="+s.server.URL(), envDir+"="+w.dir, envGraph+"="+strconv.Itoa(*graphRows))
	w.cmd.Stderr = os.Stderr
	var err error
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	w.lines = bufio.NewScanner(out)
	if err := w.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(w.stop)
	return w
}

// memory is the resident memory of the process, in bytes.
func (w *process) memory() float64 {
	if _, err := fmt.Fprintln(w.stdin); err != nil || !w.lines.Scan() {
		w.t.Fatalf("the worker does not answer: %v, %v", err, w.lines.Err())
	}
	kib, err := strconv.ParseFloat(w.lines.Text(), 64)
	if err != nil {
		w.t.Fatal(err)
	}
	return kib * 1024
}

func (w *process) stop() {
	if w.cmd.ProcessState != nil {
		return
	}
	if err := w.stdin.Close(); err != nil {
		w.t.Error(err)
	}
	if err := w.cmd.Wait(); err != nil {
		w.t.Error(err)
	}
}

// await hears heartbeats until what the workers hold is as wanted.
func (s *site) await(what string, wanted func(map[string][]*api.ShardStatus) bool) map[string][]*api.ShardStatus {
	s.t.Helper()
	sub, err := s.conn.NC.SubscribeSync(bus.HeartbeatSubject(bus.Any))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		if err := sub.Unsubscribe(); err != nil {
			s.t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	defer cancel()
	held := map[string][]*api.ShardStatus{}
	for len(held) < len(s.workers) || !wanted(held) {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			s.t.Fatalf("waiting until %s: %v; there is %v", what, err, held)
		}
		hb := new(api.Heartbeat)
		if err := proto.Unmarshal(msg.Data, hb); err != nil {
			s.t.Fatal(err)
		}
		held[hb.GetWorker()] = hb.GetShards()
	}
	return held
}

// load observes in each space its share of the observations.
func (s *site) load() {
	words := strings.Repeat("x", text)
	r := rand.New(rand.NewPCG(1, 2))
	for i, share := range simulate.Shares(*spaces, zipf) {
		left := int(math.Round(share * float64(*observations)))
		for left > 0 {
			req := &api.ObserveRequest{}
			for range min(left, 100) {
				v := make([]float32, *dim)
				for j := range v {
					v[j] = float32(r.NormFloat64())
				}
				req.Observations = append(req.Observations, &api.Observation{
					Id: fmt.Sprintf("r%08d", left), Text: words, Embedding: &api.Embedding{Data: event.AppendF32(nil, v), Encoding: api.Encoding_ENCODING_F32},
				})
				left--
			}
			if _, err := s.client.ObserveRetrying(s.t.Context(), simulate.SpaceName(i), req, nil); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// settle waits until all is searchable and durable.
func (s *site) settle() {
	last := map[uint32]uint64{}
	for shard := range shards {
		last[uint32(shard)] = s.state(shard).LastSeq
	}
	s.await("all is searchable", func(held map[string][]*api.ShardStatus) bool {
		for _, h := range held {
			for _, sh := range h {
				if sh.GetApplied() < last[sh.GetShard()] || sh.GetDurable() < last[sh.GetShard()] {
					return false
				}
			}
		}
		return true
	})
}

func (s *site) state(shard int) jetstream.StreamState {
	s.t.Helper()
	stream, err := s.conn.JS.Stream(s.t.Context(), bus.LogStream(shard))
	if err != nil {
		s.t.Fatal(err)
	}
	return stream.CachedInfo().State
}

func (s *site) logs() (messages uint64, bytes float64) {
	for shard := range shards {
		state := s.state(shard)
		messages += state.Msgs
		bytes += float64(state.Bytes)
	}
	return messages, bytes
}

// rows asks each shard what it holds, and adds that up by the workers that say that they have it.
func (s *site) rows() map[string]uint64 {
	rows := map[string]uint64{}
	for name, held := range s.await("workers are heard", func(map[string][]*api.ShardStatus) bool { return true }) {
		for _, sh := range held {
			body, err := proto.Marshal(&api.SpacesRequest{})
			if err != nil {
				s.t.Fatal(err)
			}
			msg, err := s.conn.NC.Request(bus.ShardSubject(int(sh.GetShard()), bus.VerbSpaces), body, time.Minute)
			if err != nil {
				s.t.Fatal(err)
			}
			resp := new(api.SpacesResponse)
			if err := proto.Unmarshal(msg.Data, resp); err != nil {
				s.t.Fatal(err)
			}
			for _, sp := range resp.GetSpaces() {
				rows[name] += sp.GetObservations()
			}
		}
	}
	return rows
}

// sent is the bytes that the server has sent on the connection of a name.
func (s *site) sent(name string) float64 {
	all, err := s.server.InProcess().Connz(&server.ConnzOptions{Limit: 1024})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range all.Conns {
		if c.Name == name {
			return float64(c.OutBytes)
		}
	}
	s.t.Fatalf("%s has no connection", name)
	return 0
}

func diskOf(t *testing.T, dir string) (bytes float64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		bytes += float64(info.Size())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}
