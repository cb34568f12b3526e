package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/wire"
)

// service is the micro service "engram-shard-<n>" of one copy of a shard: engram.shard.<n>.recall, get, list, spaces and
// await, in the queue group that all copies share. Each shard has its own, so that copies come and go alone.
type service struct {
	s       *shard
	micro   micro.Service
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// waitLimit is how long a request waits for its position when it does not say.
const waitLimit = 5 * time.Second

func (s *shard) serve() (*service, error) {
	ctx, cancel := context.WithCancel(s.w.ctx)
	v := &service{s: s, ctx: ctx, cancel: cancel}
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
	for verb, answer := range map[string]func(context.Context, wire.Format, string, []byte) ([]byte, *wire.Error){
		bus.VerbRecall: v.recall, bus.VerbGet: v.get, bus.VerbList: v.list, bus.VerbSpaces: v.spaces, bus.VerbAwait: v.await,
	} {
		err := v.micro.AddEndpoint(verb, v.handler(verb, answer), micro.WithEndpointSubject(bus.ShardSubject(s.number, verb)))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("adding an endpoint to %s: %w", name, err), v.stop())
		}
	}
	return v, nil
}

// stop takes no more requests and waits for those that run.
func (v *service) stop() error {
	err := v.micro.Stop()
	v.cancel()
	v.running.Wait()
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("stopping the service of shard %d: %w", v.s.number, err)
	}
	return nil
}

func (v *service) handler(verb string, answer func(context.Context, wire.Format, string, []byte) ([]byte, *wire.Error)) micro.HandlerFunc {
	return func(req micro.Request) {
		v.running.Go(func() {
			start := time.Now()
			f, failed := wire.FormatOf(req.Headers().Get(bus.HeaderContentType), req.Data())
			var body []byte
			if failed == nil {
				body, failed = answer(v.ctx, f, req.Headers().Get(bus.HeaderSpace), req.Data())
			}
			if failed == nil && int64(len(body)) > v.s.w.Conn.MaxPayload() {
				failed = wire.Errorf(wire.CodeTooLarge, "k", "the answer has %d bytes, and a NATS message can have %d; ask for fewer hits, or include less",
					len(body), v.s.w.Conn.MaxPayload())
			}
			headers := micro.WithHeaders(micro.Headers{bus.HeaderContentType: {f.ContentType()}})
			// An answer that cannot be sent is one that the client does not get: it will ask again.
			if failed != nil {
				_ = req.Error(strconv.Itoa(failed.Status()), failed.Error(), wire.EncodeError(f, failed), headers)
			} else {
				_ = req.Respond(body, headers)
			}
			if verb == bus.VerbRecall {
				v.s.w.RecallLatency.Observe(time.Since(start).Seconds())
			}
		})
	}
}

// enter waits until the copy has applied atLeast, and for a place to compute in.
func (v *service) enter(ctx context.Context, atLeast string, deadlineMS uint32) (leave func(), err *wire.Error) {
	limit := waitLimit
	if deadlineMS > 0 {
		limit = time.Duration(deadlineMS) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if atLeast != "" {
		p, perr := event.ParsePosition(atLeast)
		switch {
		case perr != nil:
			return nil, wire.Errorf(wire.CodeInvalidPosition, "at_least", "%v", perr)
		case p.Epoch != v.s.w.Topology.Epoch:
			return nil, wire.Errorf(wire.CodeInvalidPosition, "at_least", "%q is a position of another set of logs than this one, %s", atLeast, v.s.w.Topology.Epoch)
		case p.Shard != v.s.number:
			return nil, wire.Errorf(wire.CodeInvalidPosition, "at_least", "%q is a position of shard %d, and the space is in shard %d", atLeast, p.Shard, v.s.number)
		}
		if err := v.reach(ctx, p.Sequence); err != nil {
			return nil, err
		}
	}
	select {
	case v.s.w.recalls <- struct{}{}:
		return func() { <-v.s.w.recalls }, nil
	case <-ctx.Done():
		return nil, wire.Errorf(wire.CodeDeadline, "", "the worker was busy with other recalls until the deadline")
	}
}

func (v *service) reach(ctx context.Context, sequence uint64) *wire.Error {
	if v.s.mark.await(ctx, sequence) != nil {
		return wire.Errorf(wire.CodeDeadline, "at_least", "the deadline passed with shard %d at position %s, below the one asked for", v.s.number, v.position(v.s.mark.read().applied))
	}
	return nil
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

func (v *service) stalenessMS() float64 { return float64(v.s.staleness(time.Now())) / 1e6 }

func (v *service) recall(ctx context.Context, f wire.Format, header string, body []byte) ([]byte, *wire.Error) {
	start := time.Now()
	req, err := wire.DecodeRecall(f, body)
	if err == nil {
		err = wire.CheckRecall(req)
	}
	if err != nil {
		return nil, err
	}
	space, err := v.spaceOf(header, req.GetSpace())
	if err != nil {
		return nil, err
	}
	leave, err := v.enter(ctx, req.GetAtLeast(), req.GetDeadlineMs())
	if err != nil {
		return nil, err
	}
	defer leave()
	q, err := v.query(space, req)
	if err != nil {
		return nil, err
	}
	// Read before the search: what the answer says of its freshness must hold for what was searched.
	m, staleness := v.s.mark.read(), v.stalenessMS()
	res, serr := v.s.store.Load().Search(space, q)
	if serr != nil {
		return nil, storeError(serr)
	}
	include, _ := wire.ParseInclude(req.GetInclude())
	hits, err := v.hits(res.Rows, include)
	if err != nil {
		return nil, err
	}
	return wire.EncodeRecall(f, &api.RecallResponse{
		Hits: hits, Applied: v.position(m.applied), StalenessMs: staleness, Searched: uint64(res.Searched), Exact: res.Exact,
		TookUs: uint64(time.Since(start).Microseconds()),
	})
}

func (v *service) query(space string, req *api.RecallRequest) (vecstore.Query, *wire.Error) {
	q := vecstore.Query{ID: req.GetId(), K: event.DefaultK, MinScore: float32(math.Inf(-1)), Now: time.Now()}
	if req.K != nil {
		q.K = int(req.GetK())
	}
	if req.MinScore != nil {
		q.MinScore = req.GetMinScore()
	}
	if req.GetText() != "" {
		return q, wire.Errorf(wire.CodeUnsupported, "text", "a shard has no embedder; ask %s", bus.RecallSubject(space))
	}
	if req.GetEmbedding() == nil {
		return q, nil
	}
	def, ok := v.s.store.Load().Definition(space)
	if !ok {
		return q, wire.Errorf(wire.CodeUnknownSpace, "space", "there is no space %q", space)
	}
	packed, err := wire.EmbeddingF32(req.GetEmbedding(), def.Metric == vecstore.Cosine)
	if err != nil {
		return q, err
	}
	q.Vector = event.DecodeF32(make([]float32, 0, len(packed)/4), packed)
	return q, nil
}

// hits makes the answer's hits out of rows.
func (v *service) hits(rows []vecstore.Row, include wire.Include) ([]*api.Hit, *wire.Error) {
	hits := make([]*api.Hit, len(rows))
	for i, r := range rows {
		o := new(api.Observation)
		if err := proto.Unmarshal(r.Body, o); err != nil {
			return nil, wire.Errorf(wire.CodeInternal, "", "the row of %q cannot be read: %v", r.ID, err)
		}
		h := &api.Hit{
			Id: r.ID, Score: r.Score, ObservedAt: o.GetObservedAt(), Position: v.position(r.Sequence), Priority: o.GetPriority(),
			Importance: o.GetImportance(), ExpiresAt: r.ExpiresAt, Session: o.GetSession(), Sequence: o.GetSequence(),
		}
		if include.Text {
			h.Text = o.GetText()
		}
		if include.Metadata {
			h.Metadata = o.GetMetadata()
		}
		if include.Embedding {
			h.Embedding = &api.Embedding{Data: r.Vector, Encoding: api.Encoding_ENCODING_F32}
		}
		hits[i] = h
	}
	return hits, nil
}

func (v *service) get(ctx context.Context, f wire.Format, header string, body []byte) ([]byte, *wire.Error) {
	req, err := wire.DecodeGet(f, body)
	if err != nil {
		return nil, err
	}
	space, err := v.spaceOf(header, req.GetSpace())
	if err != nil {
		return nil, err
	}
	leave, err := v.enter(ctx, req.GetAtLeast(), req.GetDeadlineMs())
	if err != nil {
		return nil, err
	}
	defer leave()
	m, staleness := v.s.mark.read(), v.stalenessMS()
	rows, serr := v.s.store.Load().Get(space, req.GetIds(), time.Now())
	if serr != nil {
		return nil, storeError(serr)
	}
	include, _ := wire.ParseInclude(req.GetInclude())
	hits, err := v.hits(rows, include)
	if err != nil {
		return nil, err
	}
	return wire.EncodeGet(f, &api.GetResponse{Observations: hits, Applied: v.position(m.applied), StalenessMs: staleness})
}

func (v *service) list(ctx context.Context, f wire.Format, header string, body []byte) ([]byte, *wire.Error) {
	req, err := wire.DecodeList(f, body)
	if err != nil {
		return nil, err
	}
	space, err := v.spaceOf(header, req.GetSpace())
	if err != nil {
		return nil, err
	}
	before := uint64(0)
	if req.GetBefore() != "" {
		p, perr := event.ParsePosition(req.GetBefore())
		if perr != nil || p.Epoch != v.s.w.Topology.Epoch || p.Shard != v.s.number {
			return nil, wire.Errorf(wire.CodeInvalidPosition, "before", "%q is not a position of space %q", req.GetBefore(), space)
		}
		before = p.Sequence
	}
	leave, err := v.enter(ctx, req.GetAtLeast(), req.GetDeadlineMs())
	if err != nil {
		return nil, err
	}
	defer leave()
	limit := event.DefaultList
	if req.Limit != nil {
		limit = int(req.GetLimit())
	}
	m, staleness := v.s.mark.read(), v.stalenessMS()
	rows, more, serr := v.s.store.Load().List(space, before, limit, time.Now())
	if serr != nil {
		return nil, storeError(serr)
	}
	include, _ := wire.ParseInclude(req.GetInclude())
	hits, err := v.hits(rows, include)
	if err != nil {
		return nil, err
	}
	return wire.EncodeList(f, &api.ListResponse{Observations: hits, More: more, Applied: v.position(m.applied), StalenessMs: staleness})
}

func (v *service) spaces(_ context.Context, f wire.Format, _ string, body []byte) ([]byte, *wire.Error) {
	req, err := wire.DecodeSpaces(f, body)
	if err != nil {
		return nil, err
	}
	store := v.s.store.Load()
	m, staleness := v.s.mark.read(), v.stalenessMS()
	var all []vecstore.SpaceStats
	if req.GetSpace() == "" {
		all = store.AllStats()
	} else if st, ok := store.Stats(req.GetSpace()); ok {
		all = []vecstore.SpaceStats{st}
	}
	resp := &api.SpacesResponse{}
	for i := range all {
		resp.Spaces = append(resp.Spaces, &api.SpaceInfo{
			Definition: definitionMessage(&all[i].Definition), Shard: uint32(v.s.number), Observations: all[i].Observations,
			RowsInTail: all[i].Tail, RowsInGraph: all[i].Graph, RowsDead: all[i].Dead, Applied: v.position(m.applied), StalenessMs: staleness,
		})
	}
	return wire.EncodeSpaces(f, resp, false)
}

func (v *service) await(ctx context.Context, _ wire.Format, _ string, body []byte) ([]byte, *wire.Error) {
	req := new(api.AwaitRequest)
	if proto.Unmarshal(body, req) != nil {
		return nil, wire.Errorf(wire.CodeMalformed, "", "the body is not the protobuf of an AwaitRequest")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(req.GetDeadlineMs())*time.Millisecond)
	defer cancel()
	if err := v.reach(ctx, req.GetSequence()); err != nil {
		return nil, err
	}
	b, err := proto.Marshal(&api.AwaitResponse{Applied: v.s.mark.read().applied})
	if err != nil {
		return nil, wire.Errorf(wire.CodeInternal, "", "encoding the answer: %v", err)
	}
	return b, nil
}
