package bench

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/node"
)

func small(load string) Config {
	return Config{
		Dim: 16, Observations: 1500, Spaces: 3, Load: load, Batch: 50, Producers: 2, Window: 4, Profile: "balanced", Shards: 4,
		RecallRate: 100, Truth: 20, Seed: 1, Raw: load == "steady", Timeout: time.Minute,
	}
}

func TestPipelineCountsWhatItLoaded(t *testing.T) {
	for _, load := range Loads() {
		t.Run(load, func(t *testing.T) {
			cfg := small(load)
			cfg.Data = t.TempDir()
			if load == "ramp" || load == "burst" {
				cfg.Rate = 2000
			}
			rep, err := Pipeline(t.Context(), cfg, zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel), func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			if rep.Lost != 0 || rep.Duplicated != 0 || rep.RowsInTail != uint64(cfg.Observations) || rep.RecallAt10 != 1 || rep.RecallErrors != 0 {
				t.Errorf("the exact engine lost, doubled or missed something: %+v", rep)
			}
			if rep.SearchablePerSecond <= 0 || rep.SearchablePerSecond > rep.AcceptedPerSecond || cfg.Raw != (rep.RatioToRaw != nil && *rep.RatioToRaw > 0) {
				t.Errorf("rates: %+v", rep)
			}
			if left, err := filepath.Glob(filepath.Join(cfg.Data, "*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// The count must see what is missing and what is too much, or a figure of zero says nothing.
func TestCountSeesLossAndDoubles(t *testing.T) {
	cfg := small("steady")
	cfg.Observations, cfg.Spaces = 40, 2
	src, err := openSource(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	nc := node.DefaultConfig(t.TempDir())
	nc.NATS, nc.HTTP, nc.Metrics = "", "", ""
	n, err := node.Start(t.Context(), nc, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := n.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		conn.Close()
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	c := client.New(conn.NC)
	observe := func(space int, rows ...int) {
		req := &api.ObserveRequest{Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE}
		for _, i := range rows {
			o, err := src.observation(i)
			if err != nil {
				t.Fatal(err)
			}
			req.Observations = append(req.Observations, o)
		}
		if _, err := c.Observe(t.Context(), spaceName(space), req); err != nil {
			t.Fatal(err)
		}
	}
	for i := range cfg.Observations {
		if i != 6 && i != 7 && i != 20 {
			observe(src.space(i), i)
		}
	}
	observe(1, 4) // a row of space 0
	lost, duplicated, err := count(t.Context(), c, &cfg, src)
	if err != nil || lost != 3 || duplicated != 1 {
		t.Fatalf("lost %d, duplicated %d, %v; want 3 and 1", lost, duplicated, err)
	}
	// A query whose true neighbours are not there.
	cfg.Truth = 40
	q, err := openQueries(&cfg, src)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := recallAt10(t.Context(), c, &cfg, src, q); err != nil || r >= 1 || r < 0.5 {
		t.Fatalf("recall@10 with 3 of 40 rows missing: %v, %v", r, err)
	}
}

func TestPacer(t *testing.T) {
	for shape, want := range map[string]float64{"steady": 10, "ramp": 1000 / 60., "burst": 10} {
		p := &pacer{rate: 100, shape: shape, total: 1000}
		if got := p.due(1000).Seconds(); math.Abs(got-want) > 1 {
			t.Errorf("%s: the last of 1000 at 100 a second is due after %.2f s, want %.2f", shape, got, want)
		}
		last := time.Duration(-1)
		for n := range 1000 {
			d := p.due(float64(n))
			if d < last {
				t.Fatalf("%s: observation %d is due before the one before it", shape, n)
			}
			last = d
		}
	}
}

func TestQuantile(t *testing.T) {
	v := []float64{1, 2, 3, 4}
	if quantile(v, .5) != 2 || quantile(v, .99) != 4 || quantile(nil, .5) != 0 {
		t.Errorf("%v %v", quantile(v, .5), quantile(v, .99))
	}
}
