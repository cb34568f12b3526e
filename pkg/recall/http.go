package recall

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

const (
	// maxBody bounds the body of a recall: an embedding of the largest dimension in JSON, and room.
	maxBody = 1 << 20
	// answerTimeout bounds the wait for a shard; a request's own deadline is within it.
	answerTimeout = 10 * time.Second
)

// may lets only those through to a handler who have the role in the space of the path. The spaces in a body are asked for
// by route, where the body is read.
func may(role auth.Role, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if denied := auth.Require(req.Context(), role, req.PathValue("space")); denied != nil {
			f, _ := bodyFormat(req, nil, nil)
			wire.WriteError(w, f, denied)
			return
		}
		h(w, req)
	}
}

func (r *Router) postRecall(w http.ResponseWriter, req *http.Request) {
	body, unread := wire.ReadBody(w, req, maxBody)
	f, failed := bodyFormat(req, body, unread)
	if failed != nil {
		wire.WriteError(w, f, failed)
		return
	}
	start := time.Now()
	r.pass(w, req, bus.VerbRecall, f, body)
	if r.Latency != nil {
		r.Latency.Observe(time.Since(start).Seconds())
	}
}

// bodyFormat is wire.FormatOf for HTTP, where no content type, and the one that curl -d sends, mean JSON. unread is the
// error of reading the body.
func bodyFormat(req *http.Request, body []byte, unread *wire.Error) (wire.Format, *wire.Error) {
	contentType := req.Header.Get("Content-Type")
	f, failed := wire.FormatOf(contentType, body)
	if contentType == "" || contentType == "application/x-www-form-urlencoded" {
		f, failed = wire.JSON, nil
	}
	if unread != nil {
		failed = unread
	}
	return f, failed
}

// post answers with what a function says to a body.
func (r *Router) post(answer func(context.Context, string, wire.Format, []byte) ([]byte, *wire.Error)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		body, unread := wire.ReadBody(w, req, maxBody)
		f, failed := bodyFormat(req, body, unread)
		var said []byte
		if failed == nil {
			said, failed = answer(req.Context(), req.PathValue("space"), f, body)
		}
		if failed != nil {
			wire.WriteError(w, f, failed)
			return
		}
		write(w, f, said)
	}
}

// forgetBody has a gateway forget.
func (r *Router) forgetBody(ctx context.Context, space string, f wire.Format, body []byte) ([]byte, *wire.Error) {
	req, err := wire.DecodeForget(f, body)
	if err == nil {
		err = wire.CheckSpace(space)
	}
	if err == nil {
		err = auth.Require(ctx, auth.Forget, space, req.GetSpace())
	}
	if err != nil {
		return nil, err
	}
	return r.request(ctx, &nats.Msg{
		Subject: bus.ForgetSubject(space), Data: body, Header: nats.Header{bus.HeaderContentType: {f.ContentType()}},
	}, f)
}

// pass sends a request to its shard and its answer to the client, as it is.
func (r *Router) pass(w http.ResponseWriter, req *http.Request, verb string, f wire.Format, body []byte) {
	answer, failed := r.call(req.Context(), verb, req.PathValue("space"), f, body)
	if failed != nil {
		wire.WriteError(w, f, failed)
		return
	}
	write(w, f, answer)
}

func write(w http.ResponseWriter, f wire.Format, body []byte) {
	w.Header().Set("Content-Type", f.ContentType())
	_, _ = w.Write(body) // a client that is gone does not need it
}

// call asks a shard and returns its answer, or the error in it.
func (r *Router) call(ctx context.Context, verb, space string, f wire.Format, body []byte) ([]byte, *wire.Error) {
	q, failed := r.route(ctx, verb, space, f, body)
	if failed != nil {
		return nil, failed
	}
	return r.read(ctx, q.message(""), f)
}

// read sends what may be answered more than once, and again where no answer comes.
func (r *Router) read(ctx context.Context, m *nats.Msg, f wire.Format) ([]byte, *wire.Error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	m, err := bus.Ask(ctx, r.Conn, m, bus.Asking{Hedge: bus.HedgeAfter, Patience: patience})
	return answerOf(ctx, m, err, f)
}

// patience is for how long a shard that nobody answers for at the moment is asked again: it is on its way to another worker.
const patience = 2 * time.Second

func (r *Router) request(ctx context.Context, m *nats.Msg, f wire.Format) ([]byte, *wire.Error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	m, err := r.Conn.RequestMsgWithContext(ctx, m)
	return answerOf(ctx, m, err, f)
}

// answerOf returns what a request was answered with, or the error in it.
func answerOf(ctx context.Context, m *nats.Msg, err error, f wire.Format) ([]byte, *wire.Error) {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, wire.Errorf(wire.CodeUnavailable, "", "nobody serves the request at this moment; send it again")
	case err != nil && ctx.Err() != nil:
		return nil, wire.Errorf(wire.CodeDeadline, "", "there was no answer within %v", answerTimeout)
	case err != nil:
		return nil, unsent(err)
	}
	if m.Header.Get(micro.ErrorCodeHeader) != "" {
		return nil, wire.DecodeError(f, m.Data)
	}
	return m.Data, nil
}

// unsent says why a request did not go on to its shard.
func unsent(err error) *wire.Error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return wire.Errorf(wire.CodeTooLarge, "", "the request, with what goes on with it, is larger than a NATS message can be; ask for less at once")
	}
	return wire.Errorf(wire.CodeUnavailable, "", "the request could not be sent: %v; send it again", err)
}

func (r *Router) getSpaces(w http.ResponseWriter, req *http.Request) {
	p := auth.FromContext(req.Context())
	failed := auth.Require(req.Context(), auth.Recall)
	var resp *api.SpacesResponse
	if failed == nil {
		resp, failed = r.Spaces(req.Context(), "")
	}
	var body []byte
	if failed == nil {
		resp.Spaces = slices.DeleteFunc(resp.Spaces, func(s *api.SpaceInfo) bool { return !p.Sees(s.GetDefinition().GetName()) })
	}
	if failed == nil {
		body, failed = wire.EncodeSpaces(wire.JSON, resp, false)
	}
	if failed != nil {
		wire.WriteError(w, wire.JSON, failed)
		return
	}
	write(w, wire.JSON, body)
}

func (r *Router) getSpace(w http.ResponseWriter, req *http.Request) {
	space := req.PathValue("space")
	var failed *wire.Error
	if p := auth.FromContext(req.Context()); p == nil || !p.Sees(space) {
		failed = p.May(auth.Recall, space)
	}
	var resp *api.SpacesResponse
	if failed == nil {
		resp, failed = r.Spaces(req.Context(), space)
	}
	var body []byte
	if failed == nil {
		body, failed = wire.EncodeSpaces(wire.JSON, resp, true)
	}
	if failed != nil {
		wire.WriteError(w, wire.JSON, failed)
		return
	}
	write(w, wire.JSON, body)
}

// getObservations lists: ?limit, ?order, ?filter, ?from, ?to, ?cursor, ?before (a position), ?at_least, ?as_of, ?include (repeated).
func (r *Router) getObservations(w http.ResponseWriter, req *http.Request) {
	query := req.URL.Query()
	in := map[string]any{}
	if v := query.Get("limit"); v != "" {
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil {
			wire.WriteError(w, wire.JSON, wire.Errorf(wire.CodeInvalidArgument, "limit", "limit is %q; it can be 1 to %d", v, event.MaxList))
			return
		}
		in["limit"] = n
	}
	for _, name := range []string{"before", "at_least", "as_of", "filter", "from", "to", "order", "cursor"} {
		if v := query.Get(name); v != "" {
			in[name] = v
		}
	}
	if v := query["include"]; len(v) > 0 {
		in["include"] = v
	}
	body, err := json.Marshal(in)
	if err != nil {
		wire.WriteError(w, wire.JSON, wire.Errorf(wire.CodeMalformed, "", "the query is not UTF-8"))
		return
	}
	r.pass(w, req, bus.VerbList, wire.JSON, body)
}

// getObservation returns one observation: ?at_least, ?as_of, ?include (repeated).
func (r *Router) getObservation(w http.ResponseWriter, req *http.Request) {
	query := req.URL.Query()
	body, err := json.Marshal(map[string]any{
		"id": req.PathValue("id"), "include": query["include"], "at_least": query.Get("at_least"), "as_of": query.Get("as_of"),
	})
	if err != nil {
		wire.WriteError(w, wire.JSON, wire.Errorf(wire.CodeMalformed, "", "the query is not UTF-8"))
		return
	}
	answer, failed := r.call(req.Context(), bus.VerbGet, req.PathValue("space"), wire.JSON, body)
	var found struct {
		Observations []json.RawMessage `json:"observations"`
	}
	if failed == nil && json.Unmarshal(answer, &found) != nil {
		failed = wire.Errorf(wire.CodeInternal, "", "the shard's answer is not JSON")
	}
	if failed == nil && len(found.Observations) == 0 {
		failed = wire.Errorf(wire.CodeNotFound, "id", "there is no observation %q in space %q", req.PathValue("id"), req.PathValue("space"))
	}
	if failed != nil {
		wire.WriteError(w, wire.JSON, failed)
		return
	}
	write(w, wire.JSON, found.Observations[0])
}

// deleteObservation forgets one observation, through a gateway; 204 once no recall returns it.
func (r *Router) deleteObservation(w http.ResponseWriter, req *http.Request) {
	space := req.PathValue("space")
	_, failed := r.entry(req.Context(), space)
	if failed == nil {
		var body []byte
		body, err := json.Marshal(map[string]any{"ids": []string{req.PathValue("id")}, "acknowledgement": "searchable"})
		if err != nil {
			failed = wire.Errorf(wire.CodeInvalidID, "id", "the id is not UTF-8")
		} else {
			_, failed = r.request(req.Context(), &nats.Msg{
				Subject: bus.ForgetSubject(space), Data: body, Header: nats.Header{bus.HeaderContentType: {wire.TypeJSON}},
			}, wire.JSON)
		}
	}
	if failed != nil {
		wire.WriteError(w, wire.JSON, failed)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
