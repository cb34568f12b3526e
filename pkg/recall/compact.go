package recall

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// gatherTime is how long the copies of a shard have to say that they are there.
const gatherTime = 500 * time.Millisecond

// Compact has every copy of a space's shard reclaim what nobody can read any more, and returns what each says. It is an
// error where none of them could.
func (r *Router) Compact(ctx context.Context, space string, req *api.CompactRequest) (*api.CompactResponse, *wire.Error) {
	if _, err := r.entry(ctx, space); err != nil {
		return nil, err
	}
	if req.GetSpace() != "" && req.GetSpace() != space {
		return nil, wire.Errorf(wire.CodeInvalidSpace, "space", "the body says space %q, the request space %q", req.GetSpace(), space)
	}
	shard := event.ShardOf(space, r.Topology.Shards)
	ctx, cancel := context.WithTimeout(ctx, wire.CompactLimit(req))
	defer cancel()
	workers, err := r.copies(ctx, shard)
	if err == nil && len(workers) == 0 {
		return nil, wire.Errorf(wire.CodeUnavailable, "", "no worker holds shard %d at this moment; send the request again", shard)
	}
	resp := new(api.CompactResponse)
	if err == nil {
		resp.Copies, err = r.compactAll(ctx, space, shard, workers, req)
	}
	if err != nil {
		return nil, wire.Errorf(wire.CodeUnavailable, "", "the copies of shard %d could not be asked: %v; send the request again", shard, err)
	}
	if i := slices.IndexFunc(resp.Copies, func(c *api.CompactedCopy) bool { return c.GetError() == nil }); i < 0 {
		return nil, wire.FromProto(resp.Copies[0].GetError())
	}
	return resp, nil
}

// copies returns the workers that hold a shard: those that answer to the name of its service in time.
func (r *Router) copies(ctx context.Context, shard int) (workers []string, err error) {
	subject, err := micro.ControlSubject(micro.PingVerb, "engram-shard-"+strconv.Itoa(shard), "")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, gatherTime)
	defer cancel()
	err = r.gather(ctx, &nats.Msg{Subject: subject}, func(m *nats.Msg) bool {
		var pong micro.Ping
		if json.Unmarshal(m.Data, &pong) == nil {
			workers = append(workers, pong.Metadata["worker"])
		}
		return true
	})
	return workers, err
}

// compactAll asks all copies and waits for the answers of those that were there, until ctx ends.
func (r *Router) compactAll(ctx context.Context, space string, shard int, workers []string, req *api.CompactRequest) ([]*api.CompactedCopy, error) {
	// The copies give up a little earlier, so that their word on it is heard.
	limit := wire.CompactLimit(req)
	limit -= min(limit/10, time.Second)
	body, err := proto.Marshal(&api.CompactRequest{
		Space: space, DeadlineMs: uint32(max(limit.Milliseconds(), 1)), Erase: req.GetErase(), AtLeast: req.GetAtLeast(),
	})
	if err != nil {
		return nil, err
	}
	q := routed{space: space, shard: shard, verb: bus.VerbCompact, body: body, f: wire.Protobuf}
	var done []*api.CompactedCopy
	err = r.gather(ctx, q.message(""), func(m *nats.Msg) bool {
		resp := new(api.CompactResponse)
		if m.Header.Get(micro.ErrorCodeHeader) != "" {
			resp.Copies = []*api.CompactedCopy{{Error: wire.DecodeError(wire.Protobuf, m.Data).Proto()}}
		} else if err := proto.Unmarshal(m.Data, resp); err != nil {
			resp.Copies = []*api.CompactedCopy{{Error: wire.Errorf(wire.CodeInternal, "", "the answer of a worker is not a CompactResponse").Proto()}}
		}
		done = append(done, resp.GetCopies()...)
		return len(done) < len(workers)
	})
	for _, w := range workers {
		if len(done) < len(workers) && !slices.ContainsFunc(done, func(c *api.CompactedCopy) bool { return c.GetWorker() == w }) {
			done = append(done, &api.CompactedCopy{Worker: w, Error: silent(ctx, w).Proto()})
		}
	}
	slices.SortFunc(done, func(a, b *api.CompactedCopy) int { return cmp.Compare(a.GetWorker(), b.GetWorker()) })
	return done, err
}

// silent says why nothing was heard of a worker when ctx ended.
func silent(ctx context.Context, worker string) *wire.Error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return wire.Errorf(wire.CodeUnavailable, "", "this recall API stops, or the client is gone, and worker %s has not said that it is done; "+
			"it goes on unless it stops, too", worker)
	}
	return wire.Errorf(wire.CodeDeadline, "", "worker %s did not answer before the deadline", worker)
}

// gather sends a request that several answer, and hands their answers over until that returns false or ctx ends.
func (r *Router) gather(ctx context.Context, request *nats.Msg, each func(*nats.Msg) bool) (err error) {
	request.Reply = r.Conn.NewInbox()
	sub, err := r.Conn.SubscribeSync(request.Reply)
	if err != nil {
		return err
	}
	defer func() {
		if uerr := sub.Unsubscribe(); uerr != nil && !errors.Is(uerr, nats.ErrConnectionClosed) {
			err = errors.Join(err, fmt.Errorf("ending a subscription: %w", uerr))
		}
	}()
	if err := r.Conn.PublishMsg(request); err != nil {
		return err
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case errors.Is(err, nats.ErrNoResponders), ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case !each(m):
			return nil
		}
	}
}

// compactBody answers a request as its body has it.
func (r *Router) compactBody(ctx context.Context, space string, f wire.Format, body []byte) ([]byte, *wire.Error) {
	req, err := wire.DecodeCompact(f, body)
	if err == nil {
		err = auth.Require(ctx, auth.Admin, req.GetSpace())
	}
	if err != nil {
		return nil, err
	}
	resp, err := r.Compact(ctx, space, req)
	if err != nil {
		return nil, err
	}
	return wire.EncodeCompact(f, resp)
}
