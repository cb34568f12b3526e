package wire

import (
	"fmt"
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
	Spaces     []string   `json:"spaces,omitempty"`
	Prefix     string     `json:"prefix,omitempty"`
	HalfLifeMS uint64     `json:"half_life_ms,omitempty"`
	Paged      bool       `json:"paged,omitempty"`
	Cursor     string     `json:"cursor,omitempty"`
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
		Spaces: in.Spaces, Prefix: in.Prefix, HalfLifeMs: in.HalfLifeMS, Paged: in.Paged, Cursor: in.Cursor,
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
	case r.GetHalfLifeMs() > maxHalfLife:
		return Errorf(CodeInvalidArgument, "half_life_ms", "half_life_ms is %d; it can be up to %d, a hundred years", r.GetHalfLifeMs(), uint64(maxHalfLife))
	case r.GetCursor() != "" && r.GetAsOf() != "":
		return Errorf(CodeInvalidArgument, "as_of", "a cursor says itself what it reads as of; leave as_of out")
	case len(r.GetId()) > event.MaxID:
		return Errorf(CodeInvalidID, "id", "id has %d bytes; it can have up to %d", len(r.GetId()), event.MaxID)
	case len(r.GetText()) > event.MaxText:
		return Errorf(CodeTooLarge, "text", "text has %d bytes; it can have up to %d", len(r.GetText()), event.MaxText)
	}
	_, err := ParseInclude(r.GetInclude())
	return err
}

// maxHalfLife is the longest half-life, in milliseconds.
const maxHalfLife = 100 * 366 * 24 * 3600 * 1000

// SeveralSpaces tells that a recall says itself which spaces it is from. Where no subject and no path names one, that is what
// makes it a recall from several.
func SeveralSpaces(r *api.RecallRequest) bool { return len(r.GetSpaces()) > 0 || r.GetPrefix() != "" }

// CheckOneSpace refuses the fields of a recall that are for several spaces.
func CheckOneSpace(r *api.RecallRequest) *Error {
	if SeveralSpaces(r) {
		return Errorf(CodeInvalidSpace, "spaces", "this request is for the one space that its subject or path names; several are recalled from with engram.recall, or POST /v1/recall")
	}
	return nil
}

// CheckSpaces refuses a recall from several spaces that does not say which.
func CheckSpaces(r *api.RecallRequest) *Error {
	named := 0
	for _, is := range []bool{r.GetSpace() != "", len(r.GetSpaces()) > 0, r.GetPrefix() != ""} {
		if is {
			named++
		}
	}
	switch {
	case named != 1:
		return Errorf(CodeInvalidSpace, "spaces", "a recall from several spaces has either spaces or prefix")
	case len(r.GetSpaces()) > event.MaxSpaces:
		return Errorf(CodeTooLarge, "spaces", "spaces has %d entries; it can have up to %d", len(r.GetSpaces()), event.MaxSpaces)
	case r.GetId() != "":
		return Errorf(CodeInvalidArgument, "id", "an id is one of a single space; get its embedding, and recall with that")
	}
	if r.GetPrefix() != "" && event.ValidateSpace(r.GetPrefix()) != nil {
		return Errorf(CodeInvalidSpace, "prefix", "no space can have a name that begins with %q", r.GetPrefix())
	}
	for _, s := range r.GetSpaces() {
		if err := CheckSpace(s); err != nil {
			return err
		}
	}
	return nil
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
	Space      string       `json:"space,omitempty"`
	Similarity float32      `json:"similarity,omitempty"`
}

func hitsJSON(hits []*api.Hit, scored bool) []hitJSON {
	out := make([]hitJSON, 0, len(hits))
	for _, h := range hits {
		j := hitJSON{
			ID: h.GetId(), ObservedAt: timeJSON(h.GetObservedAt()), Position: h.GetPosition(), Text: h.GetText(),
			Metadata: h.GetMetadata(), Embedding: h.GetEmbedding().GetData(), Priority: priorities.name(h.GetPriority()),
			Importance: h.GetImportance(), ExpiresAt: timeJSON(h.GetExpiresAt()), Session: h.GetSession(), Sequence: h.GetSequence(),
			Space: h.GetSpace(), Similarity: h.GetSimilarity(),
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
	Hits        []hitJSON         `json:"hits"`
	Applied     string            `json:"applied"`
	StalenessMS float64           `json:"staleness_ms"`
	Searched    uint64            `json:"searched"`
	Exact       bool              `json:"exact"`
	TookUS      uint64            `json:"took_us"`
	Next        string            `json:"next,omitempty"`
	Spaces      []spaceAnswerJSON `json:"spaces,omitempty"`
}

type spaceAnswerJSON struct {
	Space       string     `json:"space"`
	Applied     string     `json:"applied,omitempty"`
	StalenessMS float64    `json:"staleness_ms"`
	Searched    uint64     `json:"searched"`
	Exact       bool       `json:"exact"`
	Error       *errorBody `json:"error,omitempty"`
}

func spaceAnswers(all []*api.SpaceAnswer) (out []spaceAnswerJSON) {
	for _, s := range all {
		j := spaceAnswerJSON{
			Space: s.GetSpace(), Applied: s.GetApplied(), StalenessMS: s.GetStalenessMs(), Searched: s.GetSearched(), Exact: s.GetExact(),
		}
		if s.GetError() != nil {
			b := FromProto(s.GetError()).body()
			j.Error = &b
		}
		out = append(out, j)
	}
	return out
}

// EncodeRecall writes the answer to a recall request.
func EncodeRecall(f Format, r *api.RecallResponse) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(r)
	}
	return toJSON(recallAnswerJSON{
		hitsJSON(r.GetHits(), true), r.GetApplied(), r.GetStalenessMs(), r.GetSearched(), r.GetExact(), r.GetTookUs(), r.GetNext(),
		spaceAnswers(r.GetSpaces()),
	})
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
	for i, id := range req.GetIds() {
		if err := CheckID(id, fmt.Sprintf("ids[%d]", i)); err != nil {
			return nil, err
		}
	}
	_, err := ParseInclude(req.GetInclude())
	return req, err
}

type getAnswerJSON struct {
	Observations []hitJSON `json:"observations"`
	Applied      string    `json:"applied"`
	StalenessMS  float64   `json:"staleness_ms"`
	Searched     uint64    `json:"searched"`
	Exact        bool      `json:"exact"`
	TookUS       uint64    `json:"took_us"`
}

// EncodeGet writes the answer to a get request.
func EncodeGet(f Format, r *api.GetResponse) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(r)
	}
	return toJSON(getAnswerJSON{hitsJSON(r.GetObservations(), false), r.GetApplied(), r.GetStalenessMs(), r.GetSearched(), r.GetExact(), r.GetTookUs()})
}

type listJSON struct {
	Space      string    `json:"space,omitempty"`
	Limit      *uint32   `json:"limit,omitempty"`
	Before     string    `json:"before,omitempty"`
	Include    []string  `json:"include,omitempty"`
	AtLeast    string    `json:"at_least,omitempty"`
	AsOf       string    `json:"as_of,omitempty"`
	DeadlineMS uint32    `json:"deadline_ms,omitempty"`
	Filter     string    `json:"filter,omitempty"`
	From       *timeJSON `json:"from,omitempty"`
	To         *timeJSON `json:"to,omitempty"`
	Order      string    `json:"order,omitempty"`
	Cursor     string    `json:"cursor,omitempty"`
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
		order, err := orders.parse(in.Order)
		if err != nil {
			return nil, err
		}
		req = &api.ListRequest{
			Space: in.Space, Limit: in.Limit, Before: in.Before, Include: in.Include, AtLeast: in.AtLeast, AsOf: in.AsOf, DeadlineMs: in.DeadlineMS,
			Filter: in.Filter, From: (*int64)(in.From), To: (*int64)(in.To), Order: order, Cursor: in.Cursor,
		}
	}
	switch {
	case !orders.knows(req.GetOrder()):
		return nil, Errorf(CodeInvalidArgument, "order", "order is %d, which is neither newest nor oldest nor latest nor earliest", req.GetOrder())
	case req.GetCursor() != "" && req.GetAsOf() != "":
		return nil, Errorf(CodeInvalidArgument, "as_of", "a cursor says itself what it reads as of; leave as_of out")
	}
	if req.Limit != nil && (req.GetLimit() == 0 || req.GetLimit() > event.MaxList) {
		return nil, Errorf(CodeInvalidArgument, "limit", "limit is %d; it can be 1 to %d", req.GetLimit(), event.MaxList)
	}
	_, err := ParseInclude(req.GetInclude())
	return req, err
}

type listAnswerJSON struct {
	Observations []hitJSON `json:"observations"`
	More         bool      `json:"more"`
	Next         string    `json:"next,omitempty"`
	Applied      string    `json:"applied"`
	StalenessMS  float64   `json:"staleness_ms"`
	Searched     uint64    `json:"searched"`
	Exact        bool      `json:"exact"`
	TookUS       uint64    `json:"took_us"`
}

// EncodeList writes the answer to a list request.
func EncodeList(f Format, r *api.ListResponse) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(r)
	}
	return toJSON(listAnswerJSON{
		hitsJSON(r.GetObservations(), false), r.GetMore(), r.GetNext(), r.GetApplied(), r.GetStalenessMs(), r.GetSearched(), r.GetExact(),
		r.GetTookUs(),
	})
}

// EncodeRecallRequest writes a recall request in the format that its sender chose.
func EncodeRecallRequest(f Format, r *api.RecallRequest) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(r)
	}
	return toJSON(recallJSON{
		Space: r.GetSpace(), Embedding: r.GetEmbedding().GetData(), Text: r.GetText(), ID: r.GetId(), K: r.K, MinScore: r.MinScore,
		Filter: r.GetFilter(), AtLeast: r.GetAtLeast(), DeadlineMS: r.GetDeadlineMs(), Include: r.GetInclude(),
		Recall: targets.name(r.GetRecall()), Ef: r.Ef, AsOf: r.GetAsOf(), Spaces: r.GetSpaces(), Prefix: r.GetPrefix(),
		HalfLifeMS: r.GetHalfLifeMs(), Paged: r.GetPaged(), Cursor: r.GetCursor(),
	})
}
