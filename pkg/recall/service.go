package recall

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/openapi"
	"github.com/engram-memory/engram/pkg/wire"
)

// Service is the micro service "engram-recall": engram.recall.<space>, engram.get.<space>, engram.list.<space>,
// engram.compact.<space>, engram.prove.<space>, engram.recall and engram.spaces.
type Service struct {
	r       *Router
	micro   micro.Service
	ctx     context.Context
	cancel  context.CancelFunc
	workers *presence
	// Those that the service answers itself have places of their own, so that they do not keep what is only handed on from it,
	// and those of admins, which may take minutes, have others.
	forwards, answers, works *bus.Places
}

// How many requests the service holds at once: of those that it hands on, of those that it answers itself, and of compactions
// and proofs.
const (
	maxForwards = 4096
	maxAnswers  = 1024
	maxWorks    = 64
)

// Serve starts to take requests.
func (r *Router) Serve() (*Service, error) {
	// Who may publish to a subject is the server's to say; a body that names another space than its subject is refused.
	ctx, cancel := context.WithCancel(auth.NewContext(context.Background(), auth.Everyone()))
	s := &Service{
		r: r, ctx: ctx, cancel: cancel, workers: newPresence(r.Conn, r.Topology.Shards), forwards: bus.NewPlaces(maxForwards, "requests"),
		answers: bus.NewPlaces(maxAnswers, "requests"), works: bus.NewPlaces(maxWorks, "compactions and proofs"),
	}
	var err error
	s.micro, err = micro.AddService(r.Conn, micro.Config{
		Name: "engram-recall", Version: r.Version, Description: "Recalls, gets and lists the observations of a space.",
		QueueGroup: "engram-recall",
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("starting the service engram-recall: %w", err)
	}
	for name, e := range s.endpoints() {
		said, err := e.says.Metadata()
		if err == nil {
			err = s.micro.AddEndpoint(name, bus.Guard(r.Logger, e.handler), micro.WithEndpointSubject(e.subject), micro.WithEndpointMetadata(said))
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("adding the endpoint %s: %w", e.subject, err), s.Stop())
		}
	}
	// Who is told that recall is ready must find it.
	if err := r.Conn.Flush(); err != nil {
		return nil, errors.Join(fmt.Errorf("announcing the service engram-recall: %w", err), s.Stop())
	}
	return s, nil
}

// endpoint is one of the service: where it is, what answers it, and what it says of itself.
type endpoint struct {
	subject string
	handler micro.HandlerFunc
	says    openapi.Exchange
}

func (s *Service) endpoints() map[string]endpoint {
	recalls := openapi.Exchange{Request: "Recall", Answer: "RecallAnswer", In: &api.RecallRequest{}, Out: &api.RecallResponse{}}
	return map[string]endpoint{
		"recall": {bus.RecallSubject("*"), s.forward(bus.VerbRecall), recalls},
		"get": {bus.GetSubject("*"), s.forward(bus.VerbGet), openapi.Exchange{
			Request: "Get", Answer: "GetAnswer", In: &api.GetRequest{}, Out: &api.GetResponse{},
		}},
		"list": {bus.ListSubject("*"), s.forward(bus.VerbList), openapi.Exchange{
			Request: "List", Answer: "ListAnswer", In: &api.ListRequest{}, Out: &api.ListResponse{},
		}},
		"compact": {bus.CompactSubject("*"), s.answer(s.works, s.r.compactBody), openapi.Exchange{
			Request: "Compact", Answer: "CompactAnswer", In: &api.CompactRequest{}, Out: &api.CompactResponse{},
		}},
		"prove": {bus.ProveSubject("*"), s.answer(s.works, s.r.proveBody), openapi.Exchange{
			Request: "Prove", Answer: "ProveAnswer", In: &api.ProveRequest{}, Out: &api.ProveResponse{},
		}},
		"spaces": {bus.SpacesSubject, s.answer(s.answers, s.spaces), openapi.Exchange{
			Request: "Spaces", Answer: "SpacesAnswer", In: &api.SpacesRequest{}, Out: &api.SpacesResponse{},
		}},
		// A service that may recall from one space has no right to it: the request names the spaces.
		"recall-many": {bus.RecallManySubject, s.answer(s.answers, s.r.recallManyBody), recalls},
	}
}

// Stop takes no more requests and waits for those that run.
func (s *Service) Stop() error {
	err := s.micro.Stop()
	s.cancel()
	s.forwards.Stop()
	s.answers.Stop()
	s.works.Stop()
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("stopping the service engram-recall: %w", err)
	}
	return nil
}

// begin runs what a request asks for where there is a place, and refuses it where there is none.
func (*Service) begin(places *bus.Places, req micro.Request, run func(wire.Format) *wire.Error) {
	f, failed := wire.FormatOf(req.Headers().Get(bus.HeaderContentType), req.Data())
	if failed == nil {
		failed = places.Go(func() {
			if failed := run(f); failed != nil {
				respondError(req, f, failed)
			}
		})
	}
	if failed != nil {
		respondError(req, f, failed)
	}
}

// forward hands a request to its shard, which answers the client itself.
func (s *Service) forward(verb string) micro.HandlerFunc {
	return func(req micro.Request) {
		s.begin(s.forwards, req, func(f wire.Format) *wire.Error {
			q, failed := s.r.route(s.ctx, verb, spaceOf(req.Subject()), f, req.Data())
			if failed == nil {
				failed = s.workers.check(s.ctx, q.shard)
			}
			if failed != nil {
				return failed
			}
			if err := s.r.Conn.PublishMsg(q.message(req.Reply())); err != nil {
				return unsent(err)
			}
			return nil
		})
	}
}

// spaceOf returns the last token of a subject, be it the name of a space or not: the refusal says what it was.
func spaceOf(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// answer answers a request itself.
func (s *Service) answer(places *bus.Places, say func(context.Context, string, wire.Format, []byte) ([]byte, *wire.Error)) micro.HandlerFunc {
	return func(req micro.Request) {
		s.begin(places, req, func(f wire.Format) *wire.Error {
			body, failed := say(s.ctx, spaceOf(req.Subject()), f, req.Data())
			if failed != nil {
				return failed
			}
			if limit := s.r.Conn.MaxPayload() - answerHeadroom; int64(len(body)) > limit {
				return wire.Errorf(wire.CodeTooLarge, "k", "the answer has %d bytes, and a NATS message can have %d; ask for fewer hits, or include less", len(body), limit)
			}
			bus.Answer(req, f.ContentType(), body)
			return nil
		})
	}
}

// answerHeadroom is what the headers of an answer need, which count towards the largest message of NATS too.
const answerHeadroom = 512

func (s *Service) spaces(ctx context.Context, _ string, f wire.Format, body []byte) ([]byte, *wire.Error) {
	said, failed := s.r.spaces(ctx, f, body)
	if limit := s.r.Conn.MaxPayload() - answerHeadroom; failed == nil && int64(len(said)) > limit {
		return nil, wire.Errorf(wire.CodeTooLarge, "", "the answer has %d bytes, and a NATS message can have %d; ask for one space, or for all of them over HTTP", len(said), limit)
	}
	return said, failed
}

func respondError(req micro.Request, f wire.Format, e *wire.Error) {
	bus.Refuse(req, f.ContentType(), e.Status(), e.Error(), wire.EncodeError(f, e))
}
