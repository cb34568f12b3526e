package worker

import (
	"context"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

// compact reclaims what nobody can read any more of a space in this copy. The answer names the worker also where it says
// why that failed, since it is one of several.
func (v *service) compact(ctx context.Context, f wire.Format, header string, body []byte) ([]byte, *wire.Error) {
	req, err := wire.DecodeCompact(f, body)
	if err != nil {
		return nil, err
	}
	space, err := v.spaceOf(header, req.GetSpace())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, wire.CompactLimit(req))
	defer cancel()
	start := time.Now()
	if req.GetAtLeast() != "" {
		sequence, err := v.sequence("at_least", req.GetAtLeast())
		if err == nil {
			err = v.reach(ctx, "at_least", sequence)
		}
		if err != nil {
			return wire.EncodeCompact(f, &api.CompactResponse{Copies: []*api.CompactedCopy{{Worker: v.s.w.Config.Name, Error: err.Proto()}}})
		}
	}
	store, m, _ := v.view()
	store.Applied(m.applied)
	compact := store.Compact
	if req.GetErase() {
		compact = store.Erase
	}
	c, serr := compact(ctx, space)
	done := &api.CompactedCopy{
		Worker: v.s.w.Config.Name, RowsBefore: c.Before, RowsAfter: c.After, RowsReclaimed: c.Reclaimed,
		LogBytesBefore: uint64(c.BytesBefore), LogBytesAfter: uint64(c.BytesAfter), TookMs: float64(time.Since(start)) / 1e6,
	}
	switch {
	case serr == nil || awaited(header, serr):
		v.s.log.Info().Str("space", space).Uint64("rows_before", c.Before).Uint64("rows_after", c.After).
			Int64("bytes_before", c.BytesBefore).Int64("bytes_after", c.BytesAfter).Dur("took", time.Since(start)).Msg("a space was compacted")
	case v.ctx.Err() != nil:
		done.Error = v.stopping().Proto()
	default:
		done.Error = v.refusal(serr).Proto()
	}
	return wire.EncodeCompact(f, &api.CompactResponse{Copies: []*api.CompactedCopy{done}})
}
