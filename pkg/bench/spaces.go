package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// SpacesConfig of a run of many small spaces.
type SpacesConfig struct {
	// Spaces is how many there are, Rows how many rows each of them has, of Dim components, generated.
	Spaces, Rows, Dim int
	// Batch is how many rows of a space come in one after the other, before those of the next one.
	Batch int
	// Shards is how many logs the spaces are spread over.
	Shards int
	// Sample is how many spaces are asked after the reopening; 0 for all.
	Sample int
	// TailBytes bounds the codes in memory, of all shards together.
	TailBytes int64
	// Clean closes the shards before they are opened again, rather than leaving them as a killed process does.
	Clean bool
	// DropCache has the kernel let go of the files' pages before spaces are asked, so that they come from the disk.
	DropCache bool
	Data      string
	// Filled, if it is set, is called when all rows are in and before the shards are opened again.
	Filled func() error
}

// Validate tells what of the configuration cannot be.
func (c *SpacesConfig) Validate() error {
	switch {
	case c.Spaces < 1 || c.Spaces > 10_000_000 || c.Rows < 1 || c.Rows > 1_000_000:
		return fmt.Errorf("--spaces is %d and --rows %d; they can be 1 to 10000000 and 1 to 1000000", c.Spaces, c.Rows)
	case c.Dim < latent || c.Dim > maxDim:
		return fmt.Errorf("--dim is %d; it can be %d to %d", c.Dim, latent, maxDim)
	case c.Batch < 1 || c.Batch > fillBatch:
		return fmt.Errorf("--batch is %d; it can be 1 to %d", c.Batch, fillBatch)
	case c.Shards < 1 || c.Shards > c.Spaces:
		return fmt.Errorf("--shards is %d; it can be 1 to the number of spaces", c.Shards)
	case c.Sample < 0 || c.TailBytes < 1:
		return fmt.Errorf("--sample is %d and --tail-bytes %d; they can be 0 or more, and 1 or more", c.Sample, c.TailBytes)
	}
	return nil
}

// SpacesReport is what a run of many small spaces measured. Resident memory and descriptors are 0 where the kernel does not
// tell them.
type SpacesReport struct {
	Spaces    int   `json:"spaces"`
	Rows      int   `json:"rows"`
	Dim       int   `json:"dim"`
	Shards    int   `json:"shards"`
	TailBytes int64 `json:"tail_bytes"`
	// RowsPerSecond is how fast they came in, checkpoints included.
	RowsPerSecond float64 `json:"rows_per_second"`
	LogBytes      int64   `json:"log_bytes"`
	// Filled is what the process needs when all rows are in, Opened when they were opened again and nothing was asked yet,
	// Asked when the spaces were asked. Peaks are VmHWM: of the first from the start, of the others from the reopening.
	Filled SpacesUse `json:"filled"`
	Opened SpacesUse `json:"opened"`
	Asked  SpacesUse `json:"asked"`
	// ReopenMS is the time to open all shards again.
	ReopenMS float64 `json:"reopen_ms"`
	// Cold is how long the first recall of a space took after the reopening, Warm the second one.
	Cold Latency `json:"cold_recall_ms"`
	Warm Latency `json:"warm_recall_ms"`
	// Sampled is of how many spaces.
	Sampled int `json:"sampled"`
	// FromDisk tells that the kernel had let go of the files' pages before.
	FromDisk bool `json:"from_disk"`
}

// SpacesUse is what a process needs at one moment.
type SpacesUse struct {
	RSSPeak uint64 `json:"rss_peak_bytes"`
	RSS     uint64 `json:"rss_bytes"`
	Files   int    `json:"open_files"`
}

func useNow() SpacesUse {
	return SpacesUse{RSSPeak: peakRSS(), RSS: residentNow(), Files: openFiles()}
}

// spacesRun is one run.
type spacesRun struct {
	cfg    SpacesConfig
	dir    string
	src    *rowSource
	shards []*spacesShard
	maps   *vecstore.Maps
	rep    SpacesReport
}

// Spaces measures what many small spaces need, and how fast one is that was not asked for long.
func Spaces(ctx context.Context, cfg SpacesConfig, progress func(string)) (rep SpacesReport, err error) {
	if err := cfg.Validate(); err != nil {
		return rep, err
	}
	r := &spacesRun{cfg: cfg, src: newRowSource(nil, cfg.Dim)}
	dir, remove, err := daemon.TempDir(ctx, cfg.Data, "engram-bench-spaces-")
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	r.dir = dir
	defer func() { err = errors.Join(err, r.abandon()) }()
	r.maps = vecstore.NewMaps(vecstore.DefaultMapBytes)
	r.rep = SpacesReport{Spaces: cfg.Spaces, Rows: cfg.Rows, Dim: cfg.Dim, Shards: cfg.Shards, TailBytes: cfg.TailBytes}
	if err := r.run(ctx, progress); err != nil {
		return rep, err
	}
	return r.rep, nil
}

func (r *spacesRun) run(ctx context.Context, progress func(string)) error {
	progress("filling the spaces")
	if err := r.open(); err != nil {
		return err
	}
	if err := r.fill(ctx); err != nil {
		return err
	}
	r.rep.Filled = useNow()
	if r.cfg.Filled != nil {
		if err := r.cfg.Filled(); err != nil {
			return err
		}
	}
	progress("opening the shards again")
	if err := r.reopen(); err != nil {
		return err
	}
	r.rep.Opened = useNow()
	progress("asking cold spaces")
	err := r.ask(ctx)
	r.rep.Asked = useNow()
	return err
}

func (r *spacesRun) options() vecstore.Options {
	return vecstore.Options{TailBytes: r.cfg.TailBytes / int64(r.cfg.Shards), Maps: r.maps}
}

func (r *spacesRun) abandon() error {
	var errs []error
	for _, s := range r.shards {
		errs = append(errs, abandon(s.shard))
	}
	r.shards = nil
	return errors.Join(errs...)
}
