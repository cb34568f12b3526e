package importer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// Client is what an import asks of an Engram; pkg/client has it. Its errors are *wire.Error.
type Client interface {
	ObserveRetrying(ctx context.Context, space string, req *api.ObserveRequest, refused func(*wire.Error)) (*api.ObserveResponse, error)
	Get(ctx context.Context, space string, req *api.GetRequest) (*api.GetResponse, error)
	Spaces(ctx context.Context, only string) (*api.SpacesResponse, error)
}

// Defaults of Config.
const (
	DefaultBatch      = 250
	DefaultWindow     = 8
	DefaultMaxPayload = 1 << 20
	DefaultPatience   = 30 * time.Second
)

// MaxPatience keeps a retry well within the time for which the log knows a write id, so that it can never undo what was
// written or forgotten after the try before it.
const MaxPatience = 2 * time.Minute

// requestOverhead is room in a message for its headers and for the fields of a request beside its observations.
const requestOverhead = 4096

// Config says where a file goes, and how.
type Config struct {
	// Space is the name of the space, which the first observation makes.
	Space string
	// Batch is how many records travel in one request, 1..999. Default: 250.
	Batch int
	// Window is how many requests are under way at once. Default: 8.
	Window int
	// MaxPayload is the largest message that NATS takes, in bytes; a batch is cut earlier to stay below it. Default: 1 MiB.
	MaxPayload int64
	// Patience is how long a request is sent again when it is not answered, or answered that something is out of order,
	// up to MaxPatience. Backpressure is an answer, and is waited out however long it lasts. Default: 30 s.
	Patience time.Duration
	// Refused, which may be nil, is told of each record that was refused, in no particular order.
	Refused func(Refusal)
	// Progress, which may be nil, is told of how many more lines or rows are done.
	Progress func(done int64)
}

// Refusal says why a record is not in the space. Number counts as Record.Number does.
type Refusal struct {
	Number int64
	Err    *wire.Error
}

// Result is what an import has done, also when it ends with an error.
type Result struct {
	// Records were read: Sent, Present and Refused together, less what was under way at an error.
	Records int64
	// Sent were accepted; they are durable.
	Sent int64
	// Present were there already, or repeat the id of a record before them.
	Present int64
	// Refused were told to Config.Refused.
	Refused int64
	// Backpressure counts requests that were refused for it and sent again.
	Backpressure int64
	// Position is that of the last one accepted, empty when none was.
	Position string
	// Searchable is true when a recall finds all that was sent.
	Searchable bool
}

// Validate fills in the defaults and tells what of the configuration cannot be, as Run does.
func (c *Config) Validate() error {
	fill := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	fill(&c.Batch, DefaultBatch)
	fill(&c.Window, DefaultWindow)
	if c.MaxPayload == 0 {
		c.MaxPayload = DefaultMaxPayload
	}
	if c.Patience == 0 {
		c.Patience = DefaultPatience
	}
	c.Patience = min(c.Patience, MaxPatience)
	if err := wire.CheckSpace(c.Space); err != nil {
		return err
	}
	switch {
	case c.Batch < 1 || c.Batch > event.MaxBatch:
		return wire.Errorf(wire.CodeInvalidArgument, "batch", "batch is %d; it can be 1 to %d", c.Batch, event.MaxBatch)
	case c.Window < 1 || c.Window > maxWindow:
		return wire.Errorf(wire.CodeInvalidArgument, "window", "window is %d; it can be 1 to %d", c.Window, maxWindow)
	case c.Patience < 0:
		return wire.Errorf(wire.CodeInvalidArgument, "patience", "patience is %v; it cannot be negative", c.Patience)
	}
	return nil
}

// maxWindow bounds the memory of an import: each request holds up to 1 MiB.
const maxWindow = 256

// Run imports a source. It returns when all of it is accepted or refused and what was sent is searchable (or Patience
// is spent on waiting for that, which is no error), when ctx ends, or at the first failure that is not a record's. All its
// goroutines have ended then. The result counts in every case; refused records are no error.
func Run(ctx context.Context, c Client, src Source, cfg Config) (Result, error) {
	if err := cfg.Validate(); err != nil {
		return Result{}, err
	}
	r := &run{cfg: cfg, client: c}
	if err := r.lookAtSpace(ctx, src); err != nil {
		return r.result, err
	}
	r.group, r.ctx = errgroup.WithContext(ctx)
	r.group.SetLimit(cfg.Window)
	err := src.Records(r.add)
	if r.ctx.Err() == nil {
		err = errors.Join(err, r.flush())
	}
	// The group's error is why the reading stopped, where both have one.
	if failed := r.group.Wait(); failed != nil {
		err = failed
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		r.settle(ctx)
	}
	return r.result, err
}

// run is one import under way.
type run struct {
	cfg    Config
	client Client
	group  *errgroup.Group
	ctx    context.Context

	// Of the goroutine that reads.
	batch    []Record
	bytes    int
	consumed int64
	done     int64 // of consumed, what batches stand for
	defined  bool

	mu     sync.Mutex // guards what follows, and serialises the callbacks
	result Result
	last   event.Position
	lastID string
}

// lookAtSpace finds out whether the space is there, and refuses a file that does not fit as a whole.
func (r *run) lookAtSpace(ctx context.Context, src Source) error {
	resp, err := patiently(ctx, r.cfg.Patience, func(ctx context.Context) (*api.SpacesResponse, error) {
		return r.client.Spaces(ctx, r.cfg.Space)
	})
	if err != nil {
		if wire.AsError(err).Code != wire.CodeUnknownSpace {
			return err
		}
		if src.Dimension() == 1 {
			// One column is more likely a file of labels or ids than a space that somebody wants.
			return wire.Errorf(wire.CodeUnknownSpace, "space", "the embeddings of the file have one component, and there is no space %q to take such; "+
				"if they are embeddings, create it before, with --dim 1", r.cfg.Space)
		}
		return nil
	}
	for _, s := range resp.GetSpaces() {
		r.defined = true
		if want, got := int(s.GetDefinition().GetDimension()), src.Dimension(); got != 0 && got != want {
			return wire.Errorf(wire.CodeWrongDimension, "embedding", "space %q has dimension %d, the embeddings of the file have %d", r.cfg.Space, want, got)
		}
	}
	return nil
}

// add puts a record into the batch.
func (r *run) add(rec Record) error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	r.consumed = rec.Consumed
	r.count(func(res *Result) { res.Records++ })
	if o := rec.Observation; rec.Refused == nil && o.GetSpace() != "" && o.GetSpace() != r.cfg.Space {
		rec.Refused = wire.Errorf(wire.CodeInvalidSpace, "space", "the observation says space %q, and is imported into %q", o.GetSpace(), r.cfg.Space)
	}
	switch {
	case rec.Refused != nil:
		r.refuse(rec, rec.Refused)
		return nil
	case rec.Repeated:
		r.count(func(res *Result) { res.Present++ })
		return nil
	}
	size := proto.Size(rec.Observation) + 8 // its tag and length
	if len(r.batch) > 0 && int64(r.bytes+size) > r.cfg.MaxPayload-requestOverhead {
		if err := r.flush(); err != nil {
			return err
		}
	}
	r.batch = append(r.batch, rec)
	if r.bytes += size; len(r.batch) == r.cfg.Batch {
		return r.flush()
	}
	return nil
}

// flush sends the batch on its way; it waits while the window is full, and for a batch that may define the space.
func (r *run) flush() error {
	batch, done := r.batch, r.consumed-r.done
	r.batch, r.bytes, r.done = nil, 0, r.consumed
	if r.defined {
		r.group.Go(func() error { return r.process(batch, done) })
		return nil
	}
	if err := r.process(batch, done); err != nil {
		return err
	}
	r.count(func(res *Result) { r.defined = res.Sent+res.Present > 0 })
	return nil
}

// process takes one batch through.
func (r *run) process(batch []Record, done int64) error {
	absent, err := r.absent(r.ctx, batch)
	if err == nil {
		err = r.send(r.ctx, absent)
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cfg.Progress != nil && done > 0 {
		r.cfg.Progress(done)
	}
	return nil
}

// settle waits until what was sent is searchable.
func (r *run) settle(ctx context.Context) {
	if r.result.Sent == 0 {
		r.result.Searchable = true
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Patience)
	defer cancel()
	_, err := r.client.Get(ctx, r.cfg.Space, &api.GetRequest{
		Ids: []string{r.lastID}, Include: []string{"none"}, AtLeast: r.result.Position, DeadlineMs: uint32(r.cfg.Patience.Milliseconds()),
	})
	r.result.Searchable = err == nil
}

func (r *run) count(f func(*Result)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.result)
}

func (r *run) refuse(rec Record, err *wire.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Refused++
	if r.cfg.Refused != nil {
		r.cfg.Refused(Refusal{Number: rec.Number, Err: err})
	}
}

// accepted notes one record that is in the log.
func (r *run) accepted(res *api.ObserveResult) error {
	p, err := event.ParsePosition(res.GetPosition())
	if err != nil {
		return fmt.Errorf("reading an acknowledgement: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Sent++
	if p.Sequence >= r.last.Sequence {
		r.last, r.lastID, r.result.Position = p, res.GetId(), res.GetPosition()
	}
	return nil
}
