package rpc

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/api/engram/v1/engramv1connect"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/openapi"
	"github.com/engram-memory/engram/pkg/session"
	"github.com/engram-memory/engram/pkg/wire"
)

// Ingest is what takes observations: a gateway.
type Ingest interface {
	ObserveWait(ctx context.Context, space string, req *api.ObserveRequest) (*api.ObserveResponse, *wire.Error)
	Forget(ctx context.Context, space string, req *api.ForgetRequest) (*api.ForgetResponse, *wire.Error)
	Define(ctx context.Context, space string, req *api.DefineRequest) (*api.DefineResponse, *wire.Error)
	// Bodies is the memory that requests and frames are counted against from when they are read until they are answered.
	Bodies() session.Memory
}

// StreamPath is where a WebSocket is opened.
const StreamPath = "/v1/stream"

// StreamRoute is that of the WebSocket.
func StreamRoute(sessions *session.Manager) openapi.Route {
	return openapi.Route{
		Method: http.MethodGet, Path: StreamPath, Handler: webSocket(sessions), AnyQuery: true,
		ID: "stream", Tag: openapi.TagObserve, Summary: "Open a stream as a WebSocket",
		Text: "Each message is a frame, JSON in a text message and protobuf in a binary one: numbered observations with acknowledgements, and recalls. " +
			"Every frame needs its role in the space that it names. docs/wire.md has the frames.",
		Answers: []openapi.Answer{
			{Status: http.StatusSwitchingProtocols, Text: "The connection is a WebSocket from now on."},
			{Status: http.StatusUpgradeRequired, Text: "The request asks for no WebSocket.", Media: "text/plain"},
		},
	}
}

// MountIngest serves IngestService.
func MountIngest(mux *http.ServeMux, ingest Ingest, sessions *session.Manager) {
	path, handler := engramv1connect.NewIngestServiceHandler(&ingestService{ingest, sessions}, options()...)
	mux.Handle(path, counted(ingest.Bodies(), maxMessage, false, handler))
	mux.Handle(engramv1connect.IngestServiceObserveStreamProcedure, controlled(counted(ingest.Bodies(), maxFrame, true, handler)))
}

type ingestService struct {
	ingest   Ingest
	sessions *session.Manager
}

func (s *ingestService) Observe(ctx context.Context, req *connect.Request[api.ObserveRequest]) (*connect.Response[api.ObserveResponse], error) {
	space := req.Msg.GetSpace()
	named := []string{space}
	for _, o := range req.Msg.GetObservations() {
		if space == "" {
			space = o.GetSpace()
		}
		if o.GetSpace() != space {
			named = append(named, o.GetSpace())
		}
	}
	named[0] = space
	if denied := auth.Require(ctx, auth.Observe, named...); denied != nil {
		return nil, denied.Connect()
	}
	return answer(s.ingest.ObserveWait(ctx, space, req.Msg))
}

func (s *ingestService) Forget(ctx context.Context, req *connect.Request[api.ForgetRequest]) (*connect.Response[api.ForgetResponse], error) {
	if denied := auth.Require(ctx, auth.Forget, req.Msg.GetSpace()); denied != nil {
		return nil, denied.Connect()
	}
	return answer(s.ingest.Forget(ctx, req.Msg.GetSpace(), req.Msg))
}

func (s *ingestService) Define(ctx context.Context, req *connect.Request[api.DefineRequest]) (*connect.Response[api.DefineResponse], error) {
	if denied := auth.Require(ctx, auth.Admin, req.Msg.GetSpace()); denied != nil {
		return nil, denied.Connect()
	}
	return answer(s.ingest.Define(ctx, req.Msg.GetSpace(), req.Msg))
}

func (s *ingestService) ObserveStream(ctx context.Context, stream *connect.BidiStream[api.ObserveStreamRequest, api.ObserveStreamResponse]) error {
	if err := s.sessions.Serve(ctx, newBidi(ctx, stream)); err != nil {
		return err.Connect()
	}
	return nil
}

// answer is what a call of the core gave, as Connect takes it.
func answer[M any](m *M, err *wire.Error) (*connect.Response[M], error) {
	if err != nil {
		return nil, err.Connect()
	}
	return connect.NewResponse(m), nil
}
