package rpc

import (
	"context"
	"net/http"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/api/engram/v1/engramv1connect"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/wire"
)

// Reads is what answers about observations: a router of recalls.
type Reads interface {
	Recall(ctx context.Context, space string, req *api.RecallRequest) (*api.RecallResponse, *wire.Error)
	// RecallMany answers from the spaces that a request names, or its prefix does: from no earlier state than those answers.
	RecallMany(ctx context.Context, req *api.RecallRequest, earlier ...*api.SpaceAnswer) (*api.RecallResponse, *wire.Error)
	Get(ctx context.Context, space string, req *api.GetRequest) (*api.GetResponse, *wire.Error)
	List(ctx context.Context, space string, req *api.ListRequest) (*api.ListResponse, *wire.Error)
	Spaces(ctx context.Context, only string) (*api.SpacesResponse, *wire.Error)
	Compact(ctx context.Context, space string, req *api.CompactRequest) (*api.CompactResponse, *wire.Error)
}

// MountRecall serves RecallService. latency observes the seconds of each recall, if it is not nil.
func MountRecall(mux *http.ServeMux, reads Reads, latency prometheus.Observer) {
	path, handler := engramv1connect.NewRecallServiceHandler(&recallService{reads, latency}, options()...)
	mux.Handle(path, handler)
}

type recallService struct {
	reads   Reads
	latency prometheus.Observer
}

// recall answers from one space, or from several where the request names them. earlier has what each of several said before.
func (s *recallService) recall(ctx context.Context, req *api.RecallRequest, earlier []*api.SpaceAnswer) (resp *api.RecallResponse, err *wire.Error) {
	if denied := auth.RequireRecall(ctx, "", req); denied != nil {
		return nil, denied
	}
	start := time.Now()
	if wire.SeveralSpaces(req) {
		resp, err = s.reads.RecallMany(ctx, req, earlier...)
	} else {
		resp, err = s.reads.Recall(ctx, req.GetSpace(), req)
	}
	if s.latency != nil {
		s.latency.Observe(time.Since(start).Seconds())
	}
	return resp, err
}

func (s *recallService) Recall(ctx context.Context, req *connect.Request[api.RecallRequest]) (*connect.Response[api.RecallResponse], error) {
	return answer(s.recall(ctx, req.Msg, nil))
}

// RecallStream sends pages, or refinements: first what a look at fewer rows finds, then what was asked for. Where the
// first answer is exact already there is nothing to refine.
func (s *recallService) RecallStream(ctx context.Context, req *connect.Request[api.RecallStreamRequest], stream *connect.ServerStream[api.RecallStreamResponse]) error {
	in := req.Msg.GetRequest()
	if in == nil {
		in = &api.RecallRequest{}
	}
	size := int(req.Msg.GetPageSize())
	asked := in.GetRecall()
	if asked == api.RecallTarget_RECALL_TARGET_UNSPECIFIED {
		asked = api.RecallTarget_RECALL_TARGET_BALANCED
	}
	first := api.RecallTarget_RECALL_TARGET_FAST
	// A cursor is one of a request with its target, so that pages cannot be refined.
	pages := in.GetPaged() || in.GetCursor() != ""
	if size > 0 || pages || in.Ef != nil || asked > api.RecallTarget_RECALL_TARGET_EXACT {
		first = asked
	}
	var earlier []*api.SpaceAnswer
	for target := first; ; target = asked {
		one := proto.CloneOf(in)
		if target != asked {
			one.Recall = target
		}
		resp, err := s.recall(ctx, one, earlier)
		if err != nil {
			return err.Connect()
		}
		if size > 0 {
			return sendPages(stream, resp, asked, size)
		}
		final := target >= asked || resp.GetExact()
		if err := stream.Send(&api.RecallStreamResponse{Response: resp, Recall: target, Final: final}); err != nil || final {
			return err
		}
		// A later answer is not of an earlier state. Of several spaces each has one of its own.
		earlier = resp.GetSpaces()
		if in.GetAsOf() == "" && !wire.SeveralSpaces(in) {
			in.AtLeast = resp.GetApplied()
		}
	}
}

func sendPages(stream *connect.ServerStream[api.RecallStreamResponse], resp *api.RecallResponse, target api.RecallTarget, size int) error {
	for hits := resp.GetHits(); ; {
		n := min(size, len(hits))
		page := &api.RecallResponse{
			Hits: hits[:n], Applied: resp.GetApplied(), StalenessMs: resp.GetStalenessMs(), Searched: resp.GetSearched(), Exact: resp.GetExact(), TookUs: resp.GetTookUs(),
			Spaces: resp.GetSpaces(),
		}
		hits = hits[n:]
		if len(hits) == 0 {
			page.Next = resp.GetNext() // what is behind all of them
		}
		if err := stream.Send(&api.RecallStreamResponse{Response: page, Recall: target, Final: len(hits) == 0}); err != nil || len(hits) == 0 {
			return err
		}
	}
}

func (s *recallService) Get(ctx context.Context, req *connect.Request[api.GetRequest]) (*connect.Response[api.GetResponse], error) {
	if denied := auth.Require(ctx, auth.Recall, req.Msg.GetSpace()); denied != nil {
		return nil, denied.Connect()
	}
	return answer(s.reads.Get(ctx, req.Msg.GetSpace(), req.Msg))
}

func (s *recallService) List(ctx context.Context, req *connect.Request[api.ListRequest]) (*connect.Response[api.ListResponse], error) {
	if denied := auth.Require(ctx, auth.Recall, req.Msg.GetSpace()); denied != nil {
		return nil, denied.Connect()
	}
	return answer(s.reads.List(ctx, req.Msg.GetSpace(), req.Msg))
}

func (s *recallService) Spaces(ctx context.Context, req *connect.Request[api.SpacesRequest]) (*connect.Response[api.SpacesResponse], error) {
	only, p := req.Msg.GetSpace(), auth.FromContext(ctx)
	if denied := auth.Require(ctx, auth.Recall); only == "" && denied != nil {
		return nil, denied.Connect()
	}
	if only != "" && (p == nil || !p.Sees(only)) {
		return nil, p.May(auth.Recall, only).Connect()
	}
	resp, err := s.reads.Spaces(ctx, only)
	if err == nil {
		resp.Spaces = slices.DeleteFunc(resp.GetSpaces(), func(i *api.SpaceInfo) bool { return !p.Sees(i.GetDefinition().GetName()) })
	}
	return answer(resp, err)
}

func (s *recallService) Compact(ctx context.Context, req *connect.Request[api.CompactRequest]) (*connect.Response[api.CompactResponse], error) {
	if denied := auth.Require(ctx, auth.Admin, req.Msg.GetSpace()); denied != nil {
		return nil, denied.Connect()
	}
	return answer(s.reads.Compact(ctx, req.Msg.GetSpace(), req.Msg))
}
