package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"time"

	"github.com/engram-memory/engram/pkg/daemon"
	"github.com/engram-memory/engram/pkg/vecstore"
)

// KillConfig of a run in which a process that inserts is killed again and again.
type KillConfig struct {
	KillLoad
	// Queries is a file of rows to look for; empty for rows behind those that are inserted.
	Queries string
	// Rounds is how often it is killed.
	Rounds int
	// Within is the longest time from its first write in a round to its death, which comes at a random moment of it, but
	// not before there are Rows rows.
	Within time.Duration
	// Ef is the length of the candidate list that recall is measured with.
	Ef int
	// Compare has recall compared with that of a build without a crash after every round, or only after the last.
	CompareEach bool
	Seed        uint64
	// Data is the directory for the run's files, which are removed after it.
	Data string
	// Child is the command line of a process that calls KillChild.
	Child []string
}

// Validate tells what of the configuration cannot be.
func (c *KillConfig) Validate() error {
	switch {
	case c.Rounds < 1 || c.Within <= 0:
		return fmt.Errorf("--rounds is %d and --within %v; they must be above 0", c.Rounds, c.Within)
	case c.Rows < 1 || c.Rows > math.MaxInt32/2:
		return fmt.Errorf("--rows is %d; it can be 1 to %d", c.Rows, math.MaxInt32/2)
	case c.Base == "" && (c.Dim < 1 || c.Dim > maxDim):
		return fmt.Errorf("--dim is %d; it can be 1 to %d", c.Dim, maxDim)
	case c.Queries != "" && c.Base == "":
		return errors.New("--queries needs a --base")
	case c.Threads < 1 || c.Ef < 1:
		return fmt.Errorf("--threads is %d and --ef %d; they must be above 0", c.Threads, c.Ef)
	case c.Checkpoint < 0:
		return errors.New("--checkpoint cannot be negative")
	}
	return nil
}

// KillReport is what the rounds came to. A run whose ledger is broken has no report, but an error.
type KillReport struct {
	Rounds []KillRound `json:"rounds"`
	// Kills is their number, ReopenMS the longest time from opening to the first answer.
	Kills    int     `json:"kills"`
	ReopenMS float64 `json:"reopen_ms_max"`
	// RecallDifference is the largest one between recall@10 after a recovery and without a crash, either way.
	RecallDifference float64 `json:"recall_difference_max"`
	WallSeconds      float64 `json:"wall_seconds"`
}

// KillRound is one death and what was found after it.
type KillRound struct {
	// Flushed is how many rows the process had said to be in the row log, Rows how many are there.
	Flushed int `json:"flushed"`
	Rows    int `json:"rows"`
	// Unlinked is how many of them were still to be linked when it was opened.
	Unlinked int `json:"unlinked"`
	// Mode is how the row log was opened; trusted, as nothing was lost with the process.
	Mode string `json:"mode"`
	// OpenMS is the time to open the shard, ReopenMS from opening it to the first answer.
	OpenMS   float64 `json:"open_ms"`
	ReopenMS float64 `json:"reopen_ms"`
	// RecallAtOnce is recall@10 of what was there at once, RecallLinked when everything was linked, and RecallUncrashed of
	// another shard with the same rows and no crash, null when it was not built.
	RecallAtOnce    float64  `json:"recall_at_once"`
	RecallLinked    float64  `json:"recall_linked"`
	RecallUncrashed *float64 `json:"recall_uncrashed"`
}

// killQueries is how many queries recall is measured with at the most: their true neighbours are found anew each time.
const killQueries = 300

// killRun is one run.
type killRun struct {
	cfg     KillConfig
	dir     string
	in      *runRows
	truth   [][]int32 // of the rows that there were in this round
	random  *rand.Rand
	rep     KillReport
	started time.Time
}

// Kill has a process insert into a shard and kills it, with SIGKILL, while it appends, applies, links and takes
// checkpoints. After each death it opens the shard, checks that every row that the process had said to be flushed is there
// as it was given, and that recall is what it would have been.
func Kill(ctx context.Context, cfg KillConfig, progress func(string)) (rep KillReport, err error) {
	if err := cfg.Validate(); err != nil {
		return rep, err
	}
	r := &killRun{cfg: cfg, random: rand.New(rand.NewPCG(cfg.Seed, 7)), started: time.Now()}
	dir, remove, err := daemon.TempDir(ctx, cfg.Data, "engram-bench-kill-")
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	r.dir = dir
	// More rows than will ever be inserted lie before the queries.
	if r.in, err = openRows(cfg.Base, cfg.Queries, r.dir, cfg.Dim, math.MaxInt32); err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, r.in.close()) }()
	r.in.queries = r.in.queries[:min(len(r.in.queries), killQueries)]
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cfg.Threads))
	for round := range cfg.Rounds {
		progress(fmt.Sprintf("round %d of %d", round+1, cfg.Rounds))
		if err := r.round(ctx, round); err != nil {
			return rep, fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	r.rep.WallSeconds = time.Since(r.started).Seconds()
	return r.rep, nil
}

func (r *killRun) round(ctx context.Context, n int) error {
	after := time.Duration(r.random.Int64N(int64(r.cfg.Within)))
	flushed, err := r.runAndKill(ctx, after)
	if err != nil {
		return err
	}
	k := KillRound{Flushed: flushed}
	if err := r.verify(ctx, &k); err != nil {
		return err
	}
	if r.cfg.CompareEach || n == r.cfg.Rounds-1 {
		recall, err := r.uncrashed(ctx, k.Rows)
		if err != nil {
			return err
		}
		k.RecallUncrashed = &recall
		r.rep.RecallDifference = max(r.rep.RecallDifference, math.Abs(recall-k.RecallLinked))
	}
	r.rep.Rounds = append(r.rep.Rounds, k)
	r.rep.Kills, r.rep.ReopenMS = n+1, max(r.rep.ReopenMS, k.ReopenMS)
	return nil
}

// shardDir is where the process that is killed works.
func (r *killRun) shardDir() string { return filepath.Join(r.dir, "shard") }

// options are those of every shard of the run.
func (l *KillLoad) options() vecstore.Options {
	return vecstore.Options{LinkThreads: l.Threads, GraphRows: l.GraphRows}
}

// cosineSpace is the space of runs that choose nothing about it.
func cosineSpace(dim int) vecstore.Definition {
	return vecstore.Definition{Name: indexSpace, Dimension: uint32(dim), Metric: vecstore.Cosine, Generation: 1}
}
