package gateway

import (
	"context"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/wire"
)

// The ways into Observe, beside Observe itself, that suit one transport or another. All of them check, admit and answer
// alike.

// ObserveWait is Observe for a goroutine that can wait. It gives up when ctx ends. The caller has counted the request against
// Bodies until it returns.
func (g *Gateway) ObserveWait(ctx context.Context, space string, in *api.ObserveRequest) (*api.ObserveResponse, *wire.Error) {
	return g.observeLines(ctx, space, in, nil)
}

// observeLines is ObserveWait for lines of NDJSON with these numbers.
func (g *Gateway) observeLines(ctx context.Context, space string, in *api.ObserveRequest, lines []int) (*api.ObserveResponse, *wire.Error) {
	type answer struct {
		resp    *api.ObserveResponse
		refused *wire.Error
	}
	answered := make(chan answer, 1)
	// The batch before this one may be stuck until its own deadline; this request still answers by its own.
	deadline := g.deadline(time.Now(), in.GetDeadlineMs())
	overdue := time.NewTimer(time.Until(deadline) + 100*time.Millisecond)
	defer overdue.Stop()
	g.start(&observing{
		g: g, space: space, req: in, deadline: deadline, lines: lines, counted: true,
		done: func(resp *api.ObserveResponse, refused *wire.Error) { answered <- answer{resp, refused} },
	})
	select {
	case a := <-answered:
		return a.resp, a.refused
	case <-overdue.C:
		return nil, logError(bus.ErrUnknownOutcome)
	case <-ctx.Done():
		return nil, wire.Errorf(wire.CodeDeadline, "", "the client went away before the outcome was known")
	}
}

// ObserveInOrder is Observe for the requests of a stream: they reach the log of their shard in the order of the calls,
// which one goroutine makes. What has to wait for a definition or an embedder does so in the call, until ctx ends.
// dropped is asked when the request would be sent to the log; it is not sent where the answer is true, and done gets
// CodeUnavailable. Both are called on any goroutine, and must not block. The caller has counted the request against Bodies
// until the call returns.
func (g *Gateway) ObserveInOrder(ctx context.Context, space string, req *api.ObserveRequest, dropped func() bool, done func(*api.ObserveResponse, *wire.Error)) {
	r := &observing{g: g, space: space, req: req, done: done, dropped: dropped, counted: true, deadline: g.deadline(time.Now(), req.GetDeadlineMs())}
	if r.begin() {
		return
	}
	if err := g.enterSlow(); err != nil {
		r.refuse(err)
		return
	}
	defer g.leaveSlow()
	r.slowly(ctx)
}

// AwaitSearchable returns once recall finds everything of a shard up to a sequence, or says why that is not known. Of the
// sequences from first on, it returns the reasons of those that went to the quarantine instead. deadlineMS is a wish
// within the gateway's limit, 0 for none.
func (g *Gateway) AwaitSearchable(shard int, first, last uint64, deadlineMS uint32) (map[uint64]*api.Error, *wire.Error) {
	return g.await(shard, first, last, g.deadline(time.Now(), deadlineMS))
}
