package simulate

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/placement"
)

// plan is one that is sound, with changes.
func plan(change func(*Plan)) Plan {
	p := Plan{
		Observations: 10_000_000, Spaces: 1000, Zipf: 1, Dimension: 768, Component: 4, Text: 200, Workers: 10, Copies: 2, Shards: 64,
		Replicas: 3, Cores: 8, Memory: 64 << 30, Disk: 500e6, Network: 1.25e9, Snapshots: true, Use: 0.7,
	}
	if change != nil {
		change(&p)
	}
	return p
}

func simulated(t *testing.T, p Plan) Result {
	t.Helper()
	r, err := Run(Measured(), p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *Result) bound(part string) float64 {
	return r.Bounds[slices.IndexFunc(r.Bounds, func(b Bound) bool { return b.Part == part })].PerSecond
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b)) }

func TestSharesFollowZipf(t *testing.T) {
	shares, sum := Shares(100, 1.5), 0.0
	for _, s := range shares {
		sum += s
	}
	if !near(sum, 1) || !near(shares[0]/shares[9], math.Pow(10, 1.5)) {
		t.Errorf("they add up to %v, and the first has %v times the tenth", sum, shares[0]/shares[9])
	}
	if equal := Shares(4, 0); !slices.Equal(equal, []float64{.25, .25, .25, .25}) {
		t.Errorf("with s = 0 they are %v", equal)
	}
}

// Each worker has the rows of the spaces whose shards are placed on it.
func TestRowsAreWherePlacementPutsThem(t *testing.T) {
	p := plan(nil)
	r := simulated(t, p)
	names, want := []string{}, map[string]float64{}
	for i := range p.Workers {
		names = append(names, WorkerName(i))
	}
	placed := placement.Place(p.Shards, p.Copies, names)
	for i, share := range Shares(p.Spaces, p.Zipf) {
		for _, w := range placed[event.ShardOf(SpaceName(i), p.Shards)] {
			want[w] += share * float64(p.Observations)
		}
	}
	total := 0.0
	for _, w := range r.Workers {
		if !near(w.Rows, want[w.Name]) {
			t.Errorf("%s has %v rows, want %v", w.Name, w.Rows, want[w.Name])
		}
		total += w.Rows
	}
	if !near(total, 2e7) {
		t.Errorf("all have %v rows, want two copies of 10 million", total)
	}
}

// What is true instead of workers × spaces: a space has one log and one worker for each copy, whatever there is besides.
func TestWorkersDoNotHelpOneSpace(t *testing.T) {
	few := simulated(t, plan(func(p *Plan) { p.Spaces, p.Workers = 1, 2 }))
	many := simulated(t, plan(func(p *Plan) { p.Spaces, p.Workers, p.Servers = 1, 20, 9 }))
	if few.Sustained != many.Sustained || few.Bounds[0].Part != BoundLog {
		t.Errorf("2 workers sustain %v, limited by the %s, 20 sustain %v", few.Sustained, few.Bounds[0].Part, many.Sustained)
	}
	c := Measured()
	if want := .7 * c.OneLog.Value * c.LogReplicated.Value; !near(few.Sustained, want) {
		t.Errorf("one log allows %v, want %v", few.Sustained, want)
	}
	if one, more := few.bound(BoundWorkerCPU), many.bound(BoundWorkerCPU); !near(one, more) || !near(one, few.bound(BoundSpace)) {
		t.Errorf("the worker of the only space allows %v of 2 and %v of 20, and the space %v", one, more, few.bound(BoundSpace))
	}
}

func TestWorkersHelpManyEqualSpaces(t *testing.T) {
	few := simulated(t, plan(func(p *Plan) { p.Zipf, p.Workers, p.Spaces = 0, 4, 100 }))
	many := simulated(t, plan(func(p *Plan) { p.Zipf, p.Workers, p.Spaces = 0, 16, 100 }))
	gain := many.bound(BoundWorkerCPU) / few.bound(BoundWorkerCPU)
	if gain < 1.5 || gain > 4 {
		t.Errorf("four times the workers allow %v times as much", gain)
	}
}

// A space that is scanned costs no linking; one in a graph costs more the larger it is.
func TestLinkingDependsOnRows(t *testing.T) {
	scanned := simulated(t, plan(func(p *Plan) { p.Spaces, p.Observations, p.Zipf = 10_000, 10_000_000, 0 }))
	c := Measured()
	if want := c.Apply.Value; !near(.7*8*1e6/scanned.bound(BoundSpace)*10_000, want) {
		t.Errorf("a space without a graph allows %v", scanned.bound(BoundSpace))
	}
	if small, large := c.linkAt(c.LinkRows.Value), c.linkAt(4*c.LinkRows.Value); small != c.Link.Value || !near(large, 1.2*small) {
		t.Errorf("linking takes %v, and with four times the rows %v", small, large)
	}
}

func TestBytes(t *testing.T) {
	c := Measured()
	p := plan(func(p *Plan) { p.Rate = 1000 })
	r := simulated(t, p)
	if want := 1e7 * (4*768 + 200 + c.Message.Value); !near(r.ServerDisk, want) {
		t.Errorf("each of three servers with all logs has %v bytes, want %v", r.ServerDisk, want)
	}
	if want := 1e7 * (4*768 + 200 + c.RowDisk.Value); !near(r.SnapshotBytes, want) {
		t.Errorf("snapshots have %v bytes, want %v", r.SnapshotBytes, want)
	}
	in := 0.0
	for _, w := range r.Workers {
		in += w.Network
	}
	if want := 2 * 1000 * (4*768 + 200 + c.Delivery.Value); !near(in, want) {
		t.Errorf("workers are sent %v bytes a second, want %v", in, want)
	}
	p.LogKeep = time.Hour
	if kept := simulated(t, p); !near(kept.ServerDisk, r.ServerDisk*3600*1000/1e7) {
		t.Errorf("an hour of the log has %v bytes, all of it %v", kept.ServerDisk, r.ServerDisk)
	}
}

func TestFitTakesAsFewWorkersAsDo(t *testing.T) {
	r := simulated(t, plan(func(p *Plan) { p.Workers, p.Zipf, p.Memory = 0, 0, 3<<30 }))
	n := len(r.Workers)
	if len(r.Short) != 0 || n <= 2 || n > 16 {
		t.Fatalf("%d workers, short: %q", n, r.Short)
	}
	if less := simulated(t, plan(func(p *Plan) { p.Workers, p.Zipf, p.Memory = n-1, 0, 3<<30 })); len(less.Short) == 0 {
		t.Errorf("%d workers do as well", n-1)
	}
	// One space that is too large for any worker: as few as there can be, and said so.
	r = simulated(t, plan(func(p *Plan) { p.Workers, p.Spaces, p.Observations = 0, 1, 1_000_000_000 }))
	if len(r.Workers) != 2 || len(r.Short) != 1 || !strings.Contains(r.Short[0], "of memory") {
		t.Errorf("%d workers, short: %q", len(r.Workers), r.Short)
	}
	r = simulated(t, plan(func(p *Plan) { p.Workers, p.Spaces, p.Rate = 0, 1, 1e6 }))
	if len(r.Short) != 1 || !strings.Contains(r.Short[0], "the log of shard") {
		t.Errorf("short: %q", r.Short)
	}
}

func TestServersAreAsManyAsTheRateTakes(t *testing.T) {
	if r := simulated(t, plan(func(p *Plan) { p.Rate = 1000 })); r.Servers != 3 {
		t.Errorf("%d servers for 1,000 observations/s, want as many as replicas", r.Servers)
	}
	r := simulated(t, plan(func(p *Plan) { p.Spaces, p.Zipf, p.Shards, p.Workers, p.Rate = 10_000, 0, 256, 64, 500_000 }))
	if got := r.bound(BoundServerDisk); r.Servers <= 3 || got < 500_000 {
		t.Errorf("%d servers, whose disks allow %v", r.Servers, got)
	}
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(*Plan){
		"--observations": func(p *Plan) { p.Observations = 0 },
		"--spaces":       func(p *Plan) { p.Spaces = 0 },
		"--zipf":         func(p *Plan) { p.Zipf = math.NaN() },
		"--workers":      func(p *Plan) { p.Workers, p.Copies = 1, 2 },
		"--servers":      func(p *Plan) { p.Servers, p.Replicas = 2, 3 },
		"--shards":       func(p *Plan) { p.Shards = 257 },
		"--rate":         func(p *Plan) { p.Rate = -1 },
		"--use":          func(p *Plan) { p.Use = 1.1 },
		"--cores":        func(p *Plan) { p.Cores = 0 },
	} {
		if _, err := Run(Measured(), plan(change)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	c := Measured()
	c.OneLog.Value = 0
	if _, err := Run(c, plan(nil)); err == nil || !strings.Contains(err.Error(), "one_log") {
		t.Errorf("a cost of 0: %v", err)
	}
	for _, f := range func() []Named { c := Measured(); return c.List() }() {
		if f.Unit == "" || f.Source == "" {
			t.Errorf("%s has no unit or source", f.Name)
		}
	}
}
