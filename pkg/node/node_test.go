package node_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/dirlock"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/node"
)

func config(dir string) node.Config {
	cfg := node.DefaultConfig(dir)
	cfg.NATS, cfg.HTTP, cfg.Metrics = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	return cfg
}

func start(t *testing.T, cfg node.Config) (*node.Node, *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	n, err := node.Start(ctx, cfg, zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := n.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n, client.New(conn.NC)
}

func vectors(seed uint64, n, dim int) [][]float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([][]float32, n)
	for i := range out {
		out[i] = make([]float32, dim)
		for j := range out[i] {
			out[i][j] = float32(r.NormFloat64())
		}
	}
	return out
}

func embedding(v []float32) *api.Embedding {
	return &api.Embedding{Data: event.AppendF32(nil, v), Encoding: api.Encoding_ENCODING_F32}
}

// Everything that was acknowledged is found by its own vector, before and after a restart.
func TestObserveRecallRestart(t *testing.T) {
	dir := t.TempDir()
	vs := vectors(1, 300, 24)
	for round := range 2 {
		t.Run(fmt.Sprintf("round %d", round), func(t *testing.T) {
			_, c := start(t, config(dir))
			if round == 0 {
				req := &api.ObserveRequest{Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE}
				for i, v := range vs {
					req.Observations = append(req.Observations, &api.Observation{Id: fmt.Sprint(i), Text: fmt.Sprint("text ", i), Embedding: embedding(v)})
				}
				resp, err := c.Observe(t.Context(), "demo", req)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range resp.GetResults() {
					if r.GetError() != nil || !r.GetSearchable() || r.GetPosition() == "" {
						t.Fatalf("result %v", r)
					}
				}
			}
			for i, v := range vs {
				resp, err := c.Recall(t.Context(), "demo", &api.RecallRequest{Embedding: embedding(v)})
				if err != nil {
					t.Fatal(err)
				}
				if h := resp.GetHits(); len(h) != 10 || h[0].GetId() != fmt.Sprint(i) || h[0].GetText() != fmt.Sprint("text ", i) {
					t.Fatalf("row %d: hits %v", i, h)
				}
			}
		})
	}
}

func TestSecondNodeNamesTheLock(t *testing.T) {
	cfg := config(t.TempDir())
	start(t, cfg)
	_, err := node.Start(t.Context(), cfg, zerolog.Nop())
	if !errors.Is(err, dirlock.ErrLocked) || !strings.Contains(err.Error(), "LOCK") {
		t.Fatalf("second node on one directory: %v", err)
	}
}
