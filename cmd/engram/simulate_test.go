package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/simulate"
)

func TestSimulate(t *testing.T) {
	out := engram(t, "simulate", "--observations", "250K,10M", "--workers", "3", "--spaces", "40")
	contains(t, out, "FIRST FULL", "250,000", "10,000,000", "log of shard", "The largest of 40 spaces has 23.4 %")
	if strings.Contains(out, "Short") {
		t.Errorf("something is short where nothing was wanted:\n%s", out)
	}
	out = engram(t, "simulate", "--observations", "1M", "--workers", "3", "--rate", "1000000", "--dim", "384")
	contains(t, out, "Short at 1,000,000 observations: 1000000 observations/s are wanted", "CPU is that of 768 components")

	var r simulate.Result
	out = engram(t, "simulate", "--observations", "1.5B", "--workers", "4", "--json")
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Plan.Observations != 1_500_000_000 || len(r.Workers) != 4 || len(r.Bounds) != 8 {
		t.Errorf("%v of %s", err, out)
	}
	contains(t, engram(t, "simulate", "--costs"), "one_log", "observations/s", "engram bench index", "assumed:")
}

func TestSimulateRefuses(t *testing.T) {
	for _, c := range []struct{ flag, value, want string }{
		{"--observations", "10X", `"10X" is no number of observations`},
		{"--observations", "0", "is no number of observations"},
		{"--memory", "much", `--memory is "much": must be a size such as`},
		{"--vectors", "f64", "it can be f32, f16 or none"},
		{"--workers", "1", "each copy needs a worker of its own"},
		{"--disk", "0", "--disk and --network must be above 0"},
	} {
		contains(t, fails(t, exitUsage, "simulate", c.flag, c.value), c.want)
	}
	contains(t, fails(t, exitUsage, "simulate", "--calibrate", "--calibrate-observations", "7"), "--calibrate-observations is 7")
}
