package bench

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/vecstore"
)

func smallIndex(t *testing.T, engine string) IndexConfig {
	t.Helper()
	return IndexConfig{
		Engine: engine, Base: saveRows(t, 32, 0, 1200), Queries: saveRows(t, 32, 1200, 1230), Threads: 2, Ef: []int{8, 40},
		Repeat: 2, Metric: vecstore.Cosine, Data: t.TempDir(),
	}
}

func TestIndexMeasuresEachEngine(t *testing.T) {
	for _, engine := range []string{vecstore.EngineHNSW, vecstore.EngineCoder, vecstore.EngineExact} {
		for _, rows := range []int{0, 700, 1500} {
			cfg := smallIndex(t, engine)
			cfg.Rows = rows
			cfg.Truth = filepath.Join(cfg.Data, "truth.npy")
			err := Truth(t.Context(), TruthConfig{Base: cfg.Base, Queries: cfg.Queries, Out: cfg.Truth, Metric: cfg.Metric, K: 10, Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			rep, err := Index(t.Context(), cfg, func(string) {})
			if err != nil {
				t.Fatal(engine, err)
			}
			n := rows
			if rows == 0 {
				n = 1200
			}
			if rep.N != n || rep.Dim != 32 || rep.Generated != max(0, n-1200) || rep.Threads != 2 || len(rep.InsertsByTenth) != 10 {
				t.Errorf("%s: %+v", engine, rep)
			}
			if min(rep.InsertsPerSecond, rep.TailRowsPerSecond, rep.ReopenMS, rep.WallSeconds, rep.CPUSeconds) <= 0 || rep.BytesPerVector < 4*32 {
				t.Errorf("%s: a figure is missing: %+v", engine, rep)
			}
			if rep.ExactRecallAt10 != 1 || rep.ExactP50MS <= 0 {
				t.Errorf("%s: the exact effort is not exact: %+v", engine, rep)
			}
			floor := 0.9
			if engine == vecstore.EngineCoder {
				floor = 0.5
			}
			last := rep.Points[len(rep.Points)-1]
			switch {
			case engine == vecstore.EngineExact && (len(rep.Points) != 1 || last.RecallAt10 != 1):
				t.Errorf("exact search is not exact: %+v", rep.Points)
			case engine != vecstore.EngineExact && (len(rep.Points) != 2 || last.RecallAt10 < floor || last.P99MS <= 0):
				t.Errorf("%s: %+v", engine, rep.Points)
			}
			if left, err := filepath.Glob(filepath.Join(cfg.Data, "engram-*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		}
	}
}

func TestIndexRefuses(t *testing.T) {
	other, good := saveRows(t, 16, 0, 5), smallIndex(t, vecstore.EngineHNSW)
	for says, change := range map[string]func(*IndexConfig){
		`--engine is "warp"`:    func(c *IndexConfig) { c.Engine = "warp" },
		"--base and --queries":  func(c *IndexConfig) { c.Queries = "" },
		"--rows is -1":          func(c *IndexConfig) { c.Rows = -1 },
		"--threads is 0":        func(c *IndexConfig) { c.Threads = 0 },
		"--repeat is 0":         func(c *IndexConfig) { c.Repeat = 0 },
		"--ef is empty":         func(c *IndexConfig) { c.Ef = nil },
		"--ef has 0":            func(c *IndexConfig) { c.Ef = []int{10, 0} },
		"m is 1":                func(c *IndexConfig) { c.M = 1 },
		"efConstruction is 3":   func(c *IndexConfig) { c.EfConstruction = 3 },
		"rows of 16 components": func(c *IndexConfig) { c.Queries = other },
		"nowhere":               func(c *IndexConfig) { c.Base = "/nowhere/base.npy" },
		"int32":                 func(c *IndexConfig) { c.Truth = c.Base }, // floats
	} {
		c := good
		change(&c)
		if _, err := Index(t.Context(), c, func(string) {}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Index(ctx, good, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that was stopped: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(good.Data, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestReadTruthChecksRows(t *testing.T) {
	base, queries := saveRows(t, 16, 0, 40), saveRows(t, 16, 40, 45)
	out := filepath.Join(t.TempDir(), "truth.npy")
	err := Truth(t.Context(), TruthConfig{Base: base, Queries: queries, Out: out, Metric: vecstore.L2, K: 10, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readTruth(out, 5, 40, 10); err != nil {
		t.Error(err)
	}
	for _, c := range [][3]int{{6, 40, 10}, {5, 40, 11}, {5, 20, 10}} {
		if _, err := readTruth(out, c[0], c[1], c[2]); err == nil {
			t.Errorf("%d queries, %d rows, %d neighbours: no error", c[0], c[1], c[2])
		}
	}
}

func TestMixed(t *testing.T) {
	for _, rate := range []float64{0, 2000} {
		cfg := MixedConfig{
			Dim: 16, Before: 300, Rows: 2000, Threads: 2, LinkThreads: 1, Rate: rate, Checkpoint: 20 * time.Millisecond,
			Metric: vecstore.Cosine, Data: t.TempDir(),
		}
		rep, err := Mixed(t.Context(), cfg, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		if rep.InsertsPerSecond <= 0 || rep.Alone.P50 <= 0 || rep.Alone.Max < rep.Alone.P999 || rep.Alone.P999 < rep.Alone.P99 {
			t.Errorf("%+v", rep)
		}
		if rep.Queries > 0 && (rep.Recall.P50 <= 0 || rep.LongestTail == 0) {
			t.Errorf("%+v", rep)
		}
		if left, err := filepath.Glob(filepath.Join(cfg.Data, "*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	for says, cfg := range map[string]MixedConfig{
		"--before is 0":  {Rows: 1, Dim: 8, Threads: 1, LinkThreads: 1},
		"--dim is 0":     {Before: 1, Rows: 1, Threads: 1, LinkThreads: 1},
		"needs a --base": {Before: 1, Rows: 1, Dim: 8, Queries: "q", Threads: 1, LinkThreads: 1},
		"--threads is 0": {Before: 1, Rows: 1, Dim: 8, LinkThreads: 1},
		"negative":       {Before: 1, Rows: 1, Dim: 8, Threads: 1, LinkThreads: 1, Rate: -1},
	} {
		if _, err := Mixed(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}

func TestSpaces(t *testing.T) {
	for _, cfg := range []SpacesConfig{
		{Spaces: 60, Rows: 25, Dim: 32, Batch: 10, Shards: 1, TailBytes: 1 << 20},
		{Spaces: 60, Rows: 25, Dim: 32, Batch: 25, Shards: 3, Sample: 20, TailBytes: 1, Clean: true, DropCache: true},
	} {
		cfg.Data = t.TempDir()
		filled := 0
		cfg.Filled = func() error { filled++; return nil }
		rep, err := Spaces(t.Context(), cfg, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		want := cfg.Spaces
		if cfg.Sample > 0 {
			want = cfg.Sample
		}
		if rep.Sampled != want || filled != 1 || min(rep.RowsPerSecond, rep.ReopenMS, rep.Cold.P50, rep.Warm.P50) <= 0 || rep.LogBytes < 60*25*32*4 {
			t.Errorf("%+v", rep)
		}
		if resident := residentNow(); resident != 0 && (rep.Filled.RSS == 0 || rep.Asked.Files <= 3) {
			t.Errorf("%+v", rep)
		}
		if left, err := filepath.Glob(filepath.Join(cfg.Data, "*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	for says, cfg := range map[string]SpacesConfig{
		"--spaces is 0": {Rows: 1, Dim: 32, Batch: 1, Shards: 1, TailBytes: 1},
		"--dim is 8":    {Spaces: 1, Rows: 1, Dim: 8, Batch: 1, Shards: 1, TailBytes: 1},
		"--batch is 0":  {Spaces: 1, Rows: 1, Dim: 32, Shards: 1, TailBytes: 1},
		"--shards is 2": {Spaces: 1, Rows: 1, Dim: 32, Batch: 1, Shards: 2, TailBytes: 1},
		"--tail-bytes":  {Spaces: 1, Rows: 1, Dim: 32, Batch: 1, Shards: 1},
	} {
		if _, err := Spaces(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}

// The check of what a killed process left must see what is missing and what is changed, or it says nothing.
func TestKillSeesLoss(t *testing.T) {
	cfg := KillConfig{KillLoad: KillLoad{Dim: 16, Rows: 1, Threads: 1}, Rounds: 1, Within: 1, Ef: 10}
	in, err := openRows("", "", "", 16, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	r := &killRun{cfg: cfg, dir: t.TempDir(), in: in}
	shard, _, err := vecstore.Open(r.shardDir(), benchSource(0), cfg.options())
	if err != nil {
		t.Fatal(err)
	}
	defer shard.Abandon()
	f := newFiller(shard, in.src)
	if err := errors.Join(f.define(cosineSpace(16)), f.fill(t.Context(), 0, 700)); err != nil {
		t.Fatal(err)
	}
	if err := r.compare(t.Context(), shard, &KillRound{Flushed: 700, Rows: 700}, 700); err != nil {
		t.Errorf("nothing is missing: %v", err)
	}
	for says, c := range map[string][3]int{
		"701 rows were flushed": {701, 700, 700},
		"699 can be found":      {700, 700, 699},
		"only 200 are there":    {700, 701, 701},
	} {
		if err := r.compare(t.Context(), shard, &KillRound{Flushed: c[0], Rows: c[1]}, c[2]); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
	in.src.basis[0]++ // so that other rows were given
	if err := r.compare(t.Context(), shard, &KillRound{Rows: 700}, 700); err == nil || !strings.Contains(err.Error(), "row 0 is not what was given") {
		t.Errorf("a row that is changed: %v", err)
	}
}
