package recall

import (
	"context"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/wire"
)

// The requests as messages, for transports that have decoded them. They are checked and routed as those of NATS and HTTP.

// Recall returns the nearest observations of a space.
func (r *Router) Recall(ctx context.Context, space string, req *api.RecallRequest) (*api.RecallResponse, *wire.Error) {
	resp := new(api.RecallResponse)
	return resp, r.typed(ctx, bus.VerbRecall, space, req, resp)
}

// Get returns the observations of these ids that are there.
func (r *Router) Get(ctx context.Context, space string, req *api.GetRequest) (*api.GetResponse, *wire.Error) {
	resp := new(api.GetResponse)
	return resp, r.typed(ctx, bus.VerbGet, space, req, resp)
}

// List returns observations, newest first.
func (r *Router) List(ctx context.Context, space string, req *api.ListRequest) (*api.ListResponse, *wire.Error) {
	resp := new(api.ListResponse)
	return resp, r.typed(ctx, bus.VerbList, space, req, resp)
}

func (r *Router) typed(ctx context.Context, verb, space string, req, resp proto.Message) *wire.Error {
	body, err := proto.Marshal(req)
	if err != nil {
		return wire.Errorf(wire.CodeMalformed, "", "the request is not UTF-8 throughout")
	}
	answer, failed := r.call(ctx, verb, space, wire.Protobuf, body)
	if failed != nil {
		return failed
	}
	if err := proto.Unmarshal(answer, resp); err != nil {
		return wire.Errorf(wire.CodeInternal, "", "the shard's answer is not protobuf: %v", err)
	}
	return nil
}
