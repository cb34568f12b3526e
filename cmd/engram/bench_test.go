package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/bench"
	"github.com/engram-memory/engram/pkg/npy"
)

// rowsFile writes rows on a circle that is bent into dim dimensions, with one of its ends at a phase.
func rowsFile(t *testing.T, rows, dim int, phase float64) string {
	t.Helper()
	var b bytes.Buffer
	err := npy.Write(&b, npy.Float32, rows, dim, func(i int, dst []float32) error {
		for j := range dst {
			dst[j] = float32(math.Sin(phase + float64(i*(j+1))*2*math.Pi/float64(rows)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rows.npy")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The fields that others read.
func TestBenchIndexPrintsOneObject(t *testing.T) {
	base, queries := rowsFile(t, 900, 24, 0), rowsFile(t, 30, 24, 0.01)
	truth := filepath.Join(t.TempDir(), "truth.npy")
	engram(t, "bench", "truth", "--base", base, "--queries", queries, "--out", truth, "-k", "10")
	for _, engine := range []string{"hnsw", "coder", "exact"} {
		out := engram(t, "bench", "index", "--engine", engine, "--base", base, "--queries", queries, "--truth", truth, "--threads", "1",
			"--ef", "16,64", "--m", "8", "--ef-construction", "40", "--json", "--data", t.TempDir())
		rep := decode[bench.IndexReport](t, out)
		if rep.N != 900 || rep.Dim != 24 || rep.Threads != 1 || rep.Engine != engine {
			t.Errorf("%s", out)
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(out), &fields); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{
			"engine", "n", "dim", "threads", "inserts_per_second", "points", "bytes_per_vector", "rss_bytes", "reopen_ms",
			"cpu_seconds", "wall_seconds",
		} {
			if _, ok := fields[name]; !ok {
				t.Errorf("%s: %s is missing in %s", engine, name, out)
			}
		}
		point, ok := fields["points"].([]any)[0].(map[string]any)
		names := make([]string, 0, 4)
		for name := range point {
			names = append(names, name)
		}
		slices.Sort(names)
		if !ok || strings.Join(names, " ") != "ef p99_ms queries_per_second recall_at_10 rows_compared" {
			t.Errorf("%s: a point is %v", engine, point)
		}
	}
}

func TestBenchConvert(t *testing.T) {
	in, out := rowsFile(t, 40, 5, 0), filepath.Join(t.TempDir(), "out.npy")
	if got := engram(t, "bench", "convert", in, out, "--rows", "7"); got != "7 rows of 5 components\n" {
		t.Errorf("%q", got)
	}
}

func TestBenchMixedSpacesAndSnapshot(t *testing.T) {
	mixed := decode[bench.MixedReport](t, engram(t, "bench", "mixed", "--dim", "16", "--before", "300", "--rows", "1500", "--threads", "2",
		"--rate", "500", "--json", "--data", t.TempDir()))
	if mixed.InsertsPerSecond <= 0 || mixed.Before != 300 || mixed.LinkThreads != 1 {
		t.Errorf("%+v", mixed)
	}
	heap := filepath.Join(t.TempDir(), "heap")
	spaces := decode[bench.SpacesReport](t, engram(t, "bench", "spaces", "--spaces", "50", "--rows", "20", "--dim", "32", "--shards", "2", "--json",
		"--data", t.TempDir(), "--heapprofile", heap))
	if spaces.Sampled != 50 || spaces.Cold.Max <= 0 {
		t.Errorf("%+v", spaces)
	}
	snapshot := decode[bench.SnapshotReport](t, engram(t, "bench", "snapshot", "--rows", "3000", "--dim", "16", "--json", "--data", t.TempDir()))
	if snapshot.Bytes < 3000*16*4 || snapshot.Chunks != 1 || snapshot.Restore <= 0 || snapshot.Graph <= 0 {
		t.Errorf("%+v", snapshot)
	}
	if info, err := os.Stat(heap); err != nil || info.Size() == 0 {
		t.Errorf("the profile of the heap: %v", err)
	}
}

// A process that inserts is killed three times; each time everything that it had flushed is there, and recall is what it
// is without a crash. The long form of it is "engram bench kill --rounds 200".
func TestBenchKill(t *testing.T) {
	t.Setenv(asCommand, "1")
	rep := decode[bench.KillReport](t, engram(t, "bench", "kill", "--rounds", "3", "--rows", "2500", "--dim", "32", "--graph-rows", "500",
		"--within", "100ms", "--checkpoint", "30ms", "--compare-each", "--json", "--data", t.TempDir()))
	if rep.Kills != 3 || len(rep.Rounds) != 3 || rep.RecallDifference > 0.01 {
		t.Errorf("%+v", rep)
	}
	before := 0
	for _, r := range rep.Rounds {
		if r.Rows < max(r.Flushed, before) || r.Flushed < 2500 || r.Mode != "trusted" || r.RecallLinked < 0.8 {
			t.Errorf("%+v", r)
		}
		before = r.Rows
	}
}

// A file that is read is not written over: it would be empty before it is read.
func TestBenchDoesNotWriteOverWhatItReads(t *testing.T) {
	name, queries := rowsFile(t, 30, 4, 0), rowsFile(t, 3, 4, 0)
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"convert", name, name}, {"truth", "--base", name, "--queries", queries, "--out", name, "-k", "3"},
		{"truth", "--base", queries, "--queries", name, "--out", name, "-k", "3"},
	} {
		contains(t, fails(t, exitFailure, append([]string{"bench"}, args...)...), name+" is the file that is read")
	}
	if after, err := os.ReadFile(name); err != nil || !bytes.Equal(after, before) {
		t.Errorf("it has %d bytes, and had %d: %v", len(after), len(before), err)
	}
}

// Queries that do not fit are refused before anything is loaded.
func TestBenchPipelineRefusesQueries(t *testing.T) {
	for _, queries := range []string{rowsFile(t, 3, 5, 0), rowsFile(t, 0, 4, 0)} {
		contains(t, fails(t, exitFailure, "bench", "pipeline", "--vectors", rowsFile(t, 30, 4, 0), "--queries", queries), queries+" has ")
	}
}

// A benchmark that is stopped says that and nothing else, and leaves nothing behind.
func TestBenchInterrupted(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stopped by a signal"))
	for _, args := range []string{"queue", "pipeline --observations 100 --dim 8", "kill --dim 8", "mixed --dim 8", "spaces --dim 16",
		"convert " + rowsFile(t, 3, 4, 0) + " " + filepath.Join(t.TempDir(), "out.npy")} {
		o := engramIn(ctx, strings.NewReader(""), append([]string{"bench"}, strings.Fields(args)...)...)
		if o.code != 130 || !strings.HasSuffix("\n"+o.stderr, "\nengram: interrupted\n") {
			t.Errorf("%s: %+v", args, o)
		}
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestBenchUsage(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"index", "--base and --queries are needed; see engram bench index --help"},
		{"index --base a --queries b --engine warp", `--engine is "warp"`},
		{"index --base a --queries b --metric warp", `--metric is "warp"`},
		{"index --base a --queries b --vectors warp", `--vectors is "warp"`},
		{"index --base a --queries b --threads 0", "--threads is 0"},
		{"index --base a --queries b --ef 0", "--ef has 0"},
		{"index --base a --queries b --m 1", "m is 1"},
		{"pipeline --shards 0", "--shards is 0"},
		{"pipeline --timeout 0s", "--timeout is 0s"},
		{"transports --timeout 0s", "--timeout is 0s"},
		{"pipeline --profile warp", `--profile is "warp"`},
		{"pipeline --load warp", `--load is "warp"; it can be one of ["steady" "ramp" "burst" "zipf"]; see engram`},
		{"mixed --before 0", "--before is 0"},
		{"mixed --metric warp", `--metric is "warp"`},
		{"spaces --spaces 0", "--spaces is 0"},
		{"spaces extra", "unknown command"},
		{"kill --rounds 0", "--rounds is 0"},
		{"kill --ef 0", "--ef 0"},
		{"truth", "--base, --queries and --out are needed"},
		{"truth --metric warp", `--metric is "warp"`},
		{"convert a", "accepts 2 arg(s)"},
	} {
		contains(t, fails(t, exitUsage, append([]string{"bench"}, strings.Fields(tc.args)...)...), tc.want)
	}
	contains(t, fails(t, exitFailure, "bench", "index", "--base", "/nowhere/b.npy", "--queries", "q"), "/nowhere/b.npy")
	contains(t, fails(t, exitFailure, "bench", "convert", "/nowhere/b.npy", "q"), "/nowhere/b.npy")
	// The process that is killed ends of itself where it is told nothing.
	contains(t, fails(t, exitFailure, "bench", "kill", "--victim"), "reading what to do")
}
