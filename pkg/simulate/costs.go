package simulate

import "fmt"

// Figure is a cost and where it is from.
type Figure struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Source is the command that measured it and its date, or what it was reckoned or assumed from.
	Source string `json:"source"`
}

// Costs are those of one observation, row, space or log. Times are of one core.
type Costs struct {
	// Machine is what they were measured on.
	Machine string `json:"machine"`
	// Dimension is of the embeddings that times were measured with: those of others differ.
	Dimension int `json:"dimension"`

	// Gateway is CPU of an observation in the gateway, with what its producer needs.
	Gateway Figure `json:"gateway"`
	// Log is CPU of an observation in the server that leads its log, its publisher and one consumer included; Follower in
	// each further server with a copy.
	Log      Figure `json:"log"`
	Follower Figure `json:"follower"`
	// Apply is CPU of an observation in each worker with a copy of its shard, until it is found by scanning.
	Apply Figure `json:"apply"`
	// Link is CPU of a row until it is in a graph of LinkRows rows; LinkGrowth the part of it that each doubling of the rows
	// adds. Below GraphRows rows a space has no graph.
	Link       Figure `json:"link"`
	LinkRows   Figure `json:"link_rows"`
	LinkGrowth Figure `json:"link_growth"`
	GraphRows  Figure `json:"graph_rows"`
	// Recall is CPU of a recall in the worker that answers it.
	Recall Figure `json:"recall"`
	// OneLog is how many observations one log takes in a second, with one copy; LogReplicated the part of that which is left
	// where a majority of several has to have each.
	OneLog        Figure `json:"one_log"`
	LogReplicated Figure `json:"log_replicated"`

	// ProcessMemory is of a worker that holds nothing, SpaceMemory of a space, RowMemory of a row on the heap, CodesMemory
	// the most that the codes of rows without a graph take, MapMemory the most of the row log that is mapped.
	ProcessMemory Figure `json:"process_memory"`
	SpaceMemory   Figure `json:"space_memory"`
	RowMemory     Figure `json:"row_memory"`
	CodesMemory   Figure `json:"codes_memory"`
	MapMemory     Figure `json:"map_memory"`

	// RowDisk is what a row takes of the row log and its index beside vector and text.
	RowDisk Figure `json:"row_disk"`
	// Message is what a message takes of the log, and Delivery of a connection, beside vector and text.
	Message  Figure `json:"message"`
	Delivery Figure `json:"delivery"`
}

// Measured returns the costs that docs/BENCHMARKS.md has, and those reckoned from them.
func Measured() Costs {
	const (
		us, bytes, rows = "µs of a core", "bytes", "rows"
		index           = "engram bench index --threads 1, text768, 2026-11-25: 16,165 to 18,670 inserts/s"
		million         = "engram bench index --rows 1000000 --threads 2, 2026-11-25"
		pipeline        = "engram bench pipeline --observations 100000 --spaces 2, 2026-11-25: 16,260 to 17,233/s on two cores"
		raw             = "the same command: raw JetStream, 47,946 to 54,648/s on two cores in two logs"
		spaces          = "engram bench spaces --shards 8 --sample 1, 2026-11-25 on another, busy AMD EPYC (family 25, model 1), highest resident memory when filled, of --spaces 10000 --rows 10, --spaces 10000 --rows 100 and --spaces 1000 --rows 1000"
	)
	return Costs{
		Machine: "AMD EPYC (family 25, model 17: Zen 4, AVX-512 VNNI), 2 cores", Dimension: 768,
		Gateway:    Figure{23, us, pipeline + ", less log, apply and link"},
		Log:        Figure{39, us, raw},
		Follower:   Figure{39, us, "assumed: as much as the leader; no cluster was measured with a core of its own for each server"},
		Apply:      Figure{5, us, index + ", of which appended to the tail: 157,344 to 273,183 rows/s"},
		Link:       Figure{52.5, us, index + ", less apply"},
		LinkRows:   Figure{50_000, rows, index + "; the graph grows from 0 to 100,000 meanwhile"},
		LinkGrowth: Figure{0.10, "part a doubling", million + ": the last tenth of a million is at 0.69 to 0.71 of the first's inserts/s; beyond a million it is extrapolated"},
		GraphRows:  Figure{10_000, rows, "the default of index.graph_rows"},
		Recall:     Figure{71, us, "engram bench index --threads 1 --ef 56, text768, 2026-11-25: 12,330 to 15,830 queries/s of 100,000 rows"},
		OneLog:     Figure{24_000, "observations/s", raw + ", half of the lowest: what one log takes with more cores was not measured"},
		LogReplicated: Figure{0.5, "part of one_log",
			"assumed: a follower syncs a batch before the leader counts it; no cluster was measured with disks of its own"},
		ProcessMemory: Figure{62e6, bytes, spaces + ", what is left"},
		SpaceMemory:   Figure{4_800, bytes, spaces + ", by a million rows in 10,000 and in 1,000 spaces"},
		RowMemory:     Figure{103, bytes, spaces + ", by 100,000 and a million rows in 10,000 spaces"},
		CodesMemory:   Figure{40 << 20, bytes, "the default of index.tail_bytes"},
		MapMemory:     Figure{192 << 20, bytes, "the default of index.map_bytes"},
		RowDisk:       Figure{120, bytes, "docs/format: a record's header 48, its index entry 56; id of 9 and padding"},
		Message:       Figure{220, bytes, "go test ./pkg/simulate -run TestAgainstWorkers -v, 2026-11-25: the log's bytes by its messages"},
		Delivery:      Figure{250, bytes, "the same test: the server's bytes to a worker by its messages"},
	}
}

// Named is a figure with its name as in JSON.
type Named struct {
	Name string
	Figure
}

// List returns all figures in the order of their fields.
func (c *Costs) List() []Named {
	return []Named{
		{"gateway", c.Gateway}, {"log", c.Log}, {"follower", c.Follower}, {"apply", c.Apply}, {"link", c.Link},
		{"link_rows", c.LinkRows}, {"link_growth", c.LinkGrowth}, {"graph_rows", c.GraphRows}, {"recall", c.Recall},
		{"one_log", c.OneLog}, {"log_replicated", c.LogReplicated}, {"process_memory", c.ProcessMemory},
		{"space_memory", c.SpaceMemory}, {"row_memory", c.RowMemory}, {"codes_memory", c.CodesMemory},
		{"map_memory", c.MapMemory}, {"row_disk", c.RowDisk}, {"message", c.Message}, {"delivery", c.Delivery},
	}
}

// Validate tells which figure cannot be.
func (c *Costs) Validate() error {
	for _, f := range c.List() {
		if !(f.Value > 0) {
			return fmt.Errorf("the cost %s is %v %s; it must be above 0", f.Name, f.Value, f.Unit)
		}
	}
	return nil
}
