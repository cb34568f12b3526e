package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/wire"
)

// await returns once a worker of the shard has applied a sequence, or says why that is not known.
func (g *Gateway) await(shard int, sequence uint64, deadline time.Time) *wire.Error {
	late := func() *wire.Error {
		return wire.Errorf(wire.CodeDeadline, "", "the write is durable at sequence %d of shard %d, but was not searchable before the deadline", sequence, shard)
	}
	ctx, cancel := context.WithDeadline(g.ctx, deadline)
	defer cancel()
	for {
		body, err := proto.Marshal(&api.AwaitRequest{Sequence: sequence, DeadlineMs: uint32(max(time.Until(deadline).Milliseconds(), 1))})
		if err != nil {
			return wire.Errorf(wire.CodeInternal, "", "encoding a request: %v", err)
		}
		m, err := g.Conn.RequestWithContext(ctx, bus.ShardSubject(shard, bus.VerbAwait), body)
		switch {
		case err == nil && m.Header.Get(micro.ErrorCodeHeader) == "":
			resp := new(api.AwaitResponse)
			if err := proto.Unmarshal(m.Data, resp); err == nil && resp.GetApplied() >= sequence {
				return nil
			}
		case err == nil && wire.DecodeError(wire.Protobuf, m.Data).Code == wire.CodeDeadline:
			return late()
		case errors.Is(err, nats.ErrNoResponders):
			// No worker holds the shard at this moment; one may come back within the deadline.
		}
		select {
		case <-ctx.Done():
			return late()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
