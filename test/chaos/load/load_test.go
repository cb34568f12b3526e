package load_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/node"
	"github.com/engram-memory/engram/test/chaos/history"
	"github.com/engram-memory/engram/test/chaos/load"
)

func startNode(t *testing.T) load.Endpoints {
	t.Helper()
	cfg := node.DefaultConfig(t.TempDir())
	cfg.NATS, cfg.HTTP, cfg.Metrics, cfg.Topology.Shards = "127.0.0.1:0", "127.0.0.1:0", "", 2
	n, err := node.Start(t.Context(), cfg, zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := client.Connect(n.NATSURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	http := "http://" + n.HTTPAddr()
	return load.Endpoints{NATS: []*client.Client{c}, Gateways: []string{http}, Recalls: []string{http}}
}

// The clients at work on an Engram that nobody breaks find nothing wrong, and everything was done that they can do. What somebody
// else removes behind their backs is found to be lost.
func TestLoadOnAHealthyNode(t *testing.T) {
	end := startNode(t)
	path := filepath.Join(t.TempDir(), "ledger")
	ledger, err := history.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg := load.Config{Seed: 1, Shards: 2, Spaces: 6, Large: 1, Writers: 8, Readers: 4, Pause: 5 * time.Millisecond, Prefix: "t-"}
	l, err := load.New(t.Context(), cfg, end, ledger)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	l.Run(ctx)
	if err := l.Verify(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if took, ok := l.Recovered(began); !ok || took > time.Second {
		t.Errorf("recovered: %v after %v", ok, took)
	}
	h := ledger.History()
	r := history.Check(h, history.Options{})
	for _, v := range r.Violations {
		t.Error(v)
	}
	if r.Accepted < 100 || r.Forgets < 5 || r.Answers < 100 || r.Failed > 0 || r.Unknown > 0 || r.Refused > 0 || r.Undecided > 0 {
		t.Errorf("the report is %+v; failures: %v", r, l.Failures())
	}
	seen := map[string]bool{}
	for _, a := range h.Answers {
		seen[a.How] = true
	}
	for _, how := range []string{"get over NATS", "get over HTTP", "recall over NATS", "recall over HTTP", "list over NATS", "list over HTTP", "list of all over NATS"} {
		if !seen[how] {
			t.Errorf("there was no %s", how)
		}
	}

	var victim *history.Write
	for _, w := range h.Writes {
		if w.Outcome == history.Accepted && !w.Forget && strings.HasPrefix(w.Space, "t-space-0") {
			victim = w
		}
	}
	_, err = end.NATS[0].Forget(t.Context(), victim.Space, &api.ForgetRequest{Ids: []string{victim.ID}, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Verify(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	// The ledger's file says the same as the ledger.
	if err := ledger.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if h, err = history.Load(f); err != nil {
		t.Fatal(err)
	}
	if r := history.Check(h, history.Options{}); r.Count(history.Lost) != 1 || r.Count(history.NotLinearizable) != 1 {
		t.Errorf("%s of %s was forgotten behind the ledger's back, and what was found is %v", victim.ID, victim.Space, r.Violations)
	}
}
