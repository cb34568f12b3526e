package wire

import (
	"bytes"
	"encoding/json"
	"reflect"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
)

type observationJSON struct {
	ID         string       `json:"id,omitempty"`
	Space      string       `json:"space,omitempty"`
	ObservedAt timeJSON     `json:"observed_at,omitempty"`
	Text       string       `json:"text,omitempty"`
	Embedding  vectorJSON   `json:"embedding,omitempty"`
	Metadata   metadataJSON `json:"metadata,omitempty"`
	Priority   string       `json:"priority,omitempty"`
	Importance float32      `json:"importance,omitempty"`
	ExpiresAt  timeJSON     `json:"expires_at,omitempty"`
	Session    string       `json:"session,omitempty"`
	Sequence   uint64       `json:"sequence,omitempty"`
}

func (o *observationJSON) proto() (*api.Observation, *Error) {
	p, err := priorities.parse(o.Priority)
	if err != nil {
		return nil, err
	}
	return &api.Observation{
		Id: o.ID, Space: o.Space, ObservedAt: int64(o.ObservedAt), Text: o.Text, Embedding: o.Embedding.embedding(),
		Metadata: o.Metadata, Priority: p, Importance: o.Importance, ExpiresAt: int64(o.ExpiresAt),
		Session: o.Session, Sequence: o.Sequence,
	}, nil
}

// observeJSON is one observation, or an envelope of several.
type observeJSON struct {
	observationJSON
	Observations    []observationJSON `json:"observations,omitempty"`
	Acknowledgement string            `json:"acknowledgement,omitempty"`
	IdempotencyKey  string            `json:"idempotency_key,omitempty"`
	DeadlineMS      uint32            `json:"deadline_ms,omitempty"`
}

// DecodeObserve reads the body of an observe request: a protobuf ObserveRequest, or in JSON one observation, an array
// of them, or an envelope {"observations": […], "acknowledgement", "idempotency_key", "deadline_ms"}. single tells that
// it was one JSON observation, whose answer is one result and not an array.
func DecodeObserve(f Format, body []byte) (req *api.ObserveRequest, single bool, err *Error) {
	if f == Protobuf {
		req = new(api.ObserveRequest)
		return req, false, unmarshal(body, req)
	}
	var in observeJSON
	array := bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte{'['})
	if array {
		err = strictJSON(body, &in.Observations)
	} else {
		err = strictJSON(body, &in)
		single = in.Observations == nil
	}
	if err != nil {
		return nil, single, locate(body, array, err)
	}
	if !single && !reflect.ValueOf(in.observationJSON).IsZero() {
		return nil, single, Errorf(CodeMalformed, "observations", "the body is an observation and a list of observations at once")
	}
	ack, err := acks.parse(in.Acknowledgement)
	if err != nil {
		return nil, single, err
	}
	req = &api.ObserveRequest{Acknowledgement: ack, IdempotencyKey: in.IdempotencyKey, DeadlineMs: in.DeadlineMS}
	all := in.Observations
	if single {
		all = []observationJSON{in.observationJSON}
	}
	for i := range all {
		o, err := all[i].proto()
		if err != nil {
			return nil, single, atObservation(err, i, len(all))
		}
		req.Observations = append(req.Observations, o)
	}
	return req, single, nil
}

// locate says which observation of several an error of the decoder is about.
func locate(body []byte, array bool, err *Error) *Error {
	if err.Code == CodeTooLarge {
		return err // about all of them
	}
	var in struct {
		Observations []json.RawMessage `json:"observations"`
	}
	if array {
		_ = json.Unmarshal(body, &in.Observations) // where this fails too, there is nothing to add to err
	} else {
		_ = json.Unmarshal(body, &in)
	}
	for i, o := range in.Observations {
		if found := strictJSON(o, new(observationJSON)); found != nil {
			return atObservation(found, i, len(in.Observations))
		}
	}
	return err
}

// EncodeObservationJSON writes an observation as DecodeObserve reads it; its embedding must be packed f32.
func EncodeObservationJSON(o *api.Observation) ([]byte, error) {
	out := observationOf(o)
	return json.Marshal(&out)
}

func observationOf(o *api.Observation) observationJSON {
	return observationJSON{
		ID: o.GetId(), Space: o.GetSpace(), ObservedAt: timeJSON(o.GetObservedAt()), Text: o.GetText(),
		Embedding: o.GetEmbedding().GetData(), Metadata: o.GetMetadata(), Priority: priorities.name(o.GetPriority()),
		Importance: o.GetImportance(), ExpiresAt: timeJSON(o.GetExpiresAt()), Session: o.GetSession(), Sequence: o.GetSequence(),
	}
}

type observeResultJSON struct {
	ID         string     `json:"id,omitempty"`
	Position   string     `json:"position,omitempty"`
	Duplicate  bool       `json:"duplicate,omitempty"`
	Searchable bool       `json:"searchable,omitempty"`
	Error      *errorBody `json:"error,omitempty"`
}

func resultJSON(r *api.ObserveResult) observeResultJSON {
	out := observeResultJSON{ID: r.GetId(), Position: r.GetPosition(), Duplicate: r.GetDuplicate(), Searchable: r.GetSearchable()}
	if r.GetError() != nil {
		b := FromProto(r.GetError()).body()
		out.Error = &b
	}
	return out
}

type observeAnswerJSON struct {
	Results []observeResultJSON `json:"results"`
}

// lineJSON is the answer to a line of NDJSON.
type lineJSON struct {
	Line       int        `json:"line"`
	ID         string     `json:"id,omitempty"`
	Position   string     `json:"position,omitempty"`
	Duplicate  bool       `json:"duplicate,omitempty"`
	Searchable bool       `json:"searchable,omitempty"`
	Error      *errorBody `json:"error,omitempty"`
}

// EncodeLine writes the answer to a line of NDJSON, with its end: what became of its observation, or why it was refused.
func EncodeLine(line int, r *api.ObserveResult, refused *Error) ([]byte, *Error) {
	if refused == nil {
		refused = FromProto(r.GetError())
	}
	out := lineJSON{Line: line}
	if refused != nil {
		b := refused.body()
		out.Error = &b
	} else {
		out.ID, out.Position, out.Duplicate, out.Searchable = r.GetId(), r.GetPosition(), r.GetDuplicate(), r.GetSearchable()
	}
	b, err := toJSON(out)
	return append(b, '\n'), err
}

// EncodeObserve writes the answer to an observe request; single as DecodeObserve returned it.
func EncodeObserve(f Format, resp *api.ObserveResponse, single bool) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(resp)
	}
	if single && len(resp.GetResults()) == 1 {
		return toJSON(resultJSON(resp.GetResults()[0]))
	}
	out := observeAnswerJSON{make([]observeResultJSON, 0, len(resp.GetResults()))}
	for _, r := range resp.GetResults() {
		out.Results = append(out.Results, resultJSON(r))
	}
	return toJSON(out)
}

type forgetJSON struct {
	Space           string   `json:"space,omitempty"`
	IDs             []string `json:"ids,omitempty"`
	All             bool     `json:"all,omitempty"`
	Acknowledgement string   `json:"acknowledgement,omitempty"`
	DeadlineMS      uint32   `json:"deadline_ms,omitempty"`
	IdempotencyKey  string   `json:"idempotency_key,omitempty"`
	Filter          string   `json:"filter,omitempty"`
}

// DecodeForget reads the body of a forget request.
func DecodeForget(f Format, body []byte) (*api.ForgetRequest, *Error) {
	if f == Protobuf {
		req := new(api.ForgetRequest)
		return req, unmarshal(body, req)
	}
	var in forgetJSON
	if err := strictJSON(body, &in); err != nil {
		return nil, err
	}
	ack, err := acks.parse(in.Acknowledgement)
	if err != nil {
		return nil, err
	}
	return &api.ForgetRequest{
		Space: in.Space, Ids: in.IDs, All: in.All, Acknowledgement: ack, DeadlineMs: in.DeadlineMS, IdempotencyKey: in.IdempotencyKey,
		Filter: in.Filter,
	}, nil
}

// EncodeForgetRequest writes a forget request in the format that its sender chose.
func EncodeForgetRequest(f Format, r *api.ForgetRequest) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(r)
	}
	return toJSON(forgetJSON{
		Space: r.GetSpace(), IDs: r.GetIds(), All: r.GetAll(), Acknowledgement: acks.name(r.GetAcknowledgement()), DeadlineMS: r.GetDeadlineMs(),
		IdempotencyKey: r.GetIdempotencyKey(), Filter: r.GetFilter(),
	})
}

type forgetAnswerJSON struct {
	Position   string `json:"position"`
	Searchable bool   `json:"searchable,omitempty"`
}

// EncodeForget writes the answer to a forget request.
func EncodeForget(f Format, resp *api.ForgetResponse) ([]byte, *Error) {
	if f == Protobuf {
		return marshal(resp)
	}
	return toJSON(forgetAnswerJSON{resp.GetPosition(), resp.GetSearchable()})
}

func toJSON(v any) ([]byte, *Error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, Errorf(CodeInternal, "", "encoding the answer: %v", err)
	}
	return b, nil
}
