package worker

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/queue"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// Config of a worker. DefaultConfig is the profile "balanced".
type Config struct {
	// Profile is what the other fields default to: low-latency, balanced or high-throughput.
	Profile string `yaml:"profile" default:"balanced" usage:"low-latency, balanced or high-throughput: what the tuning below defaults to"`
	// Name is this worker's in consumers, heartbeats and metrics.
	Name string `yaml:"name" usage:"name of this worker, unique among those that run (default: the host's)"`
	// Dir holds one directory a shard.
	Dir string `yaml:"dir" default:"engram-worker" usage:"directory of the shards' files"`
	// Shards lists the shards to hold; empty for those that are placed here, or all where nothing places them.
	Shards []int `yaml:"shards" usage:"shards to hold, whatever other workers do; empty for those that all workers without such a list share among them"`
	// Placement is of those that are shared.
	Placement PlacementConfig `yaml:"placement"`

	// NumWorkers is how many index workers share the shards of the process; 0 takes the profile's number, but no more
	// than there are cores, or GOMAXPROCS where that is less. A number of one's own is taken as it is.
	NumWorkers    int           `yaml:"num_workers" usage:"index workers; 0 for the profile's number, at most one a core"`
	Queue         QueueConfig   `yaml:"queue"`
	Steal         int           `yaml:"steal_threshold" usage:"backlog of an index worker from which on idle ones take whole spaces from it (0: the profile's)"`
	MinBatch      int           `yaml:"min_batch_size" usage:"observations that an idle index worker waits idle_sleep for (0: the profile's)"`
	MaxBatch      int           `yaml:"max_batch_size" usage:"observations that are made searchable in one go (0: the profile's)"`
	IdleSleep     time.Duration `yaml:"idle_sleep" default:"-1ns" usage:"how long an idle index worker lets a small batch fill; 0 not at all (negative: the profile's)"`
	PinCPUs       bool          `yaml:"pin_cpus" default:"false" usage:"bind each index worker to a core (Linux)"`
	Checkpoint    time.Duration `yaml:"checkpoint_interval" default:"1s" usage:"longest time between two checkpoints"`
	Heartbeat     time.Duration `yaml:"heartbeat_interval" default:"200ms" usage:"longest time between two heartbeats"`
	SegmentSize   int64         `yaml:"segment_size" default:"268435456" usage:"bytes of one segment of the row log"`
	RecallWorkers int           `yaml:"recall_concurrency" default:"0" usage:"recalls that run at once; 0 for two a core"`

	Index    IndexConfig    `yaml:"index"`
	Snapshot SnapshotConfig `yaml:"snapshot"`
	// ClockOffset makes this machine's clock wrong, where it is compared with that of the log: for tests of what that does.
	ClockOffset time.Duration `yaml:"clock_offset" usage:"for tests: added to the clock of this machine where ages of the log's entries are reckoned"`
	// MaxSpaceLabels bounds the values of the memory_space label of metrics.
	MaxSpaceLabels int `yaml:"max_space_labels" default:"100" usage:"spaces with a metric label of their own; the rest count as \"other\""`
}

// PlacementConfig is how shards are shared among workers. All workers should have the same.
type PlacementConfig struct {
	Copies int `yaml:"copies" default:"1" usage:"workers that have a copy of each shard, as long as there are so many"`
	// MaxStaleness is what a new copy waits for; while no other answers, its files or the end of the log are enough.
	MaxStaleness time.Duration `yaml:"max_staleness" default:"1s" usage:"a new copy of a shard answers recalls once it is no staler than this, and the old one does until then"`
	Grace        time.Duration `yaml:"grace" default:"1m" usage:"for how long a worker that is gone keeps its shards where another copy of them answers; 0 not at all"`
	DrainTimeout time.Duration `yaml:"drain_timeout" default:"45s" usage:"how long a worker that is stopped waits for others to answer for its shards; 0 not at all"`
	KeepFiles    time.Duration `yaml:"keep_files" default:"1h" usage:"for how long the files of a shard are kept that another worker has taken over"`
}

// IndexConfig is how the index is kept and watched.
type IndexConfig struct {
	// KeepVersions is for how long a read of the past (as_of) is answered, at least.
	KeepVersions time.Duration `yaml:"keep_versions" default:"10m" usage:"how long replaced and forgotten versions are kept for reads as_of a position, at least; 0 not at all"`
	// GraphRows and TailBytes say what is scanned, and how much memory that may take.
	GraphRows int   `yaml:"graph_rows" default:"10000" usage:"rows from which on a space gets a graph; smaller ones are scanned"`
	TailBytes int64 `yaml:"tail_bytes" default:"41943040" usage:"memory for the codes of spaces without a graph, those that were not searched for longest are let go; the shards share it evenly"`
	// MapBytes is of all shards together.
	MapBytes int64 `yaml:"map_bytes" default:"201326592" usage:"memory into which the parts of the row log are mapped that are read most, of a log that is larger those that are read more often than the rest; the kernel takes it back when it needs it; 0 for none"`
	// Compress is of the row log.
	Compress bool `yaml:"compress" default:"false" usage:"compress the segments of the row log that a compaction writes anew, and all closed ones with engram compact: less disk, slower reads"`
	// LinkThreads are those of all shards together.
	LinkThreads int `yaml:"link_threads" default:"0" usage:"threads that link rows into graphs; 0 for one a core"`
	// AuditRate and AuditShare both bound the audit: see auditor.
	AuditRate  float64 `yaml:"audit_rate" default:"1" usage:"recalls a second, at most, that are answered again exactly to measure what recall finds; 0 for none"`
	AuditShare float64 `yaml:"audit_share" default:"0.02" usage:"share of one core that this takes, at most"`
}

// QueueConfig bounds what a shard has fetched and not yet made searchable.
type QueueConfig struct {
	Capacity int `yaml:"capacity" usage:"observations of a shard between fetched and searchable (0: the profile's)"`
	MaxBytes int `yaml:"max_bytes" default:"134217728" usage:"bytes of them"`
	// HighPriorityRatio is the share of capacity that only high-priority observations may use. The gateways hear it with
	// the heartbeats and admit by it.
	HighPriorityRatio float64 `yaml:"high_priority_ratio" default:"0.1" usage:"share of capacity that only high priority may use"`
}

// DefaultDir is the default of Config.Dir.
const DefaultDir = "engram-worker"

// Profile is a set of defaults for Config.
type Profile struct {
	NumWorkers, Capacity, Steal, MinBatch, MaxBatch int
	IdleSleep                                       time.Duration
}

// Profiles returns the profiles by name.
func Profiles() map[string]Profile {
	return map[string]Profile{
		"low-latency":     {NumWorkers: 8, Capacity: 10_000, Steal: 1_000, MinBatch: 10, MaxBatch: 50, IdleSleep: 0},
		"balanced":        {NumWorkers: 4, Capacity: 10_000, Steal: 1_000, MinBatch: 10, MaxBatch: 500, IdleSleep: time.Millisecond},
		"high-throughput": {NumWorkers: 4, Capacity: 50_000, Steal: 1_000, MinBatch: 100, MaxBatch: 1_000, IdleSleep: 5 * time.Millisecond},
	}
}

// DefaultConfig returns the defaults, with those of the profile still open (see Resolve).
func DefaultConfig() Config {
	return Config{
		Profile: "balanced", Dir: DefaultDir, IdleSleep: -1,
		Queue:      QueueConfig{MaxBytes: 128 << 20, HighPriorityRatio: 0.1},
		Checkpoint: time.Second, Heartbeat: 200 * time.Millisecond, SegmentSize: 256 << 20,
		Index:          IndexConfig{KeepVersions: 10 * time.Minute, GraphRows: 10_000, TailBytes: 40 << 20, MapBytes: vecstore.DefaultMapBytes, AuditRate: 1, AuditShare: 0.02},
		Snapshot:       DefaultSnapshotConfig(),
		MaxSpaceLabels: 100,
		Placement:      PlacementConfig{Copies: 1, MaxStaleness: time.Second, Grace: time.Minute, DrainTimeout: 45 * time.Second, KeepFiles: time.Hour},
	}
}

// store returns the options of a shard's store, of which the worker may hold so many.
func (c *Config) store(shards int) vecstore.Options {
	keep := c.Index.KeepVersions
	if keep == 0 {
		keep = -1 // where 0 is the store's default
	}
	return vecstore.Options{
		SegmentSize: c.SegmentSize, KeepVersions: keep, GraphRows: uint32(c.Index.GraphRows),
		TailBytes: c.Index.TailBytes / int64(max(shards, 1)), LinkThreads: c.Index.LinkThreads, Compress: c.Index.Compress,
	}
}

// Resolve fills in from the profile what is open, and tells what cannot be. Capacity is then the number that the
// gateways' admission must have too.
func (c *Config) Resolve() error {
	p, ok := Profiles()[c.Profile]
	if !ok {
		return fmt.Errorf("profile is %q; it can be low-latency, balanced or high-throughput", c.Profile)
	}
	if c.Name == "" {
		c.Name = hostName()
	}
	if c.NumWorkers == 0 {
		c.NumWorkers = min(p.NumWorkers, runtime.GOMAXPROCS(0), runtime.NumCPU())
	}
	fill(&c.Queue.Capacity, p.Capacity)
	fill(&c.Steal, p.Steal)
	fill(&c.MinBatch, p.MinBatch)
	fill(&c.MaxBatch, p.MaxBatch)
	if c.IdleSleep < 0 {
		c.IdleSleep = p.IdleSleep
	}
	fill(&c.RecallWorkers, 2*runtime.NumCPU())
	fill(&c.Index.LinkThreads, min(runtime.NumCPU(), runtime.GOMAXPROCS(0)))
	return c.validate()
}

// hostName is the first part of the host's name, as far as a worker's name can hold it.
func hostName() string {
	name, err := os.Hostname()
	name, _, _ = strings.Cut(name, ".")
	if err != nil || !validName(name) {
		return "worker"
	}
	return name
}

func fill(field *int, value int) {
	if *field == 0 {
		*field = value
	}
}

func (c *Config) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.NumWorkers > 0 && c.NumWorkers <= 1024, "num_workers is %d; it can be 1 to 1024", c.NumWorkers)
	check(c.Queue.Capacity > 0 && c.Queue.Capacity <= maxCapacity, "queue.capacity is %d; it can be 1 to %d", c.Queue.Capacity, maxCapacity)
	check(c.Queue.MaxBytes >= 4<<20, "queue.max_bytes is %d; it must be at least 4 MiB", c.Queue.MaxBytes)
	check(c.Queue.HighPriorityRatio >= 0 && c.Queue.HighPriorityRatio < 1, "queue.high_priority_ratio is %v; it can be 0 to below 1", c.Queue.HighPriorityRatio)
	check(c.MinBatch > 0 && c.MinBatch <= c.MaxBatch && c.MaxBatch <= maxBatch, "min_batch_size is %d and max_batch_size %d; want 0 < min <= max <= %d", c.MinBatch, c.MaxBatch, maxBatch)
	check(c.RecallWorkers > 0 && c.RecallWorkers <= maxRecalls, "recall_concurrency is %d; it can be 1 to %d, or 0 for two a core", c.RecallWorkers, maxRecalls)
	check(c.Steal > 0, "steal_threshold is %d; it must be above 0", c.Steal)
	check(c.Checkpoint > 0 && c.Checkpoint <= 10*time.Second, "checkpoint_interval is %v; it can be up to 10s, a third of the time after which the log delivers again", c.Checkpoint)
	check(c.Heartbeat >= 10*time.Millisecond && c.Heartbeat <= time.Second, "heartbeat_interval is %v; it can be 10ms to 1s", c.Heartbeat)
	check(c.Index.KeepVersions >= 0, "index.keep_versions is %v; it cannot be negative", c.Index.KeepVersions)
	check(c.Index.GraphRows > 0 && c.Index.GraphRows <= maxGraphRows, "index.graph_rows is %d; it can be 1 to %d", c.Index.GraphRows, maxGraphRows)
	check(c.Index.TailBytes >= 1<<20, "index.tail_bytes is %d; it must be at least 1 MiB", c.Index.TailBytes)
	check(c.Index.MapBytes >= 0, "index.map_bytes is %d; it cannot be negative", c.Index.MapBytes)
	check(c.Index.LinkThreads > 0 && c.Index.LinkThreads <= 1024, "index.link_threads is %d; it can be 1 to 1024, or 0 for one a core", c.Index.LinkThreads)
	check(c.Index.AuditRate >= 0 && c.Index.AuditRate <= maxAuditRate, "index.audit_rate is %v; it can be 0 to %d", c.Index.AuditRate, maxAuditRate)
	check(c.Index.AuditShare > 0 && c.Index.AuditShare <= 1, "index.audit_share is %v; it can be above 0 to 1; audit_rate 0 ends the audit", c.Index.AuditShare)
	check(c.MaxSpaceLabels >= 0 && c.MaxSpaceLabels <= maxBatch, "max_space_labels is %d; it can be 0 to %d", c.MaxSpaceLabels, maxBatch)
	check(validName(c.Name), "name is %q; it can have letters, digits, '-' and '_', at most 64", c.Name)
	check(c.Dir != "", "dir is empty; name a directory for the shards' files")
	p := c.Placement
	check(p.Copies >= 1 && p.Copies <= maxCopies, "placement.copies is %d; it can be 1 to %d", p.Copies, maxCopies)
	check(p.MaxStaleness > 0, "placement.max_staleness is %v; it must be above 0", p.MaxStaleness)
	check(p.Grace >= 0 && p.DrainTimeout >= 0 && p.KeepFiles >= 0, "placement has a negative duration: grace is %v, drain_timeout %v, keep_files %v", p.Grace, p.DrainTimeout, p.KeepFiles)
	c.Snapshot.validate(check)
	check(len(c.Shards) == 0 || p.Copies == 1, "shards lists those that this worker holds, so that none are placed on it, and placement.copies is %d; leave one of them out", p.Copies)
	seen := map[int]bool{}
	for _, s := range c.Shards {
		check(s >= 0 && s < event.MaxShards && !seen[s], "shards lists %d, which is no shard or listed twice", s)
		seen[s] = true
	}
	return errors.Join(errs...)
}

// What is allocated by them is bounded by these.
const (
	maxBatch   = 100_000
	maxRecalls = 1 << 16
)

// maxCopies is more than anybody needs: each of them reads the whole log of its shard.
const maxCopies = 16

// maxCapacity leaves room for what the queue holds beyond it.
const maxCapacity = queue.MaxCapacity - queue.MaxCapacity/beyond

// maxGraphRows is what can be scanned in about a second.
const maxGraphRows = 10_000_000

// maxAuditRate is more than a core can audit.
const maxAuditRate = 1_000_000

func validName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}
