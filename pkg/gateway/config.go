package gateway

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/embed"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/session"
	"github.com/engram-memory/engram/pkg/wire"
)

// Config of a gateway. The zero value of each field means its default.
type Config struct {
	Batch     BatchConfig     `yaml:"batch"`
	Admission AdmissionConfig `yaml:"admission"`
	Space     SpaceConfig     `yaml:"space"`
	Session   session.Config  `yaml:"session"`
	// Deadline is the longest that a request waits for its acknowledgement.
	Deadline time.Duration `yaml:"deadline" default:"5s" usage:"longest wait for an acknowledgement"`
	// MaxSpaceLabels bounds the values of the memory_space label of metrics.
	MaxSpaceLabels int `yaml:"max_space_labels" default:"100" usage:"spaces with a metric label of their own; the rest count as \"other\""`
}

// BatchConfig bounds the atomic batches that observations of one shard are grouped into.
type BatchConfig struct {
	MaxSize  int           `yaml:"max_size" default:"500" usage:"observations in one atomic batch"`
	MaxBytes int           `yaml:"max_bytes" default:"4194304" usage:"bytes in one atomic batch"`
	MaxDelay time.Duration `yaml:"max_delay" default:"1ms" usage:"longest wait of an observation for others to share its commit"`
}

// AdmissionConfig says when a shard is behind.
type AdmissionConfig struct {
	// Capacity must be that of the workers' queue.
	Capacity int `yaml:"capacity" default:"10000" usage:"observations of a shard between accepted and searchable"`
	// MaxBytes bounds what waits in this gateway for one shard's commit.
	MaxBytes int `yaml:"max_bytes" default:"67108864" usage:"bytes that wait for one shard's commit"`
	// MaxMemory bounds what waits in this gateway for all shards' commits, and beside it what is read of requests and streams.
	MaxMemory int `yaml:"max_memory" default:"134217728" usage:"bytes that wait for the commits of all shards, and as many of requests and frames that are being read"`
	// Activate and Recover are shares of Capacity: at the first the shard refuses normal observations of spaces that have
	// more than their share outstanding, at the second it takes them again.
	Activate float64 `yaml:"activate" default:"0.8" usage:"share of capacity at which normal observations are refused"`
	Recover  float64 `yaml:"recover" default:"0.5" usage:"share of capacity at which they are taken again"`
}

// SpaceConfig is how a space is defined by its first observation, or by a request that leaves something out.
type SpaceConfig struct {
	// Dimension is used when the first observation has text and no embedding.
	Dimension int    `yaml:"dimension" default:"512" usage:"dimension of a space whose first observation is text"`
	Metric    string `yaml:"metric" default:"cosine" usage:"metric of a new space: cosine, dot or l2"`
	Embedder  string `yaml:"embedder" default:"lexical" usage:"embedder of a new space: lexical, http:<model> or none"`
	Engine    string `yaml:"engine" default:"hnsw" usage:"index engine of a new space: hnsw, exact or coder"`
	Vectors   string `yaml:"vectors" default:"f32" usage:"what a new space keeps of each embedding: f32, f16 or none, which is the int8 codes of the index alone"`
}

// maxDeadline is half the duplicate window of the log.
const maxDeadline = 2 * time.Minute

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Batch:     BatchConfig{MaxSize: 500, MaxBytes: 4 << 20, MaxDelay: time.Millisecond},
		Admission: AdmissionConfig{Capacity: 10_000, MaxBytes: 64 << 20, MaxMemory: 128 << 20, Activate: 0.8, Recover: 0.5},
		Space:     SpaceConfig{Dimension: 512, Metric: "cosine", Embedder: "lexical", Engine: "hnsw", Vectors: "f32"},
		Session:   session.DefaultConfig(),
		Deadline:  5 * time.Second, MaxSpaceLabels: 100,
	}
}

// Validate tells what of the configuration cannot be.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Batch.MaxSize >= 1 && c.Batch.MaxSize <= bus.MaxAtomicBatch, "batch.max_size is %d; it can be 1 to %d", c.Batch.MaxSize, bus.MaxAtomicBatch)
	check(c.Batch.MaxBytes >= 1<<20, "batch.max_bytes is %d; it must hold a message of 1 MiB", c.Batch.MaxBytes)
	check(c.Batch.MaxDelay >= 0, "batch.max_delay is %v; it cannot be negative", c.Batch.MaxDelay)
	check(c.Admission.Capacity >= 1, "admission.capacity is %d; it must be above 0", c.Admission.Capacity)
	check(c.Admission.MaxBytes >= 2<<20, "admission.max_bytes is %d; it must be at least 2 MiB", c.Admission.MaxBytes)
	check(c.Admission.MaxMemory >= 32<<20, "admission.max_memory is %d; it must be at least 32 MiB", c.Admission.MaxMemory)
	check(0 < c.Admission.Recover && c.Admission.Recover <= c.Admission.Activate && c.Admission.Activate <= 1,
		"admission.recover is %v and admission.activate %v; want 0 < recover <= activate <= 1", c.Admission.Recover, c.Admission.Activate)
	check(c.Space.Dimension >= 1 && c.Space.Dimension <= event.MaxDimension, "space.dimension is %d; it can be 1 to %d", c.Space.Dimension, event.MaxDimension)
	check(c.Space.Dimension < 1 || !tooNarrow(c.Space.Embedder, c.Space.Dimension), "space.dimension is %d, in which the embedder %q cannot tell texts apart; it can be %d or more",
		c.Space.Dimension, c.Space.Embedder, embed.MinLexicalDim)
	if _, err := wire.ParseMetric(c.Space.Metric); err != nil {
		check(false, "space.%s", err.Message)
	}
	if _, err := wire.ParseVectors(c.Space.Vectors); err != nil {
		check(false, "space.%s", err.Message)
	}
	check(slices.Contains(wire.Engines(), c.Space.Engine), "space.engine is %q; it can be one of %q", c.Space.Engine, wire.Engines())
	check(c.Deadline > 0 && c.Deadline <= maxDeadline, "deadline is %v; it can be up to %v, half of what the log knows a write again for", c.Deadline, maxDeadline)
	return errors.Join(append(errs, c.Session.Validate())...)
}
