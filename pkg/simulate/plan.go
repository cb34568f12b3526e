package simulate

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/engram-memory/engram/pkg/event"
)

// Plan is what is asked for.
type Plan struct {
	// Observations is how many are kept, over all spaces.
	Observations int64 `json:"observations"`
	// Rate is observations a second that come in; 0 for as many as are sustained. Recalls are recalls a second.
	Rate    float64 `json:"rate"`
	Recalls float64 `json:"recalls"`
	// Spaces is their number, Zipf the exponent s of their shares: that of the i-th is proportional to i^-s, 0 for equal ones.
	Spaces int     `json:"spaces"`
	Zipf   float64 `json:"zipf"`
	// Dimension is of the embeddings, Component the bytes of one in the row log (4 for f32, 2 for f16, 1 for none), Text the
	// bytes of text and metadata.
	Dimension int `json:"dimension"`
	Component int `json:"component_bytes"`
	Text      int `json:"text_bytes"`
	// Workers is their number; 0 for as few as do. Copies is how many have each shard.
	Workers int `json:"workers"`
	Copies  int `json:"copies"`
	Shards  int `json:"shards"`
	// Servers is the number of NATS servers; 0 for as few as do. Replicas is how many have each log.
	Servers  int `json:"servers"`
	Replicas int `json:"replicas"`
	// Cores, Memory in bytes, and Disk and Network in bytes a second are those of each machine, and each part has machines of its own.
	Cores   int     `json:"cores"`
	Memory  int64   `json:"memory_bytes"`
	Disk    float64 `json:"disk_bytes_per_second"`
	Network float64 `json:"network_bytes_per_second"`
	// LogKeep is how long the log keeps messages; 0 for ever.
	LogKeep time.Duration `json:"log_keep"`
	// Snapshots tells whether there are any: the row log of one copy of each shard once more.
	Snapshots bool `json:"snapshots"`
	// Use is the part of a machine, and of a log, that is to be used: the rest is for bursts, restarts and what is not reckoned.
	Use float64 `json:"use"`
}

// maxSpaces bounds the time of a run.
const maxSpaces = 10_000_000

// Validate tells what of the plan cannot be.
func (p *Plan) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 1) }
	check(p.Observations > 0, "--observations has %d; it must be above 0", p.Observations)
	check(p.Rate == 0 || positive(p.Rate), "--rate is %v; it can be 0 or above", p.Rate)
	check(p.Recalls == 0 || positive(p.Recalls), "--recalls is %v; it can be 0 or above", p.Recalls)
	check(p.Spaces > 0 && p.Spaces <= maxSpaces, "--spaces is %d; it can be 1 to %d", p.Spaces, maxSpaces)
	check(p.Zipf >= 0 && p.Zipf <= 10, "--zipf is %v; it can be 0 to 10", p.Zipf)
	check(p.Dimension > 0 && p.Dimension <= event.MaxDimension, "--dim is %d; it can be 1 to %d", p.Dimension, event.MaxDimension)
	check(p.Component == 1 || p.Component == 2 || p.Component == 4, "a component has %d bytes; it can have 1, 2 or 4", p.Component)
	check(p.Text >= 0, "--text is %d; it cannot be negative", p.Text)
	check(p.Shards > 0 && p.Shards <= event.MaxShards, "--shards is %d; it can be 1 to %d", p.Shards, event.MaxShards)
	check(p.Copies > 0 && p.Copies <= 16, "--copies is %d; it can be 1 to 16", p.Copies)
	check(p.Workers >= 0 && p.Workers <= event.MaxShards*16, "--workers is %d; it can be 0 to %d", p.Workers, event.MaxShards*16)
	check(p.Workers == 0 || p.Workers >= p.Copies, "--workers is %d and --copies %d; each copy needs a worker of its own", p.Workers, p.Copies)
	check(p.Replicas > 0 && p.Replicas <= 5, "--replicas is %d; it can be 1 to 5", p.Replicas)
	check(p.Servers == 0 || p.Servers >= p.Replicas, "--servers is %d and --replicas %d; each copy of a log needs a server of its own", p.Servers, p.Replicas)
	check(p.Cores > 0, "--cores is %d; it must be above 0", p.Cores)
	check(p.Memory > 0, "--memory is %d; it must be above 0", p.Memory)
	check(positive(p.Disk) && positive(p.Network), "--disk and --network must be above 0")
	check(p.LogKeep >= 0, "--log-keep is %v; it cannot be negative", p.LogKeep)
	check(p.Use > 0 && p.Use <= 1, "--use is %v; it can be above 0 to 1", p.Use)
	return errors.Join(errs...)
}
