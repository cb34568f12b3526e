package worker

import (
	"cmp"
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/wire"
)

// searchLimit is for how long a recall is computed at least, as long as the recall API waits for it over HTTP.
const searchLimit = 10 * time.Second

// awaited tells whether a space that is unknown here is one that was just defined: the recall API names a space in the
// header only if it knows it. Such a space has nothing searchable yet, and the answer says so rather than that there is
// no such space.
func awaited(header string, err error) bool {
	return header != "" && errors.Is(err, vecstore.ErrUnknownSpace)
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
	start := time.Now()
	req, err := wire.DecodeGet(f, body)
	if err != nil {
		return nil, err
	}
	space, err := v.spaceOf(header, req.GetSpace())
	if err != nil {
		return nil, err
	}
	asOf, leave, err := v.enter(ctx, space, req)
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
	return wire.EncodeGet(f, &api.GetResponse{
		Observations: hits, Applied: v.position(m.applied), StalenessMs: staleness, Searched: uint64(len(req.GetIds())), Exact: true,
		TookUs: uint64(time.Since(start).Microseconds()),
	})
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
