package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nuid"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/filter"
	"github.com/engram-memory/engram/pkg/registry"
	"github.com/engram-memory/engram/pkg/wire"
)

// Forget writes the event that removes observations, or a whole space, to its log. It blocks until it is durable there,
// or applied in every copy where the request asks for searchable. Ids that are not there are no error.
func (g *Gateway) Forget(ctx context.Context, space string, req *api.ForgetRequest) (*api.ForgetResponse, *wire.Error) {
	if err := checkForget(space, req); err != nil {
		return nil, err
	}
	if req.GetFilter() != "" {
		_, err := g.filters.Compile(req.GetFilter())
		var wrong *filter.Error
		if errors.As(err, &wrong) {
			return nil, wrong.Wire()
		}
	}
	deadline := g.deadline(time.Now(), req.GetDeadlineMs())
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	entry, err := g.Registry.Lookup(ctx, space)
	if err != nil {
		return nil, unavailable(err)
	}
	// A drop that did not reach the log is completed by its retry.
	halfDropped := entry != nil && entry.GetDropped() && !entry.GetDropLogged()
	if !entry.Living() && !(req.GetAll() && halfDropped) {
		return nil, wire.UnknownSpace(space)
	}
	key := req.GetIdempotencyKey()
	if key == "" {
		key = nuid.Next()
	}
	// Other than the write ids of observations, which are `<space>/…`: a key used for both must not make one of them a
	// duplicate of the other.
	writeID := space + "#forget/" + key
	var ev *api.LogEvent
	if req.GetAll() {
		ev = &api.LogEvent{Event: &api.LogEvent_Drop{Drop: &api.DropEvent{Space: space, Generation: entry.GetGeneration()}}}
		writeID = space + "#drop/" + strconv.FormatUint(uint64(entry.GetGeneration()), 10)
		if !halfDropped {
			var refused *wire.Error
			if entry, refused = g.markDropped(ctx, entry); refused != nil {
				return nil, refused
			}
		}
	} else if req.GetFilter() != "" {
		ev = &api.LogEvent{Event: &api.LogEvent_ForgetMatching{ForgetMatching: &api.ForgetMatchingEvent{Space: space, Filter: req.GetFilter()}}}
	} else {
		ev = &api.LogEvent{Event: &api.LogEvent_Forget{Forget: &api.ForgetEvent{Space: space, Ids: req.GetIds()}}}
	}
	out, refused := g.append(ctx, space, writeID, ev, deadline)
	if refused != nil {
		return nil, refused
	}
	if req.GetAll() {
		// Where this fails, or a new generation has begun already, nothing is lost: the event is in the log.
		_, _ = g.Registry.Update(ctx, entry, func(d *api.SpaceDefinition) { d.DropLogged = true })
	}
	shard := event.ShardOf(space, g.Topology.Shards)
	resp := &api.ForgetResponse{Position: event.Position{Epoch: g.Topology.Epoch, Shard: shard, Sequence: out.Sequence}.String()}
	if req.GetAcknowledgement() == api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE {
		refused, err := g.await(shard, out.Sequence, out.Sequence, deadline)
		if err == nil || err.Code == wire.CodeDeadline { // of whichever copy was asked
			err = cmp.Or(g.awaitCopies(shard, out.Sequence, deadline), err)
		}
		if err != nil {
			return nil, err
		}
		if e := refused[out.Sequence]; e != nil {
			return nil, wire.FromProto(e)
		}
		resp.Searchable = true
	}
	return resp, nil
}

func checkForget(space string, req *api.ForgetRequest) *wire.Error {
	if err := wire.CheckSpace(space); err != nil {
		return err
	}
	if req.GetSpace() != "" && req.GetSpace() != space {
		return wire.Errorf(wire.CodeInvalidSpace, "space", "the body says space %q, the request space %q", req.GetSpace(), space)
	}
	n, ways := len(req.GetIds()), 0
	for _, is := range []bool{n > 0, req.GetAll(), req.GetFilter() != ""} {
		if is {
			ways++
		}
	}
	switch {
	case ways != 1:
		return wire.Errorf(wire.CodeInvalidArgument, "ids", "a forget has either ids, or a filter, or all")
	case n > event.MaxList:
		return wire.Errorf(wire.CodeTooLarge, "ids", "ids has %d entries; it can have up to %d", n, event.MaxList)
	}
	if err := wire.CheckIdempotencyKey(req.GetIdempotencyKey()); err != nil {
		return err
	}
	for i, id := range req.GetIds() {
		if err := wire.CheckID(id, fmt.Sprintf("ids[%d]", i)); err != nil {
			return err
		}
	}
	return wire.CheckAck(req.GetAcknowledgement())
}

// markDropped takes the name out of use before the log ends its generation, so that what is observed from now on
// begins a new one.
func (g *Gateway) markDropped(ctx context.Context, entry *registry.Entry) (*registry.Entry, *wire.Error) {
	marked, err := g.Registry.Update(ctx, entry, func(d *api.SpaceDefinition) { d.Dropped = true })
	if errors.Is(err, registry.ErrChanged) {
		return nil, wire.Errorf(wire.CodeConflict, "space", "space %q was changed by somebody else at the same moment; look at it, and send the request again", entry.GetName())
	}
	if err != nil {
		return nil, unavailable(err)
	}
	return marked, nil
}

// append writes one event under a write id to the shard's log, behind what was taken of the space before it, and waits.
func (g *Gateway) append(ctx context.Context, space, writeID string, ev *api.LogEvent, deadline time.Time) (bus.Outcome, *wire.Error) {
	b, err := proto.Marshal(ev)
	if err != nil {
		return bus.Outcome{}, wire.Errorf(wire.CodeMalformed, "ids", "the request is not UTF-8 throughout")
	}
	shard := event.ShardOf(space, g.Topology.Shards)
	result := make(chan bus.Outcome, 1)
	gr := &group{
		entries:  []bus.Entry{{Subject: bus.LogSubject(shard, space), ID: writeID, Data: b}},
		space:    space,
		load:     load{n: 1, bytes: len(b)},
		bytes:    len(b),
		deadline: deadline,
		done:     func(out []bus.Outcome) { result <- out[0] },
	}
	if err := g.writers[shard].settled(ctx, space, deadline); err != nil {
		return bus.Outcome{}, wire.Errorf(wire.CodeUnavailable, "", "what the gateway had taken of the space before was not written in time, so this was not written either: %v; send the request again", err)
	}
	// Forgets relieve; they are never refused for lag, only counted.
	g.shards[shard].take(1, len(b))
	if !g.writers[shard].submit(gr) {
		g.shards[shard].release(gr.load)
		return bus.Outcome{}, wire.Errorf(wire.CodeUnavailable, "", "this gateway is stopping; send the request again")
	}
	select {
	case out := <-result:
		if out.Err != nil {
			return out, logError(out.Err)
		}
		return out, nil
	case <-ctx.Done():
		return bus.Outcome{}, logError(fmt.Errorf("%w: %w", bus.ErrUnknownOutcome, ctx.Err()))
	}
}
