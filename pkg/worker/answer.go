package worker

import (
	"cmp"
	"context"
	"errors"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/wire"
)

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
	asOf, leave, err := v.enter(ctx, req)
	if err != nil {
		return nil, err
	}
	defer leave()
	q, err := v.query(space, req)
	if err != nil {
		return nil, err
	}
	q.AsOf = asOf
	include, _ := wire.ParseInclude(req.GetInclude())
	q.OmitVectors = !include.Embedding
	ctx, cancel := context.WithTimeout(ctx, max(searchLimit, time.Duration(req.GetDeadlineMs())*time.Millisecond))
	defer cancel()
	q.Context = ctx
	store, m, staleness := v.view()
	res, serr := v.s.w.search(store, space, q)
	switch {
	case errors.Is(serr, context.Canceled):
		return nil, v.stopping()
	case errors.Is(serr, context.DeadlineExceeded):
		return nil, wire.Errorf(wire.CodeDeadline, "", "the search took longer than anybody waits for it")
	}
	if serr != nil && !awaited(header, serr) {
		return nil, v.unread(space, req, serr)
	}
	if serr == nil {
		v.s.w.auditor.offer(store, space, q, m.applied, res.Rows)
	}
	hits, err := v.hits(res.Rows, include)
	if err != nil {
		return nil, err
	}
	return wire.EncodeRecall(f, &api.RecallResponse{
		Hits: hits, Applied: v.position(m.applied), StalenessMs: staleness, Searched: uint64(res.Searched), Exact: res.Exact,
		TookUs: uint64(time.Since(start).Microseconds()),
	})
}

// searchLimit is for how long a recall is computed at least, as long as the recall API waits for it over HTTP.
const searchLimit = 10 * time.Second

// awaited tells whether a space that is unknown here is one that was just defined: the recall API names a space in the
// header only if it knows it. Such a space has nothing searchable yet, and the answer says so rather than that there is
// no such space.
func awaited(header string, err error) bool {
	return header != "" && errors.Is(err, vecstore.ErrUnknownSpace)
}

func (v *service) query(space string, req *api.RecallRequest) (vecstore.Query, *wire.Error) {
	q := vecstore.Query{
		ID: req.GetId(), K: event.DefaultK, MinScore: float32(math.Inf(-1)), Ef: int(req.GetEf()), Now: time.Now(),
	}
	switch req.GetRecall() {
	case api.RecallTarget_RECALL_TARGET_FAST:
		q.Effort = vecstore.EffortFast
	case api.RecallTarget_RECALL_TARGET_EXACT:
		q.Effort = vecstore.EffortExact
	default:
		q.Effort = vecstore.EffortBalanced
	}
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
	packed, err := wire.EmbeddingF32(req.GetEmbedding(), ok && def.Metric == vecstore.Cosine)
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
	asOf, leave, err := v.enter(ctx, req)
	if err != nil {
		return nil, err
	}
	defer leave()
	store, m, staleness := v.view()
	rows, serr := store.Get(space, req.GetIds(), vecstore.At{Now: time.Now(), AsOf: asOf})
	if serr != nil && !awaited(header, serr) {
		return nil, v.unread(space, req, serr)
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
		if before, err = v.sequence("before", req.GetBefore()); err != nil {
			return nil, err
		}
		before = max(before, 1) // 0 would be any
	}
	asOf, leave, err := v.enter(ctx, req)
	if err != nil {
		return nil, err
	}
	defer leave()
	limit := event.DefaultList
	if req.Limit != nil {
		limit = int(req.GetLimit())
	}
	store, m, staleness := v.view()
	rows, more, serr := store.List(space, before, limit, vecstore.At{Now: time.Now(), AsOf: asOf})
	if serr != nil && !awaited(header, serr) {
		return nil, v.unread(space, req, serr)
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
	store, m, staleness := v.view()
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
	first := min(cmp.Or(req.GetFirst(), req.GetSequence()), req.GetSequence())
	if err := v.s.mark.awaitAll(ctx, first, req.GetSequence()); err != nil {
		return nil, v.late("sequence")
	}
	if created := req.GetStreamCreatedAt(); created != 0 && created != v.s.store.Load().Source().CreatedAt {
		return nil, wire.Errorf(wire.CodeUnavailable, "", "this copy of shard %d is not yet a view of the stream that is there now", v.s.number)
	}
	b, err := proto.Marshal(&api.AwaitResponse{
		Applied: v.s.mark.read().applied, Done: true, Quarantined: v.s.refused.between(first, req.GetSequence()),
	})
	if err != nil {
		return nil, wire.Errorf(wire.CodeInternal, "", "encoding the answer: %v", err)
	}
	return b, nil
}
