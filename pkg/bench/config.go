package bench

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/worker"
)

// Config of a pipeline run.
type Config struct {
	// Vectors is an .npy file of rows to observe; empty for random ones of Dim components.
	Vectors string
	// Queries is an .npy file of recall queries; empty for rows of Vectors with noise.
	Queries      string
	Dim          int
	Observations int
	Spaces       int
	// Rate is observations a second over all producers; 0 for as many as are taken.
	Rate float64
	// RecallRate is recalls a second while it loads; 0 for none.
	RecallRate float64
	// Load is steady, ramp, burst or zipf.
	Load string
	// Batch is observations a request, Producers their number, Window the requests in flight of each.
	Batch, Producers, Window int
	// Profile is the worker's; Shards the number of logs.
	Profile string
	Shards  int
	// Data is the directory for the run's files, which are removed after it; empty for a temporary one.
	Data string
	// Truth is the number of queries that are compared with an exact scan.
	Truth int
	Seed  uint64
	// Raw is whether raw JetStream is measured too.
	Raw bool
	// Timeout bounds each phase.
	Timeout time.Duration
}

// Loads are the shapes of load.
func Loads() []string { return []string{"steady", "ramp", "burst", "zipf"} }

// Validate tells what of the configuration cannot be.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Observations > 0, "--observations is %d; it must be above 0", c.Observations)
	check(c.Spaces > 0 && c.Spaces <= c.Observations, "--spaces is %d; it can be 1 to the number of observations", c.Spaces)
	check(c.Rate >= 0 && c.RecallRate >= 0, "--rate and --recall-rate cannot be negative")
	check(c.Batch > 0 && c.Batch <= event.MaxBatch, "--batch is %d; it can be 1 to %d", c.Batch, event.MaxBatch)
	check(c.Producers > 0 && c.Window > 0, "--producers and --window must be above 0")
	check(c.Shards > 0 && c.Shards <= event.MaxShards, "--shards is %d; it can be 1 to %d", c.Shards, event.MaxShards)
	check(c.Timeout > 0, "--timeout is %v; it must be above 0", c.Timeout)
	_, known := worker.Profiles()[c.Profile]
	check(known, "--profile is %q; it can be low-latency, balanced or high-throughput", c.Profile)
	check(c.Vectors != "" || c.Dim > 0 && c.Dim <= event.MaxDimension, "--dim is %d; it can be 1 to %d", c.Dim, event.MaxDimension)
	check(slices.Contains(Loads(), c.Load), "--load is %q; it can be one of %q", c.Load, Loads())
	check(c.Rate > 0 || c.Load != "ramp" && c.Load != "burst", "--load %s needs a --rate", c.Load)
	return errors.Join(errs...)
}

// Report is what a pipeline run measured.
type Report struct {
	Observations int `json:"observations"`
	Spaces       int `json:"spaces"`
	Dim          int `json:"dim"`
	// RawPerSecond is what JetStream alone does with the same bytes, streams and durability: published in atomic batches
	// of 500 and consumed with AckAll at the same time, until the last one is consumed.
	RawPerSecond float64 `json:"raw_jetstream_per_second"`
	// AcceptedPerSecond counts until the last acknowledgement, SearchablePerSecond until the last row is where it belongs.
	AcceptedPerSecond   float64 `json:"accepted_per_second"`
	SearchablePerSecond float64 `json:"searchable_per_second"`
	// RatioToRaw is the searchable rate over the raw one; null for a run with a given rate, and without raw.
	RatioToRaw          *float64 `json:"ratio_to_raw"`
	RowsInTail          uint64   `json:"rows_in_tail"`
	RowsInGraph         uint64   `json:"rows_in_graph"`
	SecondsUntilDrained float64  `json:"seconds_until_drained"`
	// Rejected counts observations that were refused for backpressure, each as often as it was.
	Rejected   uint64      `json:"rejected"`
	Lost       int         `json:"lost"`
	Duplicated int         `json:"duplicated"`
	Staleness  Percentiles `json:"staleness_ms"`
	// StalenessBound is capacity times shards in use over the rate that the worker last said it drains at, all shards
	// together.
	StalenessBound float64           `json:"staleness_bound_ms"`
	Recall         RecallPercentiles `json:"recall_ms"`
	Recalls        int               `json:"recalls"`
	RecallErrors   int               `json:"recall_errors"`
	RecallAt10     float64           `json:"recall_at_10"`
	// RSSMax is VmHWM of the whole process before raw JetStream is measured, producers and their vectors included.
	RSSMax     uint64  `json:"rss_bytes_max"`
	CPUSeconds float64 `json:"cpu_seconds"`
	Load       string  `json:"load"`
	Profile    string  `json:"profile"`
	Rate       float64 `json:"rate"`
	RecallRate float64 `json:"recall_rate"`
	Batch      int     `json:"batch"`
	Producers  int     `json:"producers"`
	Window     int     `json:"window"`
	Shards     int     `json:"shards"`
	GOMAXPROCS int     `json:"gomaxprocs"`
}

// Percentiles of milliseconds.
type Percentiles struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
}

// RecallPercentiles of milliseconds.
type RecallPercentiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}
