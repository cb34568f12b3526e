package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/openapi"
	"github.com/engram-memory/engram/pkg/wire"
)

// Service is the gateway's NATS face: the micro service "engram-gateway" with the endpoints engram.observe.<space>,
// engram.forget.<space> and engram.define.<space>.
type Service struct {
	g     *Gateway
	micro micro.Service
	// answers counts the observes that are not answered yet. Those are bounded by admission, and need no goroutine but where
	// Gateway.slow has a place; forgets and defines wait.
	answers          sync.WaitGroup
	forgets, defines *bus.Places
}

// maxWaiting is how many forgets, and how many requests to define a space, wait at once.
const maxWaiting = 1024

// maxPending bounds the bytes of requests that wait for an endpoint's handler. Handlers never wait, so that this fills only
// when the processors are taken.
const maxPending = 64 << 20

// Serve starts to take requests.
func (g *Gateway) Serve(version string) (*Service, error) {
	s := &Service{g: g, forgets: bus.NewPlaces(maxWaiting, "forgets"), defines: bus.NewPlaces(maxWaiting, "requests to define a space")}
	var err error
	s.micro, err = micro.AddService(g.Conn, micro.Config{
		Name: "engram-gateway", Version: version, Description: "Takes observations and forgets to the log of their space, and makes spaces.",
		QueueGroup: "engram-gateway",
	})
	if err != nil {
		return nil, fmt.Errorf("starting the service engram-gateway: %w", err)
	}
	for name, e := range map[string]struct {
		subject string
		handler micro.HandlerFunc
		says    openapi.Exchange
	}{
		"observe": {bus.ObserveSubject(bus.Any), s.observe, openapi.Exchange{
			Request: wire.ShapeObserve, Answer: "ObserveResult", OrAnswer: "ObserveAnswer", In: &api.ObserveRequest{}, Out: &api.ObserveResponse{},
		}},
		"forget": {bus.ForgetSubject(bus.Any), s.forget, openapi.Exchange{
			Request: "Forget", Answer: "ForgetAnswer", In: &api.ForgetRequest{}, Out: &api.ForgetResponse{},
		}},
		"define": {bus.DefineSubject(bus.Any), s.define, openapi.Exchange{
			Request: "Define", Answer: "DefineAnswer", In: &api.DefineRequest{}, Out: &api.DefineResponse{},
		}},
	} {
		said, err := e.says.Metadata()
		if err == nil {
			// A burst waits here rather than being dropped: admission, not this buffer, is what refuses.
			err = s.micro.AddEndpoint(name, bus.Guard(g.Logger, e.handler), micro.WithEndpointSubject(e.subject),
				micro.WithEndpointPendingLimits(-1, maxPending), micro.WithEndpointMetadata(said))
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("adding the endpoint %s: %w", e.subject, err), s.micro.Stop())
		}
	}
	// Who is told that the gateway is ready must find it.
	if err := g.Conn.Flush(); err != nil {
		return nil, errors.Join(fmt.Errorf("announcing the service engram-gateway: %w", err), s.micro.Stop())
	}
	return s, nil
}

// Stop takes no more requests and waits until those taken are answered.
func (s *Service) Stop() error {
	err := s.micro.Stop()
	s.answers.Wait()
	s.forgets.Stop()
	s.defines.Stop()
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("stopping the service engram-gateway: %w", err)
	}
	return nil
}

func (s *Service) observe(req micro.Request) {
	f, refused := wire.FormatOf(req.Headers().Get(bus.HeaderContentType), req.Data())
	if refused != nil {
		respondError(req, f, refused)
		return
	}
	space := spaceOf(req.Subject())
	if f == wire.Protobuf && s.g.Registry.Get(space).Living() {
		if n, high, ok := wire.PeekObserve(req.Data()); ok && n <= event.MaxBatch {
			if refused = s.g.early(space, n, high); refused != nil {
				s.g.Metrics.Space(space).Rejected(string(refused.Code)).Add(float64(n))
				respondError(req, f, refused)
				return
			}
		}
	}
	in, single, refused := wire.DecodeObserve(f, req.Data())
	if refused == nil {
		refused = wire.ObserveHeaders(in, req.Headers().Get)
	}
	if refused != nil {
		s.g.Metrics.Space(s.g.label(space)).Rejected(string(refused.Code)).Inc()
		respondError(req, f, refused)
		return
	}
	s.answers.Add(1)
	s.g.Observe(space, in, func(resp *api.ObserveResponse, refused *wire.Error) {
		defer s.answers.Done()
		if refused == nil && single {
			refused = wire.FromProto(resp.GetResults()[0].GetError())
		}
		if refused != nil {
			respondError(req, f, refused)
			return
		}
		body, refused := wire.EncodeObserve(f, resp, single)
		respond(req, f, body, refused)
	})
}

func (s *Service) forget(req micro.Request) {
	f, refused := wire.FormatOf(req.Headers().Get(bus.HeaderContentType), req.Data())
	if refused != nil {
		respondError(req, f, refused)
		return
	}
	space := spaceOf(req.Subject())
	in, refused := wire.DecodeForget(f, req.Data())
	if refused != nil {
		respondError(req, f, refused)
		return
	}
	crowded := s.forgets.Go(func() {
		resp, refused := s.g.Forget(context.Background(), space, in)
		if refused != nil {
			respondError(req, f, refused)
			return
		}
		body, refused := wire.EncodeForget(f, resp)
		respond(req, f, body, refused)
	})
	if crowded != nil {
		respondError(req, f, crowded)
	}
}

func (s *Service) define(req micro.Request) {
	f, refused := wire.FormatOf(req.Headers().Get(bus.HeaderContentType), req.Data())
	var in *api.DefineRequest
	if refused == nil {
		in, refused = wire.DecodeDefine(f, req.Data())
	}
	if refused != nil {
		respondError(req, f, refused)
		return
	}
	crowded := s.defines.Go(func() {
		resp, refused := s.g.Define(context.Background(), spaceOf(req.Subject()), in)
		if refused != nil {
			respondError(req, f, refused)
			return
		}
		body, refused := wire.EncodeDefine(f, resp)
		respond(req, f, body, refused)
	})
	if crowded != nil {
		respondError(req, f, crowded)
	}
}

// spaceOf returns the last token of a subject, be it the name of a space or not: the refusal says what it was.
func spaceOf(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// respond answers; a message that nobody waits for an answer to was taken all the same.
func respond(req micro.Request, f wire.Format, body []byte, failed *wire.Error) {
	if failed != nil {
		respondError(req, f, failed)
		return
	}
	bus.Answer(req, f.ContentType(), body)
}

func respondError(req micro.Request, f wire.Format, e *wire.Error) {
	bus.Refuse(req, f.ContentType(), e.Status(), e.Error(), wire.EncodeError(f, e))
}
