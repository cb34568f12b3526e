package recall

import (
	"net/http"

	"github.com/engram-memory/engram/pkg/auth"
	"github.com/engram-memory/engram/pkg/openapi"
)

// Routes returns the HTTP face of recall: POST /v1/recall, POST of recall, compact, prove and forget below
// /v1/spaces/{space}, GET /v1/spaces, GET /v1/spaces/{space}, GET /v1/spaces/{space}/observations, and GET and DELETE of /v1/spaces/{space}/observations/{id}.
func (r *Router) Routes() []openapi.Route {
	return append(r.readRoutes(), r.changeRoutes()...)
}

// What reads can answer beside what everything can.
func readFailures(more ...int) []int {
	return append(more, http.StatusNotFound, http.StatusRequestEntityTooLarge, http.StatusInternalServerError,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout)
}

func (r *Router) readRoutes() []openapi.Route {
	answer := openapi.Answer{Status: http.StatusOK, Text: "The nearest ones, best first.", Schema: "RecallAnswer", Message: "engram.v1.RecallResponse"}
	return []openapi.Route{
		{
			Method: http.MethodPost, Path: "/v1/spaces/{space}/recall", Handler: may(auth.Recall, r.postRecall),
			ID: "recall", Tag: openapi.TagRecall, Role: auth.Recall.String(), Summary: "Recall from a space",
			Text: "Finds the observations of a space that are nearest to a text, an embedding, or another observation.",
			Body: &openapi.Body{Schema: "Recall", Message: "engram.v1.RecallRequest", Examples: []openapi.Example{
				{Name: "text", Summary: "The nearest ones of a text", Text: `{"text": "why did the deploy fail?", "k": 3, "min_score": 0.1, "include": ["text"]}`},
				{Name: "id", Summary: "Those like another one", Text: `{"id": "n1", "k": 5, "recall": "exact"}`},
				{Name: "filtered", Summary: "Of some only, the newer the better", Text: `{"text": "disk", "filter": "metadata.host == 'db-3' && importance > 0.5", "half_life_ms": 86400000}`},
				{Name: "paged", Summary: "The first page of many", Text: `{"text": "deploy", "k": 10, "paged": true}`},
			}},
			Answers: []openapi.Answer{answer}, Refusals: readFailures(http.StatusGone, http.StatusBadGateway),
		},
		{
			Method: http.MethodPost, Path: "/v1/recall", Handler: r.post(r.recallManyBody), // which spaces, its body says
			ID: "recallSeveral", Tag: openapi.TagRecall, Role: auth.Recall.String(), Summary: "Recall from several spaces",
			Text: "Finds the nearest ones of several spaces, or of all whose name begins with a prefix, merged by score. Each hit names its space.",
			Body: &openapi.Body{Schema: "Recall", Message: "engram.v1.RecallRequest", Examples: []openapi.Example{
				{Name: "spaces", Summary: "Of spaces by name", Text: `{"spaces": ["notes"], "text": "idle connections", "k": 3}`},
				{Name: "prefix", Summary: "Of spaces by the beginning of their names", Text: `{"prefix": "note", "text": "idle connections"}`},
			}},
			Answers: []openapi.Answer{answer}, Refusals: readFailures(http.StatusGone, http.StatusBadGateway),
		},
		{
			Method: http.MethodGet, Path: "/v1/spaces", Handler: r.getSpaces,
			ID: "spaces", Tag: openapi.TagSpaces, Summary: "All spaces", Text: "Those that the caller has a role in.",
			Answers: []openapi.Answer{{Status: http.StatusOK, Text: "The spaces, by name.", Schema: "SpacesAnswer"}}, Refusals: readFailures(),
		},
		{
			Method: http.MethodGet, Path: "/v1/spaces/{space}", Handler: r.getSpace,
			ID: "space", Tag: openapi.TagSpaces, Summary: "One space", Text: "Needs any role in the space.",
			Answers: []openapi.Answer{{Status: http.StatusOK, Text: "The space.", Schema: "Space"}}, Refusals: readFailures(),
		},
		{
			Method: http.MethodGet, Path: "/v1/spaces/{space}/observations", Handler: may(auth.Recall, r.getObservations),
			ID: "list", Tag: openapi.TagRecall, Role: auth.Recall.String(), Summary: "List the observations of a space",
			Query:   []string{"limit", "before", "at_least", "as_of", "include", "filter", "from", "to", "order", "cursor"},
			Answers: []openapi.Answer{{Status: http.StatusOK, Text: "A page of observations.", Schema: "ListAnswer"}}, Refusals: readFailures(http.StatusGone),
		},
		{
			Method: http.MethodGet, Path: "/v1/spaces/{space}/observations/{id...}", Handler: may(auth.Recall, r.getObservation),
			ID: "get", Tag: openapi.TagRecall, Role: auth.Recall.String(), Summary: "One observation", Query: []string{"at_least", "as_of", "include"},
			Answers: []openapi.Answer{{Status: http.StatusOK, Text: "The observation.", Schema: "Hit"}}, Refusals: readFailures(http.StatusGone),
		},
	}
}

func (r *Router) changeRoutes() []openapi.Route {
	return []openapi.Route{
		{
			Method: http.MethodPost, Path: "/v1/spaces/{space}/forget", Handler: may(auth.Forget, r.post(r.forgetBody)),
			ID: "forget", Tag: openapi.TagForget, Role: auth.Forget.String(), Summary: "Forget by ids or filter, or a whole space",
			Text: "Forgets what stands below it in the log, and nothing that is observed later. One of ids, filter and all is needed; all drops the space.",
			Body: &openapi.Body{Schema: "Forget", Message: "engram.v1.ForgetRequest", Examples: []openapi.Example{
				{Name: "ids", Summary: "By ids, once no recall returns them", Text: `{"ids": ["n2", "n3"], "acknowledgement": "searchable", "idempotency_key": "erase-42"}`},
				{Name: "filter", Summary: "By a filter", Text: `{"filter": "metadata.host == 'db-9'"}`},
			}},
			Answers:  []openapi.Answer{{Status: http.StatusOK, Text: "Durable in the log.", Schema: "ForgetAnswer", Message: "engram.v1.ForgetResponse"}},
			Refusals: readFailures(http.StatusConflict, http.StatusInsufficientStorage),
		},
		{
			Method: http.MethodDelete, Path: "/v1/spaces/{space}/observations/{id...}", Handler: may(auth.Forget, r.deleteObservation),
			ID: "forgetOne", Tag: openapi.TagForget, Role: auth.Forget.String(), Summary: "Forget one observation",
			Answers:  []openapi.Answer{{Status: http.StatusNoContent, Text: "No recall returns it. An id that is not there is no error."}},
			Refusals: readFailures(http.StatusConflict, http.StatusInsufficientStorage),
		},
		{
			Method: http.MethodPost, Path: "/v1/spaces/{space}/prove", Handler: may(auth.Admin, r.post(r.proveBody)),
			ID: "prove", Tag: openapi.TagForget, Role: auth.Admin.String(), Summary: "Prove that something is gone",
			Text: "Erases what was forgotten from the log and the store, and looks for it in both.",
			Body: &openapi.Body{Schema: "Prove", Message: "engram.v1.ProveRequest", Examples: []openapi.Example{
				{Name: "look", Summary: "Only look", Text: `{"ids": ["n2"], "look_only": true}`},
			}},
			Answers:  []openapi.Answer{{Status: http.StatusOK, Text: "What was looked at, and what was found.", Schema: "ProveAnswer", Message: "engram.v1.ProveResponse"}},
			Refusals: readFailures(http.StatusConflict),
		},
		{
			Method: http.MethodPost, Path: "/v1/spaces/{space}/compact", Handler: may(auth.Admin, r.post(r.compactBody)),
			ID: "compact", Tag: openapi.TagSpaces, Role: auth.Admin.String(), Summary: "Compact a space",
			Text: "Reclaims now, in every copy of the space, what nobody can read any more.",
			Body: &openapi.Body{Schema: "Compact", Message: "engram.v1.CompactRequest", Optional: true, Examples: []openapi.Example{
				{Name: "patient", Summary: "Within a minute", Text: `{"deadline_ms": 60000}`},
			}},
			Answers:  []openapi.Answer{{Status: http.StatusOK, Text: "What each copy did.", Schema: "CompactAnswer", Message: "engram.v1.CompactResponse"}},
			Refusals: readFailures(),
		},
	}
}
