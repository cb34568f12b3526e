//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/engram-memory/engram/test/e2e/tools"
)

// natsServer is a stand-alone nats-server with JetStream, which keeps its port and its files over restarts.
type natsServer struct {
	*process
	url string
}

var clientAddress = regexp.MustCompile(`Listening for client connections on (127\.0\.0\.1:\d+)`)

func startNATS(t testing.TB) *natsServer {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "nats.conf")
	configure := func(listen string) {
		text := fmt.Sprintf("listen: %q\njetstream {\n  store_dir: %q\n  sync_interval: always\n  max_file_store: 8GB\n}\n",
			listen, filepath.Join(dir, "data"))
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure("127.0.0.1:-1")
	s := &natsServer{process: newProcess(t, "nats-server", tools.Build(t, "nats-server"), "-c", config)}
	address := s.run()
	s.url = "nats://" + address
	configure(address)
	return s
}

// run starts the server, waits until it is ready, and returns its address.
func (s *natsServer) run() (address string) {
	s.t.Helper()
	s.start()
	ready := regexp.MustCompile(`Server is ready`)
	s.prints(func() bool { return ready.Match(s.output()) })
	return string(clientAddress.FindSubmatch(s.output())[1])
}

// daemon is one of Engram's programs on free ports.
type daemon struct {
	*process
	metrics, http string // addresses of the present run, once it is ready
}

func newDaemon(t testing.TB, nats *natsServer, name, program string, args ...string) *daemon {
	t.Helper()
	args = append([]string{"--nats.url", nats.url, "--topology.shards", fmt.Sprint(shards), "--metrics", "127.0.0.1:0", "--log.format", "json"}, args...)
	return &daemon{process: newProcess(t, name, filepath.Join(programs, program), args...)}
}

// ready waits until the present run says so.
func (d *daemon) ready() {
	d.t.Helper()
	d.prints(func() bool {
		for _, l := range d.lines("ready") {
			d.metrics, d.http = l.Metrics, l.HTTP
			return true
		}
		return false
	})
}

func (d *daemon) run() {
	d.t.Helper()
	d.start()
	d.ready()
}

// shards is the number of logs of all deployments here.
const shards = 4

// deployment is Engram as separate processes: worker a has the shards 0 and 1, worker b has 2 and 3.
type deployment struct {
	nats            *natsServer
	cli             *tools.CLI
	gateway, recall *daemon
	workers         [2]*daemon
	dirs            [2]string // of the workers
}

func deploy(t testing.TB) *deployment {
	t.Helper()
	d := &deployment{nats: startNATS(t)}
	d.cli = tools.NATS(t, d.nats.url)
	for i, held := range []string{"0,1", "2,3"} {
		name := string(rune('a' + i))
		d.dirs[i] = filepath.Join(t.TempDir(), "worker-"+name)
		d.workers[i] = newDaemon(t, d.nats, "space-worker-"+name, "space-worker", "--name", name, "--dir", d.dirs[i], "--shards", held)
	}
	d.recall = newDaemon(t, d.nats, "recall-api", "recall-api", "--http", "127.0.0.1:0")
	d.gateway = newDaemon(t, d.nats, "ingest-gateway", "ingest-gateway", "--http", "127.0.0.1:0", "--deadline", deadline.String())
	for _, p := range d.daemons() {
		p.start()
	}
	for _, p := range d.daemons() {
		p.ready()
	}
	return d
}

func (d *deployment) daemons() []*daemon {
	return []*daemon{d.workers[0], d.workers[1], d.recall, d.gateway}
}

// holder is the worker that has a shard.
func (d *deployment) holder(shard int) *daemon { return d.workers[shard/2] }
