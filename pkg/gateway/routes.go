package gateway

import (
	"net/http"

	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/openapi"
	"github.com/engram-memory/engram/pkg/wire"
)

// Routes returns the gateway's HTTP face: POST /v1/spaces/{space}/observations with one JSON observation, an array, an
// envelope, an ObserveRequest in protobuf, or NDJSON, one observation a line; and PUT /v1/spaces/{space}.
func (g *Gateway) Routes() []openapi.Route {
	failures := []int{
		http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusInsufficientStorage,
	}
	return []openapi.Route{
		{
			Method: http.MethodPost, Path: "/v1/spaces/{space}/observations", Handler: g.postObservations,
			ID: "observe", Tag: openapi.TagObserve, Role: auth.Observe.String(), Summary: "Observe",
			Text: "Takes one observation, an array, or an envelope, checked as a whole before anything of it is published. Of several, the answer has a " +
				"result for each, and the status is that of the first that failed. Lines of NDJSON, of any number, are each answered with a line as soon as they " +
				"are durable, while the request goes on; one that is refused does not keep the others from being taken. The first observation of a space makes it.",
			Headers: []string{wire.HeaderAck, wire.HeaderDeadline, wire.HeaderIdempotencyKey},
			Body: &openapi.Body{Schema: wire.ShapeObserve, Message: "engram.v1.ObserveRequest", Line: wire.ShapeObservation, Examples: []openapi.Example{
				{Name: "one", Summary: "One observation", Text: `{"id": "n1", "text": "the deploy failed because the disk was full", "metadata": {"host": "db-3", "attempt": 2, "paged": true},
 "priority": "high", "importance": 0.7, "acknowledgement": "searchable"}`},
				{Name: "array", Summary: "Several", Text: `[{"text": "the cache is cold after a deploy"}, {"text": "the queue is drained before a restart"}]`},
				{Name: "envelope", Summary: "Several, and how they are to be acknowledged",
					Text: `{"observations": [{"id": "n2", "text": "certificates expire on the first of March"}], "idempotency_key": "import-7", "deadline_ms": 2000}`},
				{Name: "lines", Summary: "NDJSON", Lines: true, Text: `{"id": "n3", "text": "the load balancer drops idle connections"}` + "\n" + `{"id": "n4", "text": "the backup runs at midnight"}` + "\n"},
			}},
			Answers: []openapi.Answer{{
				Status: http.StatusOK, Text: "Durable in the log. One observation has an ObserveResult, several have an ObserveAnswer, each line has a LineAnswer.",
				Schema: "ObserveResult", OrSchema: "ObserveAnswer", Message: "engram.v1.ObserveResponse", Line: "LineAnswer",
			}},
			Refusals: failures, Partial: "ObserveAnswer",
		},
		{
			Method: http.MethodPut, Path: "/v1/spaces/{space}", Handler: g.putSpace,
			ID: "defineSpace", Tag: openapi.TagSpaces, Role: auth.Admin.String(), Summary: "Define a space",
			Text: "Makes a space before its first observation. What is left out is as the gateway's configuration says; what holds is fixed until the space is dropped.",
			Body: &openapi.Body{Schema: "Define", Message: "engram.v1.DefineRequest", Optional: true, Examples: []openapi.Example{
				{Name: "lexical", Summary: "For text, with the built-in embedder", Text: `{"dimension": 512, "metric": "cosine", "embedder": "lexical"}`},
			}},
			Answers: []openapi.Answer{
				{Status: http.StatusOK, Text: "The space was there, as it is asked for.", Schema: "DefineAnswer", Message: "engram.v1.DefineResponse"},
				{Status: http.StatusCreated, Text: "The space is made.", Schema: "DefineAnswer", Message: "engram.v1.DefineResponse"},
			},
			Refusals: failures,
		},
	}
}
