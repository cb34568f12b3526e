package worker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/wire"
)

// service is the micro service "engram-shard-<n>" of one copy of a shard: engram.shard.<n>.recall, get, list, spaces and
// await, in the queue group that all copies share, and compact and look, which each of them hears. Each shard has its own, so that
// copies come and go alone.
type service struct {
	s      *shard
	micro  micro.Service
	ctx    context.Context
	cancel context.CancelFunc
	// Requests for acknowledgements have places of their own: a write is not kept waiting by reads.
	reads, acknowledgements *bus.Places

	mu sync.Mutex
	// waiters of the reads wait for a position, and waiting of them in a space.
	waiters int
	waiting map[string]int
}

// How many requests one copy of a shard holds at once, for acknowledgements as many once more, and how many of them wait for a
// position: those of one space leave places to other spaces, and all together to those that need not wait.
const (
	maxOpen    = 4096
	maxWaiters = maxOpen / 4 * 3
	maxWaiting = maxOpen / 4
)

// waitLimit is how long a request waits for its position when it does not say, and maxWait how long at the most.
const (
	waitLimit = 5 * time.Second
	maxWait   = searchLimit
)

func (s *shard) serve() (*service, error) {
	ctx, cancel := context.WithCancel(s.w.ctx)
	requests := fmt.Sprintf("requests to this copy of shard %d", s.number)
	v := &service{
		s: s, ctx: ctx, cancel: cancel, waiting: map[string]int{},
		reads: bus.NewPlaces(maxOpen, requests), acknowledgements: bus.NewPlaces(maxOpen, requests),
	}
	name := "engram-shard-" + strconv.Itoa(s.number)
	var err error
	v.micro, err = micro.AddService(s.w.Conn, micro.Config{
		Name: name, Version: s.w.Version, Description: "Answers recalls from one copy of a shard.", QueueGroup: name,
		Metadata: map[string]string{"shard": strconv.Itoa(s.number), "worker": s.w.Config.Name},
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("starting the service %s: %w", name, err)
	}
	for verb, answer := range map[string]answerer{
		bus.VerbRecall: v.recall, bus.VerbGet: v.get, bus.VerbList: v.list, bus.VerbSpaces: v.spaces, bus.VerbAwait: v.await,
		bus.VerbCompact: v.compact, bus.VerbLook: v.look, bus.VerbSnapshot: v.snapshot,
	} {
		opts := []micro.EndpointOpt{micro.WithEndpointSubject(bus.ShardSubject(s.number, verb))}
		if verb == bus.VerbCompact || verb == bus.VerbLook {
			opts = append(opts, micro.WithEndpointQueueGroupDisabled())
		}
		if err := v.micro.AddEndpoint(verb, bus.Guard(s.w.Logger, v.handler(verb, answer)), opts...); err != nil {
			return nil, errors.Join(fmt.Errorf("adding an endpoint to %s: %w", name, err), v.stop())
		}
	}
	// Who is told that the worker is ready must find it.
	if err := s.w.Conn.Flush(); err != nil {
		return nil, errors.Join(fmt.Errorf("announcing the service %s: %w", name, err), v.stop())
	}
	return v, nil
}

// stopLimit is for how long requests that have come are still worked on, those that wait for a position among them.
const stopLimit = 2 * time.Second

// stop takes no more requests and waits for those that have come: what the server had sent before it knew is answered, too.
func (v *service) stop() error {
	err := v.micro.Stop()
	if conn := v.s.w.Conn; err == nil && conn.IsConnected() && conn.FlushTimeout(stopLimit) == nil {
		handled := make(chan struct{})
		if conn.Barrier(func() { close(handled) }) == nil {
			select {
			case <-handled:
			case <-time.After(stopLimit): // a log's deliveries stand in the way, of a shard that stands still
			}
		}
		late := time.AfterFunc(stopLimit, v.cancel)
		defer late.Stop()
	} else {
		v.cancel()
	}
	v.reads.Stop()
	v.acknowledgements.Stop()
	v.cancel()
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("stopping the service of shard %d: %w", v.s.number, err)
	}
	return nil
}

type answerer func(ctx context.Context, f wire.Format, space string, body []byte) ([]byte, *wire.Error)

func (v *service) handler(verb string, answer answerer) micro.HandlerFunc {
	places := v.reads
	if verb == bus.VerbAwait {
		places = v.acknowledgements
	}
	return func(req micro.Request) {
		refused := places.Go(func() {
			start := time.Now()
			v.respond(req, verb, answer)
			if verb == bus.VerbRecall {
				v.s.w.RecallLatency.Observe(time.Since(start).Seconds())
			}
		})
		if refused != nil {
			v.respond(req, verb, func(context.Context, wire.Format, string, []byte) ([]byte, *wire.Error) { return nil, refused })
		}
	}
}

// answerHeadroom is what the headers of an answer need, which count towards the largest message of NATS too.
const answerHeadroom = 512

// reads are the verbs whose answers are to be as fresh as those of other copies.
func reads(verb string) bool {
	switch verb {
	case bus.VerbRecall, bus.VerbGet, bus.VerbList, bus.VerbSpaces:
		return true
	}
	return false
}

func (v *service) respond(req micro.Request, verb string, answer answerer) {
	f, failed := wire.FormatOf(req.Headers().Get(bus.HeaderContentType), req.Data())
	var body []byte
	if failed == nil && reads(verb) && !v.s.fresh() {
		failed = wire.Errorf(wire.CodeUnavailable, "", "this copy of shard %d catches up with the log; ask again for another one", v.s.number)
	}
	if failed == nil {
		body, failed = answer(v.ctx, f, req.Headers().Get(bus.HeaderSpace), req.Data())
	}
	if limit := v.s.w.Conn.MaxPayload() - answerHeadroom; failed == nil && int64(len(body)) > limit {
		failed = wire.Errorf(wire.CodeTooLarge, "k", "the answer has %d bytes, and a NATS message can have %d; ask for fewer hits, or include less",
			len(body), limit)
	}
	if failed != nil {
		bus.Refuse(req, f.ContentType(), failed.Status(), failed.Error(), wire.EncodeError(f, failed))
		return
	}
	bus.Answer(req, f.ContentType(), body)
}

func (v *service) stopping() *wire.Error {
	return wire.Errorf(wire.CodeUnavailable, "", "this copy of shard %d is shutting down; ask again for another one", v.s.number)
}

// reading is what requests to read have in common.
type reading interface {
	GetAtLeast() string
	GetAsOf() string
	GetDeadlineMs() uint32
}

// waitOf returns for how long a request is kept waiting.
func waitOf(req reading) time.Duration {
	if ms := req.GetDeadlineMs(); ms > 0 {
		return min(time.Duration(ms)*time.Millisecond, maxWait)
	}
	return waitLimit
}

// crowded refuses a request for which there is no place.
func (*service) crowded(field, format string, args ...any) *wire.Error {
	refused := wire.Errorf(wire.CodeBackpressure, field, format+"; send the request again later", args...)
	refused.RetryAfter = time.Second
	return refused
}

// enter waits until the copy has applied the positions that a request names, and for a place to compute in. It returns
// the sequence to answer from, 0 for now.
func (v *service) enter(ctx context.Context, space string, req reading) (asOf uint64, leave func(), err *wire.Error) {
	ctx, cancel := context.WithTimeout(ctx, waitOf(req))
	defer cancel()
	if req.GetAtLeast() != "" {
		sequence, err := v.sequence("at_least", req.GetAtLeast())
		if err == nil {
			err = v.queue(ctx, space, "at_least", sequence)
		}
		if err != nil {
			return 0, nil, err
		}
	}
	if req.GetAsOf() != "" {
		if asOf, err = v.sequence("as_of", req.GetAsOf()); err == nil {
			err = v.queue(ctx, space, "as_of", asOf)
		}
		if err != nil {
			return 0, nil, err
		}
		asOf = max(asOf, 1) // before the first event there is as much as after it, which defines a space
	}
	select {
	case v.s.w.recalls <- struct{}{}:
		return asOf, func() { <-v.s.w.recalls }, nil
	case <-ctx.Done():
		if v.ctx.Err() != nil {
			return 0, nil, v.stopping()
		}
		return 0, nil, wire.Errorf(wire.CodeDeadline, "", "the worker was busy with other recalls until the deadline")
	}
}

// sequence returns what a position that a field holds says of this shard.
func (v *service) sequence(field, position string) (uint64, *wire.Error) {
	p, err := event.ParsePosition(position)
	switch {
	case err != nil:
		return 0, wire.Errorf(wire.CodeInvalidPosition, field, "%v", err)
	case p.Epoch != v.s.w.Topology.Epoch:
		return 0, wire.Errorf(wire.CodeInvalidPosition, field, "%q is a position of another set of logs than this one, %s", position, v.s.w.Topology.Epoch)
	case p.Shard != v.s.number:
		return 0, wire.Errorf(wire.CodeInvalidPosition, field, "%q is a position of shard %d, and the space is in shard %d", position, p.Shard, v.s.number)
	}
	return p.Sequence, nil
}

// queue is reach for a request to read, which waits beside others of its space.
func (v *service) queue(ctx context.Context, space, field string, sequence uint64) *wire.Error {
	if v.s.mark.read().applied >= sequence {
		return nil
	}
	v.mu.Lock()
	var refused *wire.Error
	switch n := v.waiting[space]; {
	case n >= maxWaiting:
		refused = v.crowded(field, "%d requests to space %q wait for a position already", n, space)
	case v.waiters >= maxWaiters:
		refused = v.crowded(field, "%d requests to this copy of shard %d wait for a position already", v.waiters, v.s.number)
	default:
		v.waiting[space]++
		v.waiters++
	}
	v.mu.Unlock()
	if refused != nil {
		return refused
	}
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.waiters--
		if v.waiting[space]--; v.waiting[space] == 0 {
			delete(v.waiting, space)
		}
	}()
	return v.reach(ctx, field, sequence)
}

// reach waits until the copy has applied a sequence that a field of the request names.
func (v *service) reach(ctx context.Context, field string, sequence uint64) *wire.Error {
	if v.s.mark.await(ctx, sequence) != nil {
		return v.late(field)
	}
	return nil
}

// late says why a wait has ended too early.
func (v *service) late(field string) *wire.Error {
	if v.ctx.Err() != nil {
		return v.stopping()
	}
	return wire.Errorf(wire.CodeDeadline, field, "the deadline passed with shard %d at position %s, below the one asked for", v.s.number, v.position(v.s.mark.read().applied))
}

func (v *service) position(sequence uint64) string {
	return event.Position{Epoch: v.s.w.Topology.Epoch, Shard: v.s.number, Sequence: sequence}.String()
}

// spaceOf returns the space of a request, from its header or its body, and checks that it lives here.
func (v *service) spaceOf(header, body string) (string, *wire.Error) {
	space := header
	switch {
	case header == "":
		space = body
	case body != "" && body != header:
		return "", wire.Errorf(wire.CodeInvalidSpace, "space", "the body says space %q, the request space %q", body, header)
	}
	if err := wire.CheckSpace(space); err != nil {
		return "", err
	}
	if n := event.ShardOf(space, v.s.w.Topology.Shards); n != v.s.number {
		return "", wire.Errorf(wire.CodeInvalidSpace, "space", "space %q is in shard %d, and this is shard %d", space, n, v.s.number)
	}
	return space, nil
}

// view returns what to search, and what holds for it: both are read before the search, and the store before what is
// said of it, since a rebuild first sets the watermark back and then shows the new store.
func (v *service) view() (store *vecstore.Shard, m mark, stalenessMS float64) {
	store = v.s.store.Load()
	return store, v.s.mark.read(), float64(v.s.staleness(time.Now())) / 1e6
}
