package worker

import (
	"cmp"
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/snapshot"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/wire"
)

// snapshotLimit is how long a snapshot may take where the request does not say.
const snapshotLimit = 10 * time.Minute

// snapshot takes a snapshot of the shard for somebody who asks. One copy answers.
func (v *service) snapshot(ctx context.Context, _ wire.Format, _ string, body []byte) ([]byte, *wire.Error) {
	req := new(api.SnapshotRequest)
	if proto.Unmarshal(body, req) != nil {
		return nil, wire.Errorf(wire.CodeMalformed, "", "the body is not the protobuf of a SnapshotRequest")
	}
	w := v.s.w
	if w.snapshots == nil {
		return nil, wire.Errorf(wire.CodeUnsupported, "", "worker %s has no store of snapshots; set its snapshot.store", w.Config.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(time.Duration(req.GetDeadlineMs())*time.Millisecond, snapshotLimit))
	defer cancel()
	start := time.Now()
	taken, err := v.s.snapshot(ctx, cmp.Or(int(req.GetKeep()), w.Config.Snapshot.Keep))
	resp := &api.SnapshotResponse{Worker: w.Config.Name, Store: w.snapshots.store.String(), TookMs: float64(time.Since(start)) / 1e6}
	switch {
	case errors.Is(err, vecstore.ErrNothing):
	case v.ctx.Err() != nil:
		return nil, v.stopping()
	case errors.Is(err, snapshot.ErrBusy):
		return nil, wire.Errorf(wire.CodeConflict, "", "%v", err)
	case errors.Is(err, errReplaced):
		return nil, wire.Errorf(wire.CodeUnavailable, "", "%v; ask again", err)
	case err != nil:
		v.s.log.Error().Err(err).Msg("no snapshot could be taken")
		return nil, v.refusal(err)
	default:
		resp.Snapshot, resp.Position, resp.Unchanged = taken.ID().String(), taken.Position, taken.Unchanged
		resp.Records, resp.Bytes = uint64(taken.Records), uint64(taken.Manifest.Bytes)
		resp.StoredChunks, resp.StoredBytes = uint64(taken.Chunks), uint64(taken.Bytes)
		for _, id := range taken.Removed {
			resp.Removed = append(resp.Removed, id.String())
		}
	}
	b, merr := proto.Marshal(resp)
	if merr != nil {
		return nil, wire.Errorf(wire.CodeInternal, "", "encoding the answer: %v", merr)
	}
	return b, nil
}
