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

// awaitHedge is after how long another copy is asked, too: one that lives answers when it has what it waits for.
const awaitHedge = 2 * time.Second

// await returns once everything from one sequence to another is searchable in a copy of the shard, or says why that is not
// known. It returns the reasons of those that went to the quarantine instead.
func (g *Gateway) await(shard int, first, last uint64, deadline time.Time) (map[uint64]*api.Error, *wire.Error) {
	late := func() (map[uint64]*api.Error, *wire.Error) {
		return nil, wire.Errorf(wire.CodeDeadline, "", "the write is durable at sequence %d of shard %d, but was not searchable before the deadline", last, shard)
	}
	ctx, cancel := context.WithDeadline(g.ctx, deadline)
	defer cancel()
	for {
		body, err := proto.Marshal(&api.AwaitRequest{
			First: first, Sequence: last, StreamCreatedAt: g.shards[shard].stream(),
			DeadlineMs: uint32(max(time.Until(deadline).Milliseconds(), 1)),
		})
		if err != nil {
			return nil, wire.Errorf(wire.CodeInternal, "", "encoding a request: %v", err)
		}
		m, err := bus.Ask(ctx, g.Conn, &nats.Msg{Subject: bus.ShardSubject(shard, bus.VerbAwait), Data: body}, bus.Asking{Hedge: awaitHedge})
		switch {
		case err == nil && m.Header.Get(micro.ErrorCodeHeader) == "":
			resp := new(api.AwaitResponse)
			if err := proto.Unmarshal(m.Data, resp); err == nil && (resp.GetDone() || resp.GetApplied() >= last) {
				return refusedOf(resp), nil
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

// awaitCopies returns once every copy of the shard that speaks has applied a sequence that await has found applied in one of
// them, or says which has not: each of them answers recalls. A copy that falls silent is not waited for any longer than it
// counts as living.
func (g *Gateway) awaitCopies(shard int, sequence uint64, deadline time.Time) *wire.Error {
	ctx, cancel := context.WithDeadline(g.ctx, deadline)
	defer cancel()
	look := time.NewTicker(silence / 4)
	defer look.Stop()
	for {
		behind, living, moved := g.shards[shard].behindCopies(sequence, time.Now())
		if len(behind) == 0 || living == 1 { // the only one has just said so to await, before its next heartbeat
			return nil
		}
		select {
		case <-moved:
		case <-look.C:
		case <-ctx.Done():
			return wire.Errorf(wire.CodeDeadline, "", "the forget is durable at sequence %d of shard %d, but of its %d copies %q had not applied it before the deadline, and may still return what was forgotten",
				sequence, shard, living, behind)
		}
	}
}

func refusedOf(resp *api.AwaitResponse) map[uint64]*api.Error {
	if len(resp.GetQuarantined()) == 0 {
		return nil
	}
	refused := map[uint64]*api.Error{}
	for _, q := range resp.GetQuarantined() {
		e := wire.FromProto(q.GetReason())
		e.Message = "the observation is durable, but could not be applied, and stands in the quarantine: " + e.Message
		refused[q.GetSequence()] = e.Proto()
	}
	return refused
}
