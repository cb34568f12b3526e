//go:build e2e

// Package e2e tests Engram against the real command-line programs. Only `go test -tags e2e ./test/e2e/...` runs it.
package e2e

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/streams"
	"github.com/engram-memory/engram/test/e2e/tools"
)

const definitions = "../../streams"

// streamFiles returns the names of the definitions of streams and buckets.
func streamFiles(t *testing.T) []string {
	t.Helper()
	names, err := fs.Glob(streams.Files(), "*.json")
	if err != nil || len(names) != event.DefaultShards+6 {
		t.Fatalf("%d definitions (%v), want %d", len(names), err, event.DefaultShards+6)
	}
	return names
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func connect(t *testing.T, url string) *bus.Conn {
	t.Helper()
	conn, err := bus.Connect(bus.Config{URL: url, FailFast: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func TestDefinitionsAreValid(t *testing.T) {
	cli := tools.NATS(t, tools.StartServer(t))
	for _, name := range streamFiles(t) {
		out := cli.Run("stream", "add", "--validate", "--config", filepath.Join(definitions, name))
		if !strings.Contains(out, "is a valid Stream") {
			t.Errorf("%s: %s", name, out)
		}
	}
	// The command looks for the stream before it validates a consumer.
	cli.Run("stream", "add", "--config", filepath.Join(definitions, "ENGRAM_LOG_0.json"))
	out := cli.Run("consumer", "add", "ENGRAM_LOG_0", "--validate", "--config", filepath.Join(definitions, "consumers/ENGRAM_LOG_worker.json"))
	if !strings.Contains(out, "is a valid Consumer") {
		t.Error(out)
	}
	// That the command can say no.
	broken := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(broken, []byte(`{"name":"A.B","subjects":["a"],"storage":"file","num_replicas":9}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := cli.Try("stream", "add", "--validate", "--config", broken); err == nil {
		t.Errorf("a broken definition is valid: %s", out)
	}
}

// What an operator loads by hand is what the daemons would have made: they find nothing to report.
func TestLoadedByHand(t *testing.T) {
	ctx := testContext(t)
	url := tools.StartServer(t)
	cli := tools.NATS(t, url)
	for _, name := range streamFiles(t) {
		cli.Run("stream", "add", "--config", filepath.Join(definitions, name))
	}
	js := connect(t, url).JS
	topology, differences, err := bus.EnsureTopology(ctx, js, bus.TopologyConfig{})
	if err != nil || topology.Shards != event.DefaultShards || len(differences) != 0 {
		t.Fatalf("%+v, differences %v, error %v", topology, differences, err)
	}

	cli.Run("consumer", "add", "ENGRAM_LOG_3", "worker_a", "--config", filepath.Join(definitions, "consumers/ENGRAM_LOG_worker.json"))
	before, err := js.Consumer(ctx, bus.LogStream(3), "worker_a")
	if err != nil {
		t.Fatal(err)
	}
	after, err := bus.EnsureWorkerConsumer(ctx, js, 3, "a", 1)
	if err != nil {
		t.Fatal(err)
	}
	if !before.CachedInfo().Created.Equal(after.CachedInfo().Created) {
		t.Error("the consumer that was loaded by hand was replaced, so its settings differ")
	}

	cli.Run("kv", "put", bus.SpacesBucket, "net", "definition")
	if out := cli.Run("kv", "get", bus.SpacesBucket, "net", "--raw"); !strings.Contains(out, "definition") {
		t.Errorf("the bucket has %q", out)
	}
	if out := cli.Run("kv", "get", bus.MetaBucket, "cluster", "--raw"); !strings.Contains(out, topology.Epoch) {
		t.Errorf("the record is %q, the epoch is %s", out, topology.Epoch)
	}
}

// And the other way about: an operator's edit with the command is seen by the daemons.
func TestEditedByHand(t *testing.T) {
	ctx := testContext(t)
	url := tools.StartServer(t)
	js := connect(t, url).JS
	if _, _, err := bus.EnsureTopology(ctx, js, bus.TopologyConfig{Shards: 2}); err != nil {
		t.Fatal(err)
	}
	tools.NATS(t, url).Run("stream", "edit", "ENGRAM_LOG_1", "--max-bytes", "1073741824", "--force")
	_, differences, err := bus.EnsureTopology(ctx, js, bus.TopologyConfig{})
	want := bus.Difference{Stream: "ENGRAM_LOG_1", Field: "max_bytes", Want: "-1", Have: "1073741824"}
	if err != nil || len(differences) != 1 || differences[0] != want {
		t.Errorf("differences %v, error %v, want %v", differences, err, want)
	}
}
