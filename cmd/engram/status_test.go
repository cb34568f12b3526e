package main

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

func TestStatus(t *testing.T) {
	n := startNode(t)
	engram(t, "observe", "demo", "text", "--ack", "searchable")
	contains(t, engram(t, "status"), "NATS engram at "+n.NATSURL(), "1 gateway, 1 recall API, 1 worker", "SPACE", "demo   1", "SHARD  WORKER")

	s := decode[statusJSON](t, engram(t, "status", "--json"))
	if s.NATS.Server != "engram" || s.NATS.URL != n.NATSURL() || s.Gateways != 1 || s.RecallAPIs != 1 || len(s.Workers) != 1 || len(s.Shards) != 8 {
		t.Fatalf("%+v", s)
	}
	type space struct {
		definition
		Observations int     `json:"observations"`
		Applied      string  `json:"applied"`
		RowsInTail   int     `json:"rows_in_tail"`
		RowsInGraph  int     `json:"rows_in_graph"`
		RowsDead     int     `json:"rows_dead"`
		StalenessMS  float64 `json:"staleness_ms"`
	}
	spaces := decode[[]space](t, string(s.Spaces)+"\n")
	if len(spaces) != 1 || spaces[0].Space != "demo" || spaces[0].Observations != 1 || spaces[0].Dimension != 512 || spaces[0].Metric != "cosine" ||
		spaces[0].Engine != "hnsw" || spaces[0].Vectors != "f32" {
		t.Fatalf("%+v", spaces)
	}
	for i, c := range s.Shards {
		want := uint64(0)
		if i == spaces[0].Shard {
			want = 2 // the definition, and the observation
		}
		if int(c.Shard) != i || c.Applied != want || c.Lag != 0 || c.Worker != s.Workers[0] || c.Capacity == 0 || c.State != "serving" || c.Reason != "the worker holds all shards" {
			t.Errorf("%+v", c)
		}
	}
}

// definition is what is fixed about a space, as --json prints it.
type definition struct {
	Space      string `json:"space"`
	Dimension  int    `json:"dimension"`
	Metric     string `json:"metric"`
	Embedder   string `json:"embedder"`
	Engine     string `json:"engine"`
	Vectors    string `json:"vectors"`
	Generation int    `json:"generation"`
	CreatedAt  string `json:"created_at"`
	Shard      int    `json:"shard"`
}

// A NATS server without an Engram.
func TestStatusOfNothing(t *testing.T) {
	s, err := server.NewServer(&server.Options{ServerName: "bare", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	t.Setenv(envServer, s.ClientURL())
	o := engramIn(t.Context(), strings.NewReader(""), "status")
	want := "engram: no space-worker sends heartbeats, and no ingest-gateway answers on the NATS at " + s.ClientURL() + "; is Engram running there?\n"
	if o.code != exitFailure || o.stderr != want {
		t.Errorf("exit code %d, stderr %q", o.code, o.stderr)
	}
	contains(t, o.stdout, "NATS bare at "+s.ClientURL(), "0 gateways, 0 recall APIs, 0 workers")
	contains(t, fails(t, exitFailure, "recall", "demo", "text"), "unavailable: nobody answers on engram.recall.demo")
	contains(t, fails(t, exitFailure, "import", "demo", writeFile(t, "a.txt", "one\n"), "--timeout", "3s"), "nobody answers on engram.spaces")
}
