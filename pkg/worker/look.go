package worker

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/snapshot"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/wire"
)

// look searches the files of this copy for what was forgotten. Every copy hears it, and answers for itself.
func (v *service) look(ctx context.Context, _ wire.Format, header string, body []byte) ([]byte, *wire.Error) {
	req := new(api.LookRequest)
	if proto.Unmarshal(body, req) != nil {
		return nil, wire.Errorf(wire.CodeMalformed, "", "the body is not the protobuf of a LookRequest")
	}
	space, err := v.spaceOf(header, req.GetSpace())
	if err != nil {
		return nil, err
	}
	if ms := req.GetDeadlineMs(); ms > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		defer cancel()
	}
	found, serr := v.s.store.Load().Look(ctx, space, vecstore.Forgotten{
		IDs: req.GetIds(), All: req.GetAll(), Sequence: req.GetSequence(), Traces: req.GetTraces(),
	})
	resp := new(api.LookResponse)
	for _, f := range found {
		resp.Looked = append(resp.Looked, &api.Looked{
			Place: f.Place, Holder: v.s.w.Config.Name, Items: f.Items, Bytes: uint64(f.Bytes), Found: f.Found, Note: f.Note,
		})
	}
	if serr != nil {
		resp.Looked = append(resp.Looked, &api.Looked{Place: "store", Holder: v.s.w.Config.Name, Error: v.refusal(serr).Proto()})
	}
	if l := v.lookInSnapshots(ctx, space, req); l != nil {
		resp.Looked = append(resp.Looked, l)
	}
	b, merr := proto.Marshal(resp)
	if merr != nil {
		return nil, wire.Errorf(wire.CodeInternal, "", "encoding the answer: %v", merr)
	}
	return b, nil
}

// lookInSnapshots looks for the same in the snapshots of the worker's store; nil where there is none. Into the object store of
// JetStream looks who asks.
func (v *service) lookInSnapshots(ctx context.Context, space string, req *api.LookRequest) *api.Looked {
	w := v.s.w
	if w.snapshots == nil || w.Config.Snapshot.Store == snapshot.PlaceBucket {
		return nil
	}
	seen, err := snapshot.Look(ctx, w.snapshots.store, snapshot.Sought{
		Epoch: w.Topology.Epoch, Shard: uint32(v.s.number), CreatedAt: v.s.store.Load().Source().CreatedAt,
		Space: space, IDs: req.GetIds(), All: req.GetAll(), Sequence: req.GetSequence(),
	}, w.snapshots.pace)
	return seen.Looked(w.Config.Name, err)
}
