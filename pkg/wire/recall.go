package wire

import (
	"math"
	"slices"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
)

type recallJSON struct {
	Space      string     `json:"space,omitempty"`
	Embedding  vectorJSON `json:"embedding,omitempty"`
	Text       string     `json:"text,omitempty"`
	ID         string     `json:"id,omitempty"`
	K          *uint32    `json:"k,omitempty"`
	MinScore   *float32   `json:"min_score,omitempty"`
	Filter     string     `json:"filter,omitempty"`
	AtLeast    string     `json:"at_least,omitempty"`
	DeadlineMS uint32     `json:"deadline_ms,omitempty"`
	Include    []string   `json:"include,omitempty"`
	Recall     string     `json:"recall,omitempty"`
	Ef         *uint32    `json:"ef,omitempty"`
	AsOf       string     `json:"as_of,omitempty"`
}

// DecodeRecall reads the body of a recall request.
func DecodeRecall(f Format, body []byte) (*api.RecallRequest, *Error) {
	if f == Protobuf {
		req := new(api.RecallRequest)
		return req, unmarshal(body, req)
	}
	var in recallJSON
	if err := strictJSON(body, &in); err != nil {
		return nil, err
	}
	target, err := targets.parse(in.Recall)
	if err != nil {
		return nil, err
	}
	return &api.RecallRequest{
		Space: in.Space, Embedding: in.Embedding.embedding(), Text: in.Text, Id: in.ID, K: in.K, MinScore: in.MinScore,
		Filter: in.Filter, AtLeast: in.AtLeast, DeadlineMs: in.DeadlineMS, Include: in.Include, Recall: target, Ef: in.Ef, AsOf: in.AsOf,
	}, nil
}

// CheckRecall refuses what no space could answer.
func CheckRecall(r *api.RecallRequest) *Error {
	set := 0
	for _, is := range []bool{r.GetEmbedding() != nil, r.GetText() != "", r.GetId() != ""} {
		if is {
			set++
		}
	}
	switch {
	case set != 1:
		return Errorf(CodeInvalidArgument, "embedding", "a recall has exactly one of embedding, text and id; this one has %d", set)
	case r.K != nil && (r.GetK() == 0 || r.GetK() > event.MaxK):
		return Errorf(CodeInvalidArgument, "k", "k is %d; it can be 1 to %d", r.GetK(), event.MaxK)
	case r.MinScore != nil && math.IsNaN(float64(r.GetMinScore())):
		return Errorf(CodeInvalidArgument, "min_score", "min_score is not a number")
	case !targets.knows(r.GetRecall()):
		return Errorf(CodeInvalidArgument, "recall", "recall is %d, which is neither fast nor balanced nor exact", r.GetRecall())
	case r.Ef != nil && (r.GetEf() == 0 || r.GetEf() > event.MaxEf):
		return Errorf(CodeInvalidArgument, "ef", "ef is %d; it can be 1 to %d", r.GetEf(), event.MaxEf)
	case r.Ef != nil && r.GetRecall() == api.RecallTarget_RECALL_TARGET_EXACT:
		return Errorf(CodeInvalidArgument, "ef", "an exact recall has no candidate list, so ef means nothing there; leave one of the two out")
	case r.GetFilter() != "":
		return Errorf(CodeUnsupported, "filter", "this version does not filter; leave the field out")
	case len(r.GetId()) > event.MaxID:
		return Errorf(CodeInvalidID, "id", "id has %d bytes; it can have up to %d", len(r.GetId()), event.MaxID)
	case len(r.GetText()) > event.MaxText:
		return Errorf(CodeTooLarge, "text", "text has %d bytes; it can have up to %d", len(r.GetText()), event.MaxText)
	}
	_, err := ParseInclude(r.GetInclude())
	return err
}

// Include says what a hit carries beside id, score and times.
type Include struct{ Embedding, Text, Metadata bool }

// ParseInclude reads the include field; empty means text and metadata, and "none" nothing.
func ParseInclude(names []string) (Include, *Error) {
	if len(names) == 0 {
		return Include{Text: true, Metadata: true}, nil
	}
	for _, n := range names {
		if !slices.Contains([]string{"embedding", "text", "metadata", "none"}, n) {
			return Include{}, Errorf(CodeInvalidArgument, "include", "include names %q; it can name embedding, text, metadata or none", n)
		}
	}
	return Include{
		Embedding: slices.Contains(names, "embedding"),
		Text:      slices.Contains(names, "text"),
		Metadata:  slices.Contains(names, "metadata"),
	}, nil
}

type hitJSON struct {
	ID         string       `json:"id"`
	Score      *float32     `json:"score,omitempty"`
	ObservedAt timeJSON     `json:"observed_at"`
	Position   string       `json:"position"`
	Text       string       `json:"text,omitempty"`
	Metadata   metadataJSON `json:"metadata,omitempty"`
	Embedding  vectorJSON   `json:"embedding,omitempty"`
	Priority   string       `json:"priority,omitempty"`
	Importance float32      `json:"importance,omitempty"`
	ExpiresAt  timeJSON     `json:"expires_at,omitempty"`
	Session    string       `json:"session,omitempty"`
	Sequence   uint64       `json:"sequence,omitempty"`
}

func hitsJSON(hits []*api.Hit, scored bool) []hitJSON {
	out := make([]hitJSON, 0, len(hits))
	for _, h := range hits {
		j := hitJSON{
			ID: h.GetId(), ObservedAt: timeJSON(h.GetObservedAt()), Position: h.GetPosition(), Text: h.GetText(),
			Metadata: h.GetMetadata(), Embedding: h.GetEmbedding().GetData(), Priority: priorities.name(h.GetPriority()),
			Importance: h.GetImportance(), ExpiresAt: timeJSON(h.GetExpiresAt()), Session: h.GetSession(), Sequence: h.GetSequence(),
		}
		if scored {
			score := h.GetScore()
			j.Score = &score
		}
		out = append(out, j)
	}
	return out
}

type recallAnswerJSON struct {
	Hits        []hitJSON `json:"hits"`
	Applied     string    `json:"applied"`
	StalenessMS float64   `json:"staleness_ms"`
	Searched    uint64    `json:"searched"`
	Exact       bool      `json:"exact"`
	TookUS      uint64    `json:"took_us"`
}

// EncodeRecall writes the answer to a recall request.
func EncodeRecall(f Format, r *api.RecallResponse) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(r)
	}
	return toJSON(recallAnswerJSON{hitsJSON(r.GetHits(), true), r.GetApplied(), r.GetStalenessMs(), r.GetSearched(), r.GetExact(), r.GetTookUs()})
}

type getJSON struct {
	Space      string   `json:"space,omitempty"`
	ID         string   `json:"id,omitempty"`
	IDs        []string `json:"ids,omitempty"`
	Include    []string `json:"include,omitempty"`
	AtLeast    string   `json:"at_least,omitempty"`
	AsOf       string   `json:"as_of,omitempty"`
	DeadlineMS uint32   `json:"deadline_ms,omitempty"`
}

// DecodeGet reads the body of a get request, and refuses what no space could answer.
func DecodeGet(f Format, body []byte) (*api.GetRequest, *Error) {
	req := new(api.GetRequest)
	if f == Protobuf {
		if err := unmarshal(body, req); err != nil {
			return nil, err
		}
	} else {
		var in getJSON
		if err := strictJSON(body, &in); err != nil {
			return nil, err
		}
		if in.ID != "" {
			in.IDs = append(in.IDs, in.ID)
		}
		req = &api.GetRequest{Space: in.Space, Ids: in.IDs, Include: in.Include, AtLeast: in.AtLeast, AsOf: in.AsOf, DeadlineMs: in.DeadlineMS}
	}
	if n := len(req.GetIds()); n == 0 || n > event.MaxList {
		return nil, Errorf(CodeInvalidArgument, "ids", "ids has %d entries; it can have 1 to %d", n, event.MaxList)
	}
	_, err := ParseInclude(req.GetInclude())
	return req, err
}

// EncodeGet writes the answer to a get request.
func EncodeGet(f Format, r *api.GetResponse) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(r)
	}
	return toJSON(struct {
		Observations []hitJSON `json:"observations"`
		Applied      string    `json:"applied"`
		StalenessMS  float64   `json:"staleness_ms"`
	}{hitsJSON(r.GetObservations(), false), r.GetApplied(), r.GetStalenessMs()})
}

type listJSON struct {
	Space      string   `json:"space,omitempty"`
	Limit      *uint32  `json:"limit,omitempty"`
	Before     string   `json:"before,omitempty"`
	Include    []string `json:"include,omitempty"`
	AtLeast    string   `json:"at_least,omitempty"`
	AsOf       string   `json:"as_of,omitempty"`
	DeadlineMS uint32   `json:"deadline_ms,omitempty"`
}

// DecodeList reads the body of a list request, which may be empty, and refuses what no space could answer.
func DecodeList(f Format, body []byte) (*api.ListRequest, *Error) {
	req := new(api.ListRequest)
	switch {
	case len(body) == 0:
	case f == Protobuf:
		if err := unmarshal(body, req); err != nil {
			return nil, err
		}
	default:
		var in listJSON
		if err := strictJSON(body, &in); err != nil {
			return nil, err
		}
		req = &api.ListRequest{
			Space: in.Space, Limit: in.Limit, Before: in.Before, Include: in.Include, AtLeast: in.AtLeast, AsOf: in.AsOf, DeadlineMs: in.DeadlineMS,
		}
	}
	if req.Limit != nil && (req.GetLimit() == 0 || req.GetLimit() > event.MaxList) {
		return nil, Errorf(CodeInvalidArgument, "limit", "limit is %d; it can be 1 to %d", req.GetLimit(), event.MaxList)
	}
	_, err := ParseInclude(req.GetInclude())
	return req, err
}

// EncodeList writes the answer to a list request.
func EncodeList(f Format, r *api.ListResponse) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(r)
	}
	return toJSON(struct {
		Observations []hitJSON `json:"observations"`
		More         bool      `json:"more"`
		Applied      string    `json:"applied"`
		StalenessMS  float64   `json:"staleness_ms"`
	}{hitsJSON(r.GetObservations(), false), r.GetMore(), r.GetApplied(), r.GetStalenessMs()})
}

// EncodeRecallRequest writes a recall request in the format that its sender chose.
func EncodeRecallRequest(f Format, r *api.RecallRequest) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(r)
	}
	return toJSON(recallJSON{
		Space: r.GetSpace(), Embedding: r.GetEmbedding().GetData(), Text: r.GetText(), ID: r.GetId(), K: r.K, MinScore: r.MinScore,
		Filter: r.GetFilter(), AtLeast: r.GetAtLeast(), DeadlineMS: r.GetDeadlineMs(), Include: r.GetInclude(),
		Recall: targets.name(r.GetRecall()), Ef: r.Ef, AsOf: r.GetAsOf(),
	})
}
